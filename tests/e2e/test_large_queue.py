"""A queue in which much waits: what people and programs ask of it walks no more of it than they want
to see. (How long it takes at a million is measured by `make bench`.)"""

import re
import sqlite3
import subprocess

import filled
import parts
import pytest
from harness import build_dir, run

MESSAGES = 20000


@pytest.fixture(name="large", scope="module")
def _large(tmp_path_factory):
    queue = parts.Queue(tmp_path_factory.mktemp("large"))
    done = run(filled.by_sql(queue.database, MESSAGES))
    assert done.returncode == 0, done.stderr.decode()
    return queue


@pytest.mark.parametrize("question", [
    "select * from mailq limit 10",
    "select * from mailq where id=17",
    "select * from mailq where id>10000 limit 10",
    "select * from hourly",
    "select * from attempts where id=17",
])
def test_a_look_at_it_walks_by_an_index(large, question):
    """A table may be walked as a whole only if it is the hours'."""
    plan = [row["detail"] for row in large.sql("explain query plan " + question)]
    walked = [step for step in plan if step.startswith("SCAN") and "USING INDEX" not in step]
    assert all(re.fullmatch(r"SCAN hour", step) for step in walked), plan


def steps_of(database, statement):
    """How many of SQLite's steps a statement takes, by the hundred."""
    db, count = sqlite3.connect(f"file:{database}?mode=ro", uri=True), [0]
    def more():
        count[0] += 1
    db.set_progress_handler(more, 100)
    db.execute(statement).fetchall()
    db.close()
    return count[0]


def test_the_first_rows_cost_no_more_than_in_a_short_queue(large):
    assert steps_of(large.database, "select * from mailq limit 10") <= 20
    assert steps_of(large.database, "select * from hourly") <= 20
    assert steps_of(large.database, "select * from mailq") > 1000  # the handler counts


def test_mailq_whose_reader_has_had_enough_ends_without_a_word(large):
    mailq = subprocess.Popen(["mailq"], executable=build_dir() / "sendmail", env=large.env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert mailq.stdout.readline().startswith(b"-Queue ID-")
    mailq.stdout.close()
    assert mailq.wait(30) == 0
    assert mailq.stderr.read() == b""
    mailq.stderr.close()


def test_a_listing_that_can_not_be_written_is_still_an_error(large):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(["mailq"], executable=build_dir() / "sendmail", env=large.env,
                              stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 74 and b"the listing can't be written" in done.stderr


# --- what a submission asks of the disk ---

def syncs(queue, tmp_path):
    """The files that one submission of a small message syncs, in order."""
    trace = tmp_path / "trace"
    done = run(["strace", "-f", "-y", "-o", trace, "-e", "trace=fsync,fdatasync,sync_file_range",
                build_dir() / "sendmail", "-i", "kunde@example.net"], b"Subject: x\n\nx\n",
               env={**queue.env, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr.decode()
    return re.findall(r"(?:fsync|fdatasync|sync_file_range)\(\d+<[^>]*/([^/>]+)>", trace.read_text())


def test_a_submission_syncs_once(queue, tmp_path):
    """While somebody holds the database open, as a flusher does. The first commit into a WAL that
    begins anew syncs its head besides; a checkpoint (past 128 pages), WAL and database."""
    with queue._open() as holder:
        holder.execute("select count(*) from message").fetchone()
        seen = [syncs(queue, tmp_path) for _ in range(12)]
    assert seen[0] == ["queue.db-wal"] * 2
    assert seen[1] == seen[2] == ["queue.db-wal"], seen
    rare = [s for s in seen[1:] if s != ["queue.db-wal"]]
    assert len(rare) <= 3, seen  # the checkpoint, and the new beginning after it

