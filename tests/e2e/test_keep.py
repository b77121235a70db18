"""Retention with the real flusher: what it removes, when it does, what is left of the file; and
--vacuum."""

import os
import random
import re
import subprocess
import time

import pytest
from harness import build_dir, run, wait_for

HOUR, DAY = 3_600_000, 86_400_000
MAIL = "To: {}\nFrom: s@example.com\nSubject: s\n\nbody\n"
NOPERM = 77


def put(queue, *addresses):
    for address in addresses:
        queue.submit(MAIL.format(address))


def age(queue, ms):
    """As if the clock were so much further on."""
    queue.as_program(
        "begin immediate",
        f"update message set submitted=submitted-({ms})",
        f"update recipient set since=since-({ms}), settled=settled-({ms})",
        f"update attempt set at=at-({ms})",
        f"update hour set at=-at+({ms // HOUR})",
        "update hour set at=-at",
        "commit")


def counts(queue):
    return [queue.value(f"select count(*) from {table}")
            for table in ("message", "recipient", "content", "attempt", "hour")]


@pytest.fixture
def way(queue, ses):
    """One that was sent, one that failed, one that is held."""
    far = ses()
    far.faults("rcpt 1 550 5.1.1 no such user")
    queue.relay(far.url)
    put(queue, "no@example.net", "a@example.net", "held@example.net")
    queue.sql("update recipient set state='held' where id=3")
    queue.flush()
    assert queue.states() == {"sent": 1, "failed": 1, "held": 1}
    return queue


def test_content_and_history_go_in_their_time(way):
    assert sorted(way.contents()) == [1, 3]
    age(way, 29 * DAY)
    way.flush()
    assert sorted(way.contents()) == [1, 3]
    age(way, 2 * DAY)
    way.flush()
    assert sorted(way.contents()) == [3]
    row, = way.sql("select * from undeliverable")
    assert (row["recipient"], row["code"]) == ("no@example.net", 550)
    assert len(way.delivered) == 1
    age(way, 58 * DAY)
    way.flush()
    assert counts(way) == [3, 3, 1, 3, 1]
    age(way, 2 * DAY)
    way.flush()
    assert counts(way) == [1, 1, 1, 0, 0], "what is held stays, however old"
    assert way.value("pragma integrity_check") == "ok"


def test_failed_is_sent_again_while_its_content_is_kept(way):
    age(way, 29 * DAY)
    way.sql("update recipient set state='queued' where id=1")
    way.flush()
    assert way.states() == {"sent": 2, "held": 1}


def test_keep_sent(queue, ses):
    queue.relay(ses().url)
    queue.write(keep_sent="7d")
    put(queue, "a@example.net")
    queue.flush()
    assert list(queue.contents()) == [1]
    age(queue, 6 * DAY)
    queue.flush()
    assert list(queue.contents()) == [1]
    age(queue, 2 * DAY)
    queue.flush()
    assert queue.contents() == {} and len(queue.delivered) == 1


def spread(queue, count, step=HOUR):
    """count recipients that failed, one in each of the last hours (or other steps), with content and
    attempt. The road is down."""
    queue.relay("lmtp://127.0.0.1:1")
    queue.as_program(
        "begin immediate",
        f"""with recursive n(i) as (select 0 union all select i+1 from n where i<{count - 1})
            insert into message select null,randomblob(16),{time.time_ns() // 1_000_000}-i*{step},0,'',
            2,0,'',null,null,0 from n""",
        "insert into content select id,0,x'0d0a' from message",
        """insert into recipient(message,address,once,state,next_try,since,settled)
            select id,'a@example.net',randomblob(16),'failed',submitted,submitted,submitted
            from message""",
        """insert into attempt(message,recipient,address,at,reply)
            select message,id,address,settled,'no' from recipient""",
        f"insert or ignore into hour(at,failed) select submitted/{HOUR},1 from message",
        "commit")


def test_c12_a_clock_ten_years_on_costs_an_hour(queue):
    """C12: a run with a wrong clock removes no more than an hour's mail; all goes on when it is right
    again. The same with everything else ten years back."""
    spread(queue, 24 * 10)
    age(queue, 3650 * DAY)
    queue.flush()
    left = counts(queue)
    age(queue, -3650 * DAY)
    assert all(240 - 2 <= n <= 240 - 1 for n in left), left
    queue.flush()
    assert counts(queue) == left
    age(queue, -365 * DAY)  # and a year back
    queue.flush()
    assert counts(queue) == left


def test_it_works_while_it_lingers_and_senders_come_first(queue, ses):
    """A thousand messages go while one lingers; a sender meanwhile is served at once."""
    queue.write(linger="60s")
    spread(queue, 1000, step=10)
    queue.relay(ses().url)
    age(queue, 100 * DAY)
    flusher = queue.flusher()
    put(queue, "a@example.net")
    flusher.line(lambda line: "status=sent" in line)
    assert queue.value("select count(*) from content") > 0, "he waited until all was done"
    wait_for(lambda: counts(queue) == [1, 1, 0, 1, 1])
    flusher.stop()


