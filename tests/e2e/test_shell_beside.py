"""The administrator's side: the distribution's own sqlite3, bare, on a live queue, while senders and a
flusher run (C16, C18); what is wrong is refused with words, what is right counts at once."""

import subprocess
import time

import pytest
from harness import ROOT, run
from senders import MAIL, Senders

SLOWEST = 5.0  # seconds: none waits that long, on two busy processors


def shell(queue, *statements):
    """A bare sqlite3, with whatever settings it has by default: it checkpoints, too."""
    return run(["sqlite3", "-batch", "-cmd", ".timeout 10000", queue.database, *statements])


def by_hand(queue, *statements):
    done = shell(queue, *statements)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


STATEMENTS = [  # DESIGN's, and those of cenmail-queue(7)
    "select * from mailq", "select * from delivered order by id desc limit 10",
    "select * from attempts where id=17", "select * from undeliverable", "select * from hourly",
    "select * from by_domain", "select data from content where message=17",
    "update recipient set state='held' where message in (select id from message order by id desc limit 3)",
    "update recipient set state='queued' where state='held'",
    "update recipient set address='other'||id||'@example.org' where state='queued' and id%7=0",
    "update recipient set state='queued' where state='queued'",
    "update recipient set next_try=0 where state='queued'",
    "begin immediate; update recipient set state='held' where state='queued';"
    " update recipient set state='queued' where state='held'; commit",
    "pragma wal_checkpoint(truncate)", "pragma integrity_check", "vacuum",
]


def test_everything_while_senders_and_a_flusher_run(road, wait_for):
    """C16: selecting, updating in bulk, holding a read transaction open; no sender fails, none waits for
    seconds, nothing is lost or doubled, every change is in attempts."""
    way = road(ses_options={"latency": 2}, linger="60s", keep_sent="1d")
    queue, far = way.queue, way.ses
    flusher = queue.flusher()
    with Senders(queue) as senders:
        wait_for(lambda: len(senders.sent) >= 20)
        for _ in range(2):
            for statement in STATEMENTS:
                done = shell(queue, statement)
                # What a person does can be told to try again; it is senders who must not be.
                assert done.returncode == 0 or b"locked" in done.stderr, (statement, done.stderr)
        with queue.reading():
            number = len(senders.sent)
            wait_for(lambda: len(senders.sent) >= number + 50)
    assert senders.failed == []
    assert senders.slowest < SLOWEST
    wait_for(lambda: set(queue.states()) == {"sent"}, 60)
    assert flusher.stop() == 0
    assert not list((queue.database.parent / "incoming").iterdir())
    # Who was in flight when his address was corrected may have had it under both.
    arrived = [r for m in far.messages for r in m["recipients"]]
    stand = {r["address"] for r in queue.sql("select address from recipient")}
    were = {r["reply"].rpartition("address was ")[2] for r in queue.attempts}
    assert len(stand) == len(senders.sent) and len(set(arrived)) == len(arrived)
    assert stand <= set(arrived) <= stand | were
    changed = queue.value("select count(*) from recipient where version>1")
    noted = queue.value("select count(distinct recipient) from attempt where relay='by hand'")
    assert noted >= changed > 0
    queue.whole()


def test_the_last_one_to_close(queue, wait_for):
    """C16: a bare shell that closes last checkpoints and removes the WAL under the senders' feet."""
    with Senders(queue) as senders:
        wait_for(lambda: len(senders.sent) >= 5)
        for _ in range(15):
            by_hand(queue, "select count(*) from mailq")
    assert senders.failed == [] and senders.slowest < SLOWEST
    by_hand(queue, "select 1")
    queue.sendmail("last@example.net", stdin="x\n")
    assert queue.states() == {"queued": len(senders.sent) + 1}
    queue.whole()


