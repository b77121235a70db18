"""A bit that flips in a page of the database: programs say so and don't crash, senders are accepted,
nothing altered is sent, nothing is replaced by itself; and what can be read is salvaged as
cenmail-queue(7) says. A sample here, each page in `make soak`."""

import contextlib
import os
import random
import shutil
import sqlite3
import types

import corpus
import parts
import pytest
from harness import ROOT, run

PAGE = 4096
COUNT = 14
SOAK = "CENMAIL_SOAK" in os.environ
CODES = (0, 65, 70, 74, 75, 78)


def cenmail_sql(queue, *args):
    return run(["sh", ROOT / "queue/store/cenmail-sql", *args],
               env={**queue.env, "CENMAIL_QUEUE": str(queue.database)})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A queue with a history and mail of many sizes, all of it in the database file."""
    queue = parts.Queue(tmp_path_factory.mktemp("whole") / "queue")
    far = parts.Ses(tmp_path_factory.mktemp("whole-ses"), None, tls="none", user=None)
    queue.relay(far.url)
    for i in range(10):
        queue.submit(f"To: old{i}@example.net\nFrom: s@example.com\n\nx\n")
    queue.flush()
    far.stop()
    for i in range(COUNT):
        queue.submit(f"To: r{i}@example.net\nFrom: s@example.com\nMessage-Id: <m{i}@example.com>\n\n"
                     + f"{i} {'x' * 60}\n" * (i * i * 3))
    with contextlib.closing(sqlite3.connect(queue.database)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
        schema = {1} | {n for n, in db.execute("select pageno from dbstat where name like 'sqlite_%'")}
    return types.SimpleNamespace(
        queue=queue, schema=schema, pages=queue.database.stat().st_size // PAGE,
        content={f"<m{i}@example.com>": data for i, data in
                 enumerate(data for _, data in sorted(queue.contents().items()))})


class Flipped:
    """The queue with one bit of one page another, in a directory of its own."""

    def __init__(self, whole, directory, page, bit):
        self.queue = parts.Queue(directory, init=False)
        self.spool = self.queue.database.parent
        shutil.copytree(whole.queue.database.parent, self.spool, dirs_exist_ok=True)
        self.far = parts.Ses(directory / "ses", None, tls="none", user=None)
        self.queue.relay(self.far.url)
        self.queue.write(lock_wait="1s")
        self.name = f"page {page} bit {bit}"
        with open(self.queue.database, "r+b") as file:
            file.seek(page * PAGE + bit // 8)
            octet = file.read(1)[0]
            file.seek(page * PAGE + bit // 8)
            file.write(bytes([octet ^ 1 << bit % 8]))

    def sane(self, done):
        assert done.returncode in CODES and (done.returncode == 0 or done.stderr), (self.name, done)
        return done

    def salvage(self):
        """The lines of the page."""
        done = run(["sh", "-c", f"cd {self.spool} && flock flush.lock flock queue.lock sh -c "
                    "'mkdir -m 700 old && mv queue.db* old/'"])
        assert done.returncode == 0, (self.name, done)
        assert self.queue.run_flush("--init").returncode == 0
        done = cenmail_sql(self.queue, "--salvage", self.spool / "old/queue.db")
        assert done.returncode in (0, 65), (self.name, done)
        return done.returncode == 0

    def arrived(self):
        return {corpus.message_id(data): data for data in
                (self.far.content(m) for m in self.far.messages)}


def held(queue):
    try:
        return {r["message_id"]: r["last_reply"] for r in queue.sql(
            "select m.message_id, r.last_reply from recipient as r join message as m"
            " on m.id=r.message where r.state='held'")}
    except sqlite3.DatabaseError:
        return {}


def try_one(whole, one):
    """Which messages are neither sent nor held with a reason; whether the queue's head was gone."""
    size = one.queue.database.stat().st_size
    new = "To: new@example.net\nFrom: s@example.com\nMessage-Id: <new@example.com>\n\nnew\n"
    sent = one.sane(one.queue.sendmail("-t", "-i", stdin=new))
    assert sent.returncode == 0, (one.name, sent)
    one.sane(one.queue.sendmail("-bp"))
    one.sane(one.queue.run_flush())
    assert one.queue.database.stat().st_size >= size, "nothing is replaced"
    wanted = {*whole.content, "<new@example.com>"}
    reasons, readable = held(one.queue), True
    if wanted - set(one.arrived()) - set(reasons):
        told = cenmail_sql(one.queue, "pragma integrity_check")
        assert told.stdout != b"ok\n", (one.name, "nobody would know")
        readable = one.salvage()
        one.sane(one.queue.run_flush())
        one.sane(one.queue.run_flush())
        one.queue.whole() if readable else None
        reasons = {**reasons, **held(one.queue)}
    arrived = one.arrived()
    for key, data in arrived.items():
        assert data == whole.content.get(key, data), (one.name, key, "was altered")
    assert all(reason for reason in reasons.values()), (one.name, reasons)
    return wanted - set(arrived) - set(reasons), readable