def test_a_reader_is_not_made_to_swell_the_wal(queue):
    """While somebody's transaction keeps the WAL from being written back, little is removed."""
    spread(queue, 4000, step=10)
    age(queue, 100 * DAY)
    with queue.reading():
        done = queue.run_flush("--vacuum")
        assert done.returncode == 75 and b"somebody has a transaction open" in done.stderr
        assert (queue.database.parent / "queue.db-wal").stat().st_size < 6 << 20
        assert counts(queue)[0] > 0
    assert queue.run_flush("--vacuum").returncode == 0
    assert counts(queue) == [0, 0, 0, 0, 0]


# --- --vacuum ---


def size(queue):
    return queue.database.stat().st_size


def test_vacuum_does_all_of_it_now(queue):
    spread(queue, 24 * 100)
    before = queue.value("pragma page_count") * 4096
    done = queue.run_flush("--vacuum")
    assert done.returncode == 0, done.stderr
    said = re.search(rb"removed (\d+) messages \((\d+) recipients\), the content of (\d+), and (\d+) "
                     rb"tries; (\d+) MB, was (\d+) MB\n$", done.stdout)
    messages, recipients, contents, tries, _, _ = map(int, said.groups())
    assert (messages, recipients, tries) == (240, 240, 240)
    assert abs(contents - 24 * 70) <= 1
    wanted = [24 * 90, 24 * 90, 24 * 30, 24 * 90, 24 * 90]
    assert all(abs(n - w) <= 1 for n, w in zip(counts(queue), wanted)), counts(queue)
    assert queue.value("pragma freelist_count") == 0
    assert size(queue) < before
    assert queue.value("pragma integrity_check") == "ok"
    again = queue.run_flush("--vacuum")
    assert b"removed 0 messages (0 recipients), the content of 0, and 0 tries" in again.stdout


def test_vacuum_beside_a_flusher_and_senders(queue, ses):
    """Nobody is kept from sending, and nobody's mail is lost."""
    queue.write(linger="60s")
    spread(queue, 24 * 100)
    queue.relay(ses().url)
    flusher = queue.flusher()
    with subprocess.Popen([build_dir() / "cenmail-flush", "-C", queue.conf, "--vacuum"],
                          stdout=subprocess.DEVNULL) as vacuum:
        put(queue, *(f"r{i}@example.net" for i in range(8)))
        assert vacuum.wait(60) == 0
    for i in range(8):
        flusher.line(lambda line, i=i: f"to=<r{i}@" in line and "status=sent" in line)
    flusher.stop()
    assert queue.states()["sent"] == 8
    assert queue.value("pragma integrity_check") == "ok"


def test_killed_at_any_system_call(queue, monkeypatch):
    """Whatever it was at: the queue is whole, what is to be kept is there, and the next one goes on."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
    spread(queue, 1500, step=20)
    put(queue, "held@example.net")
    queue.sql("update recipient set state='held' where id=1501")
    age(queue, 100 * DAY)
    seed = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    points = [rng.randrange(100, 1000) for _ in range(6)]
    held, killed = queue.prefix, 0
    for n in points:
        queue.prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e",
                        f"inject=all:signal=KILL:when={n}"]
        killed += queue.run_flush("--vacuum").returncode != 0
        queue.prefix = held
        assert queue.value("pragma integrity_check") == "ok", n
        assert queue.value("select count(*) from recipient where state='held'") == 1
        assert queue.value("select count(*) from content where message=1501") == 1
        assert queue.value("select count(*) from message where not exists"
                           " (select 1 from recipient where message=message.id)") == 0, n
    print(f"seed {seed}: killed {killed} times; points {points}")
    assert killed >= 1  # each goes on where the last one was killed
    assert queue.run_flush("--vacuum").returncode == 0
    assert counts(queue)[:3] == [1, 1, 1]


@pytest.mark.skipif(os.getuid() != 0, reason="who may not is another user than this one")
def test_vacuum_is_not_for_everybody(queue):
    queue.conf.chmod(0o644)
    for directory in [queue.conf.parent, *queue.conf.parent.parents][:-2]:
        directory.chmod(0o755)
    done = run(["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", build_dir() /
                "cenmail-flush", "-C", queue.conf, "--vacuum"])
    assert done.returncode == NOPERM and b"only root and the queue's owner may" in done.stderr


# --- disk use ---


@pytest.mark.skipif("CENMAIL_SOAK" not in os.environ, reason="a million messages: make soak")
def test_a_million_messages_flow_through():
    """The file stays under the bound of cenmail-queue(7); 3,000 of them are in make test."""
    done = run([build_dir() / "unit/test_store_flow"], deadline=7200,
               env={**os.environ, "CENMAIL_FLOW": "1000000"})
    print(done.stdout.decode())
    assert done.returncode == 0, done.stderr.decode()
