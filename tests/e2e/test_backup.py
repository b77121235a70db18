"""A backup made while senders and a flusher go on, put back, and cloned: nothing is doubled, as the
listener's journal knows the tokens (item 6 of the queue's contract)."""

import collections
import contextlib
import shutil
import sqlite3
import subprocess
import time

import corpus
import pytest
from harness import ROOT, build_dir, run
from senders import Senders

SCRIPT = ROOT / "queue/store/cenmail-sql"


def backup(queue, file):
    return run(["sh", SCRIPT, "--backup", file], env={**queue.env, "CENMAIL_QUEUE": queue.database})


def rows(file, statement):
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
        return db.execute(statement).fetchall()


def restore(queue, file):
    """The lines of cenmail-queue(7)."""
    done = run(["sh", "-c", f"cd {queue.database.parent} && "
                "flock flush.lock flock queue.lock sh -c 'mkdir -m 700 old && "
                f"{{ mv queue.db* old/; mv {file} queue.db; }}'"])
    assert done.returncode == 0, done.stderr
    done = queue.run_flush("--init")
    assert done.returncode == 0, done.stderr


def test_backup_under_load(road, thousand, wait_for):
    way = road(ses_options={"latency": 3}, linger="60s")
    thousand.pour(way.queue)
    flusher = way.queue.flusher()
    file = way.queue.database.with_name("backup.db")
    with Senders(way.queue, 6) as senders:
        wait_for(lambda: len(senders.sent) >= 10)
        for _ in range(3):
            before, number = set(senders.sent), len(senders.sent)
            began = time.monotonic()
            done = backup(way.queue, file)
            took = time.monotonic() - began
            assert done.returncode == 0 and took < 10, (done, took)
            assert file.stat().st_mode & 0o777 == 0o600
            assert rows(file, "pragma integrity_check") == [("ok",)]
            there = {r[0] for r in rows(file, "select address from recipient")}
            assert before <= there, "what was acknowledged before is in it"
            assert rows(file, "select count(*) from message where not exists"
                        " (select 1 from recipient where message=message.id)") == [(0,)]
            wait_for(lambda: len(senders.sent) > number)
    assert senders.failed == []
    assert senders.slowest < 5
    wait_for(lambda: set(way.queue.states()) == {"sent"}, 60)
    assert flusher.stop() == 0
    assert not file.with_name("backup.db.part").exists()


def test_what_is_damaged_takes_the_place_of_no_good_copy(queue):
    put(queue, "one")
    file = queue.database.with_name("backup.db")
    assert backup(queue, file).returncode == 0
    good = file.read_bytes()
    root = queue.value("select rootpage from sqlite_master where name='attempt'")
    queue.sql("pragma wal_checkpoint(truncate)")
    with open(queue.database, "r+b") as page:
        page.seek((root - 1) * 4096)
        page.write(b"Z" * 4096)
    done = backup(queue, file)
    assert done.returncode == 65, done
    assert b"backup.db: not written, as the queue is damaged: " in done.stderr
    assert file.read_bytes() == good
    assert sorted(f.name for f in queue.database.parent.glob("backup*")) == ["backup.db"]


def arrivals(far):
    return collections.Counter(corpus.message_id(far.content(m)) for m in far.messages)


def put(queue, *names):
    for name in names:
        queue.submit(f"To: {name}@example.net\nFrom: sender@example.com\n"
                     f"Message-Id: <{name}@example.com>\n\nbody\n")


def test_a_backup_put_back_doubles_nothing(road):
    """Two are sent after the backup, and are queued again with it; SES sees one copy of each."""
    way = road()
    put(way.queue, "one", "two")
    assert backup(way.queue, way.queue.database.with_name("backup.db")).returncode == 0
    assert way.queue.flush().sent == 2
    put(way.queue, "lost")
    restore(way.queue, "backup.db")
    assert way.queue.states() == {"queued": 2}
    put(way.queue, "three")
    assert way.queue.flush().sent == 3
    assert arrivals(way.ses) == {f"<{n}@example.com>": 1 for n in ("one", "two", "three")}
    # What was repeated is what SES first said.
    ids = {m["id"] for m in way.ses.messages}
    assert {r["ses_id"] for r in way.queue.delivered} <= ids
    way.queue.whole()


def test_with_other_tokens_it_would(road):
    """The control: put back with new tokens they do come again, and the count sees it."""
    way = road()
    put(way.queue, "one")
    assert backup(way.queue, way.queue.database.with_name("backup.db")).returncode == 0
    way.queue.flush()
    restore(way.queue, "backup.db")
    way.queue.as_program("update recipient set once=randomblob(16)")
    way.queue.flush()
    assert arrivals(way.ses) == {"<one@example.com>": 2}


def test_a_clone_doubles_nothing(road, tmp_path):
    """A host that was copied with its queue: both send, at the same time."""
    way = road(ses_options={"latency": 20})
    names = [f"m{i}" for i in range(20)]
    put(way.queue, *names)
    spool = tmp_path / "clone"
    shutil.copytree(way.queue.database.parent, spool)
    conf = tmp_path / "clone.conf"
    conf.write_text(way.queue.conf.read_text().replace(f"queue {way.queue.database}",
                                                       f"queue {spool / 'queue.db'}"))
    other = subprocess.Popen([build_dir() / "cenmail-flush", "-C", conf], stderr=subprocess.PIPE)
    assert way.queue.flush().sent == 20
    assert other.wait(60) == 0, other.stderr.read()
    other.stderr.close()
    assert arrivals(way.ses) == {f"<{n}@example.com>": 1 for n in names}


@pytest.mark.parametrize("file, code", [("", 64), ("a'b", 64), ("dir/", 64), ("/nonexistent/x", 73)])
def test_a_file_that_can_not_be(queue, file, code):
    done = backup(queue, file)
    assert done.returncode == code and done.stderr.startswith(b"cenmail-sql: ")


def test_a_queue_that_is_not_there_is_not_made(queue, tmp_path):
    queue.database.unlink()
    assert backup(queue, tmp_path / "backup.db").returncode == 78
    assert not queue.database.exists() and not (tmp_path / "backup.db").exists()
