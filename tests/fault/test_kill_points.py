"""C1: SIGKILL at every write and sync (a sample here, all in `make soak`): of a submission, of one that
checkpoints, of a session, of a flusher that imports, delivers, settles and checkpoints, of --init.
What was acknowledged is there, the rest is there whole or not at all, and nobody is held up after."""

import re
import shutil
import time

import corpus
import incoming
import kill_points
import pytest
from harness import build_dir
from pipe_session import QUEUED

EACH = 6
KILLED = (-9, 137)


def mail(serial, size=2048):
    return corpus.plain(serial, size)


class Base:
    """A spool directory that is put back before each kill."""

    def __init__(self, queue, directory):
        self.queue, self.spool, self.kept = queue, queue.database.parent, directory / "base"
        self.keep()

    def keep(self):
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.spool, self.kept, ignore=lambda _, names: [
            name for name in names if name.endswith("-shm")])

    def put_back(self):
        shutil.rmtree(self.spool)
        shutil.copytree(self.kept, self.spool)


@pytest.fixture
def base(queue, tmp_path):
    return Base(queue, tmp_path)


def check_usable(queue, acknowledged, most):
    """Between so many messages, all whole; and the next caller is served, in the queue, at once."""
    queue.whole()
    there = queue.value("select count(*) from message")
    assert acknowledged <= there <= most, (acknowledged, there, most)
    for content in queue.contents().values():
        serial = re.search(rb"Message-ID: <p(\d+)@", content)[1]
        assert corpus.below_received(content).replace(b"\r\n", b"\n") in (
            mail(int(serial)), mail(int(serial), 100_000))
    began = time.monotonic()
    done = queue.sendmail("-v", "-t", "-i", stdin=mail(9999))
    assert done.returncode == 0 and b"queue active" in done.stderr, done.stderr
    assert time.monotonic() - began < 4, "held up"  # lock_wait is 5 s
    assert queue.value("select count(*) from message") == there + 1


def sweep(base, what, argv, stdin, acknowledged, new):
    """acknowledged(run): how many of the `new` messages that run has said yes to."""
    queue = base.queue
    before = queue.value("select count(*) from message")
    base.put_back()  # so that what is recorded begins as what is killed will
    points, done = kill_points.record(argv, queue.directory / "trace", stdin, queue.env)
    assert done.returncode == 0 and acknowledged(done) == new, done
    kills = 0
    for point in kill_points.sample(points, EACH, what):
        base.put_back()
        done = kill_points.killed(argv, point, stdin, queue.env)
        kills += done.returncode in KILLED
        assert done.returncode in (0, *KILLED), (point, done)
        check_usable(queue, before + acknowledged(done), before + new)
    assert kills >= min(EACH, len(points)) - 1


def by_exit(done):
    return int(done.returncode == 0)


def test_c1_a_submission(base):
    sweep(base, "submission", [build_dir() / "sendmail", "-t", "-i"], mail(1), by_exit, 1)


def test_c1_a_submission_that_checkpoints(base):
    wal = base.queue.database.with_name("queue.db-wal")
    for serial in range(100):
        base.keep()
        base.queue.submit(mail(serial, 100_000))
        if wal.stat().st_size == 0:
            break
    assert wal.stat().st_size == 0 and serial > 2
    base.put_back()
    sweep(base, "checkpoint", [build_dir() / "sendmail", "-t", "-i"], mail(serial, 100_000), by_exit, 1)


def test_c1_a_session(base):
    data = b"EHLO c\r\n" + b"".join(
        b"MAIL FROM:<app@example.com>\r\nRCPT TO:<kunde%d@example.net>\r\nDATA\r\n%s.\r\n"
        % (i, mail(i).replace(b"\n", b"\r\n")) for i in range(3))
    sweep(base, "session", [build_dir() / "sendmail", "-bs"], data,
          lambda done: len(QUEUED.findall(done.stdout)), 3)


# --- the flusher ---


def check_flushed(base, far, done, before, everybody):
    """What it had said to be sent is so for good; after the next flusher all are sent, and of what was
    settled nothing was sent again."""
    queue = base.queue
    queue.whole()
    said = set(re.findall(r"to=<([^>]+)>.* status=sent", done.stderr.decode()))
    settled = {row["recipient"] for row in queue.delivered}
    assert said <= settled
    again = queue.flush("--once")
    assert again.code == 0, again.log
    assert {row["recipient"] for row in queue.delivered} == everybody
    counts = {}
    for message in far.messages[before:]:
        for address in message["recipients"]:
            counts[address] = counts.get(address, 0) + 1
    assert set(counts) == everybody
    assert all(counts[address] == 1 for address in settled)
    assert not list((base.spool / "incoming").iterdir())
    queue.whole()


def test_c1_a_flusher(base, ses):
    """It imports two files, delivers five messages to one that keeps no journal, settles, and empties
    the WAL."""
    far, queue = ses(tls="none", user=None), base.queue
    queue.relay(far.url)
    for serial in range(3):
        queue.submit(mail(serial))
    here = incoming.Incoming(queue)
    for i in range(2):
        here.put(*incoming.compose(f"i{i}@example.net"))
    everybody = {*(f"kunde{i}@example.net" for i in range(3)), "i0@example.net", "i1@example.net"}
    base.keep()
    argv = [build_dir() / "cenmail-flush", "-C", queue.conf, "-v", "--once"]
    points, done = kill_points.record(argv, queue.directory / "trace", env=queue.env)
    assert done.returncode == 0, done.stderr
    check_flushed(base, far, done, 0, everybody)
    kills = 0
    for point in kill_points.sample(points, 2 * EACH, "flusher"):
        base.put_back()
        before = len(far.messages)
        done = kill_points.killed(argv, point, env=queue.env)
        kills += done.returncode in KILLED
        check_flushed(base, far, done, before, everybody)
    assert kills >= EACH


def test_c1_init(base):
    """After a kill the next --init makes a queue, whatever is there."""
    queue = base.queue
    for old in base.spool.iterdir():
        old.rmdir() if old.is_dir() else old.unlink()
    base.keep()
    argv = [build_dir() / "cenmail-flush", "-C", queue.conf, "--init"]
    points, done = kill_points.record(argv, queue.directory / "trace", env=queue.env)
    assert done.returncode == 0, done.stderr
    for point in kill_points.sample(points, EACH, "--init"):
        base.put_back()
        done = kill_points.killed(argv, point, env=queue.env)
        if queue.database.exists():
            queue.whole()
        assert queue.run_flush("--init").returncode == 0
        assert not list(base.spool.glob("*.new*"))
        check_usable(queue, 0, 0)


def test_the_check_can_fail(base):
    """Killed before its first write to the queue, and yet somebody says it was acknowledged."""
    argv = [build_dir() / "sendmail", "-t", "-i"]
    done = kill_points.killed(argv, ("pwrite64", 1), mail(1), base.queue.env)
    assert done.returncode in KILLED
    with pytest.raises(AssertionError):
        check_usable(base.queue, 1, 1)