def test_a_bit_flips_in_a_page(whole, tmp_path):
    seed = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 30)))
    chance = random.Random(seed)
    pages = range(whole.pages) if SOAK else sorted(chance.sample(range(whole.pages), 8))
    print(f"seed {seed}: {len(pages)} pages of {whole.pages}, a bit each")
    lost, unreadable = 0, 0
    for page in pages:
        one = Flipped(whole, tmp_path / str(page), page, chance.randrange(PAGE * 8))
        try:
            missing, readable = try_one(whole, one)
        finally:
            one.far.program.close()
        assert "<new@example.com>" not in missing, (one.name, "what was acknowledged after it")
        print(f"{one.name}: {'missing ' + str(sorted(missing)) if missing else 'none missing'}"
              f"{'' if readable else ', not readable'}")
        assert readable or page + 1 in whole.schema, one.name
        if readable:
            assert len(missing) <= COUNT // 2, (one.name, missing)
        lost, unreadable = lost + len(missing), unreadable + (not readable)
    print(f"{lost} of {len(pages) * COUNT} messages could not be read, {unreadable} files at all")


@pytest.mark.parametrize("damage, words", [
    ("update content set data=zeroblob(length(data)) where message=2", "does not fit its checksum"),
    ("update content set crc=crc+1 where message=2", "does not fit its checksum"),
    ("update content set data=substr(data,1,20) where message=2", "not of the size that was stored"),
    ("delete from content where message=2", "not of the size that was stored"),
])
def test_content_that_does_not_fit_is_held_with_the_reason(queue, ses, damage, words):
    far = ses(tls="none", user=None)
    queue.relay(far.url)
    for i in range(3):
        queue.submit(f"To: r{i}@example.net\nFrom: s@example.com\n\nbody {i}\n")
    queue.as_program(damage)
    log = queue.flush().log
    assert words in queue.value("select last_reply from mailq where state='held'")
    assert words in log
    assert sorted(m["recipients"][0] for m in far.messages) == ["r0@example.net", "r2@example.net"]


def test_salvage_comes_once_and_keeps_the_tokens(queue, tmp_path):
    """Also of states and doubts, and into a queue that has mail by now."""
    queue.submit("To: a@example.net, b@example.net, c@example.net\nFrom: s@example.com\n\nx\n")
    queue.as_program("update recipient set state='sent',settled=5 where id=1",
                     "update recipient set state='held',last_reply='why' where id=2",
                     "update recipient set doubt_journal='0123456789abcdef',doubt_until=9 where id=3")
    query = ("select group_concat(address||hex(once)||state||last_reply||doubt_journal||doubt_until)"
             " from recipient where address not like 'new%'")
    before = queue.value(query)
    old = tmp_path / "old"
    old.mkdir()
    for file in queue.database.parent.glob("queue.db*"):
        file.rename(old / file.name)
    assert queue.run_flush("--init").returncode == 0
    queue.submit("To: new@example.net\nFrom: s@example.com\n\nx\n")
    for count in (1, 0):
        done = cenmail_sql(queue, "--salvage", old / "queue.db")
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == f"{count} messages salvaged, 0 of them without content\n" \
            "0 recipients whose message can't be read\n"
    assert queue.value(query) == before
    assert [r["reply"] for r in queue.attempts] == ["salvaged, was message 1"] * 3
    queue.whole()


def test_salvage_of_an_earlier_version(queue, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.executescript((ROOT / "tests/data/queue-1.sql").read_text(encoding="ascii"))
    done = cenmail_sql(queue, "--salvage", tmp_path / "old.db")
    assert done.stdout.startswith(b"4 messages salvaged, 0 of them"), done
    assert queue.states() == {"failed": 1, "held": 1, "queued": 4, "sent": 1}
    queue.whole()


@pytest.mark.parametrize("content, code", [(None, 66), (b"", 66), (b"no database at all" * 99, 65)])
def test_nothing_to_salvage(queue, tmp_path, content, code):
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    done = cenmail_sql(queue, "--salvage", file)
    assert done.returncode == code and b"cenmail-sql: " in done.stderr
    assert queue.mailq == []
