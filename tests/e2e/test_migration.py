"""A queue of an earlier version is brought up to date by `cenmail-flush --init`, while senders of
either version go on: nothing is lost, nothing comes twice (item 5 of the queue's contract)."""

import concurrent.futures
import contextlib
import fcntl
import os
import re
import sqlite3
import subprocess
import time

import incoming
import pytest
from harness import ROOT, build_dir

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody\n"
WAITING = ["later@example.net", "queued@example.org", "doubt@example.com", "big@example.com"]


def submit(queue, address):
    return queue.sendmail("-t", "-i", stdin=MAIL.format(address))


def check_arrived(far, addresses):
    assert sorted(r for m in far.messages for r in m["recipients"]) == sorted(addresses)


@pytest.fixture
def way(queue, ses):
    queue.ses = ses(tls="none", user=None)
    queue.write(lock_wait="1s")
    queue.relay(queue.ses.url)
    queue.incoming = incoming.Incoming(queue)
    return queue


@pytest.fixture
def old(way):
    """In its place, the queue that version 1 left in tests/data, as if it had been a moment ago:
    history and lifetimes end."""
    for file in way.database.parent.glob("queue.db*"):
        file.unlink()
    text = (ROOT / "tests/data/queue-1.sql").read_text(encoding="ascii")
    times = re.compile(r"\b179\d{10}\b")
    late = int(time.time() * 1000) - max(int(at) for at in times.findall(text))
    text = times.sub(lambda at: str(int(at[0]) + late), text)
    with contextlib.closing(sqlite3.connect(way.database)) as db:
        db.executescript(text)
    way.database.chmod(0o600)
    return way


def test_from_version_1_with_its_data(old):
    refused = old.run_flush()
    assert refused.returncode == 78
    assert b"is of version 1, and this program knows version 3: migrate it with" in refused.stderr
    done = old.run_flush("--init")
    assert (done.returncode, done.stdout.decode()) == \
        (0, f"{old.database}: brought from version 1 to 3\n")
    assert old.run_flush("--init").stdout.endswith(b"is there, and up to date\n")
    old.sql("update recipient set state='queued' where state='queued'")  # due now
    assert old.flush().sent == 4
    check_arrived(old.ses, WAITING)
    big = next(m for m in old.ses.messages if m["recipients"] == ["big@example.com"])
    assert b"line\r\n" * 900 in old.ses.content(big)
    old.sql("update recipient set state='queued' where state='held' or state='failed'")
    assert old.flush().sent == 2
    old.whole()
    domains = {r["domain"]: (r["queued"], r["delivered"], r["failed"]) for r in
               old.sql("select * from by_domain")}
    assert domains == {"example.com": (0, 2, 0), "example.net": (0, 5, 0), "example.org": (0, 2, 0)}


def test_senders_go_on_while_it_is_done(old):
    """They find version 1, the lock held, or version 3: each is accepted; cron's flusher, too."""
    addresses = [f"r{i}@example.net" for i in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(submit, old, a) for a in addresses]
        flushers = [pool.submit(old.run_flush) for _ in range(2)]
        sent[10].result()
        done = old.run_flush("--init")
        assert done.returncode == 0 and b"brought from version 1 to 3" in done.stdout, done
        for one in sent:
            assert one.result().returncode == 0, one.result().stderr
        assert {one.result().returncode for one in flushers} <= {0, 78}
    old.sql("update recipient set state='queued' where state='queued'")
    assert old.flush().code == 0
    assert old.incoming.names == []
    check_arrived(old.ses, WAITING + addresses)
    old.whole()


def waiters(lock):
    """How many wait in the kernel for a flock."""
    inode = f":{os.stat(lock).st_ino} "
    with open("/proc/locks", encoding="ascii") as locks:
        return sum("-> FLOCK" in line and inode in line for line in locks)


def test_an_old_sendmail_that_waits_for_the_lock_meanwhile(way, wait_for):
    """It has seen its own version and waits; when it has the lock the queue is of the next one (which
    these programs do not know, as that one would not know ours): it accepts by the second way in."""
    lock = way.database.parent / "queue.lock"
    way.write(lock_wait="30s")
    with open(lock, "r+b") as held, contextlib.closing(
            sqlite3.connect(way.database, isolation_level=None)) as db:
        fcntl.flock(held, fcntl.LOCK_EX)
        db.execute("begin immediate")
        old = [subprocess.Popen([build_dir() / "sendmail", f"r{i}@example.net"], env=way.env,
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(3)]
        for one in old:
            one.stdin.write(b"Subject: s\n\nbody\n")
            one.stdin.close()
        wait_for(lambda: waiters(lock) == 3)
        assert way.incoming.names == []
        db.execute("alter table recipient add column later integer not null default 0")
        db.execute("pragma user_version=4")
        db.execute("commit")
    for one in old:
        assert one.wait(30) == 0, one.stderr.read()
        one.stderr.close()
    assert len(way.incoming.names) == 3
    done = way.run_flush()
    assert done.returncode == 78 and b"this program is too old for it" in done.stderr
    done = way.run_flush("--init")
    assert done.returncode == 78 and b"this program is too old for it" in done.stderr, "no way back"
    # The package is brought up to date too: it knows that version.
    way.sql("pragma user_version=3")
    assert way.flush().code == 0
    check_arrived(way.ses, [f"r{i}@example.net" for i in range(3)])
    way.whole()