def count_sending(listener):
    done = run(["sqlite3", "-readonly", listener.settings["journal"],
                "select count(*) from once where state='sending'"])
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_change_in_flight_is_not_overwritten(road, wait_for):
    """C18: held, corrected and dropped while SES thinks about it; the verdict is in attempts alone."""
    way = road(ses_options={"latency": 1500})
    queue, far = way.queue, way.ses
    for name in ("held", "wrong", "dropped"):
        queue.submit(MAIL.format(f"{name}@example.net", name))
    flusher = queue.flusher()
    # All three are at SES, which answers later than this takes.
    wait_for(lambda: count_sending(way.listener) == 3)
    by_hand(queue, "update recipient set state='held' where address like 'held@%'",
            "update recipient set address='right@example.net' where address like 'wrong@%'",
            "delete from message where id=3")
    assert flusher.wait() == 0 and len(far.messages) == 3
    assert queue.flush().sent == 1
    assert {r["address"]: r["state"] for r in queue.sql("select address, state from recipient")} == \
        {"held@example.net": "held", "right@example.net": "sent"}
    told = {(r["recipient"], r["code"]) for r in queue.attempts if r["relay"] != "by hand"}
    assert {(f"{n}@example.net", 250) for n in ("held", "wrong", "dropped", "right")} <= told
    assert sorted(r["reply"] for r in queue.attempts if r["relay"] == "by hand") == \
        ["address was wrong@example.net", "queued to held", "queued, dropped"]


@pytest.mark.parametrize("door", ["sqlite3", "cenmail-sql"])
def test_a_lingering_flusher_picks_it_up_at_once(queue, ses, wait_for, door):
    far = ses(tls="none", user=None)
    queue.write(linger="60s", keep_sent="1d", retry_min="1h", retry_max="1h")
    queue.relay(far.url)
    queue.submit(MAIL.format("r@example.net", 1))
    flusher = queue.flusher()
    far.wait(1)
    argv = ["sqlite3", queue.database] if door == "sqlite3" else ["sh", ROOT / "queue/store/cenmail-sql"]
    took = []
    for number in (2, 3, 4):
        wait_for(lambda: queue.states() == {"sent": 1})
        # Until it rests: what it writes itself would wake it too.
        wait_for(lambda: queue.database.with_name("queue.db-wal").stat().st_size == 0)
        began = time.monotonic()
        done = run([*argv, "update recipient set state='queued' where message=1"], env=queue.env)
        assert done.returncode == 0, done.stderr
        far.wait(number)
        took.append(time.monotonic() - began)
    assert min(took) < 1, took  # its own look comes after ten; a busy machine's sync may be as slow
    assert flusher.stop() == 0


@pytest.mark.parametrize("statement, words", [
    ("update recipient set state='gone'", "state: queued, held, sent or failed"),
    ("update recipient set state='sent'", "only a recipient whose last try is in doubt can be set sent"),
    ("update recipient set address='a@example.net'||char(10)||'b@example.net'", "address: one user@domain"),
    ("update message set size=-1", "a message can't be changed: change its recipients"),
    ("update content set data='x'", "content can't be changed: delete the message and submit it again"),
    ("delete from content", "content is needed while a recipient is queued or held"),
    ("insert into recipient(message,address,once,next_try,since) values(1,'a@b',randomblob(16),0,0)",
     "a recipient can't be added: submit the message again"),
    ("replace into content values(1,0,x'00')", "content can't be put in or replaced"),
    ("attach ':memory:' as other; create table other.c as select * from main.content;"
     " insert or replace into main.content select * from other.c", "content can't be put in or replaced"),
    ("update mailq set state='held'", "mailq because it is a view"),
])
def test_a_wrong_one_is_refused_with_words(queue, statement, words):
    queue.submit(MAIL.format("r@example.net", 1))
    before = by_hand(queue, ".dump")
    done = shell(queue, statement)
    assert done.returncode != 0 and words in done.stderr.decode()
    # From another database that has this one attached, too: it is the schema that stands guard.
    if "attach" not in statement:
        done = run(["sqlite3", ":memory:", f"attach '{queue.database}' as q", statement])
        assert done.returncode != 0 and words.replace("mailq", "") in \
            done.stderr.decode().replace("mailq", "")
    assert by_hand(queue, ".dump") == before
    assert queue.attempts == []


def test_an_open_write_transaction_is_named_and_waited_for(queue):
    """C16: a sender waits lock_wait at most, and is then kept by the second way in."""
    queue.write(lock_wait="1s")
    with subprocess.Popen(["sqlite3", queue.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as person:
        person.stdin.write("begin immediate;\nselect 'open';\n")
        person.stdin.flush()
        assert person.stdout.readline() == "open\n"
        done = queue.sendmail("-v", "r@example.net", stdin="x\n")
        assert done.returncode == 0
        assert f"process {person.pid} (sqlite3) has a transaction open" in done.stderr.decode()
        person.stdin.write("rollback;\n")
        person.stdin.close()
        assert person.wait(10) == 0
