"""Disks that are full, out of inodes, read-only or broken: what sendmail answered 0 to is there and is
sent once, and all else was answered 75 (C4, C7, C8, C17)."""

import os
import re

import pytest
import small_disk
from harness import not_here

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root mounts file systems")

TEMPFAIL = 75


def mail(number, size=200):
    return (f"To: r{number}@example.net\nFrom: s@example.com\nMessage-ID: <{number}@example.com>\n"
            f"Subject: s\n\n").encode() + b"0123456789abcde\n" * (size // 16)


@pytest.fixture
def can_trace(monkeypatch):
    """The leak checker of a sanitized build does not work in what is traced."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


@pytest.fixture
def disk(tmp_path, programs):
    """disk(**options): a queue on a file system of its own."""

    def make(kind="tmpfs", **options):
        why = small_disk.why_not(kind)
        if why:
            not_here(why)
        return small_disk.SmallDisk(tmp_path / "small", programs, kind, **options)

    return make


def send(queue, numbers, size=200):
    """Those that were accepted; the rest was answered 75."""
    accepted = []
    for number in numbers:
        done = queue.sendmail("-t", "-i", stdin=mail(number, size))
        assert done.returncode in (0, TEMPFAIL), done
        if done.returncode == 0:
            accepted.append(number)
    return accepted


def check_delivered(queue, ses, accepted):
    """Each that was accepted, once; nothing else."""
    far = ses()
    queue.relay(far.url)
    for _ in range(5):
        queue.flush()
        if not queue.mailq and not queue.incoming():
            break
    found = [int(m["recipients"][0].split("@")[0][1:]) for m in far.messages]
    assert sorted(found) == sorted(accepted)
    assert queue.value("pragma integrity_check") == "ok"


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_full(disk, ses, kind):
    """ENOSPC while messages of all sizes come: no false 0, and with room all goes on."""
    queue = disk(kind, size="8m")
    queue.inside("dd if=/dev/zero of=ballast bs=1M count=2 status=none")
    accepted = send(queue, range(40), 150_000)
    assert 5 < len(accepted) < 40
    queue.fill()
    small = send(queue, range(40, 44)) + send(queue, range(44, 46), 400_000)
    assert 44 not in small
    queue.make_room()
    after = send(queue, range(50, 52))
    assert after == [50, 51]
    check_delivered(queue, ses, accepted + small + after)


def test_full_to_the_last_block(disk, ses):
    """On blocks smaller than a page SQLite's reservation of -shm reserves nothing: the first write
    into the memory was the end, by SIGBUS. All amounts of space up to what a message needs."""
    queue = disk("ext4", size="8m")
    queue.flush()
    accepted = []
    for number, left in enumerate(range(0, 160, 2)):
        queue.inside("rm -f ballast")
        queue.fill(leave=left * 1024)
        accepted += send(queue, [number])
    assert 0 < len(accepted) < 80
    queue.make_room()
    check_delivered(queue, ses, accepted)


def test_the_check_sees_what_is_lost(disk, ses):
    """The negative control of check_delivered."""
    queue = disk()
    accepted = send(queue, range(3))
    queue.sql("delete from message where id=2")
    with pytest.raises(AssertionError):
        check_delivered(queue, ses, accepted)


def test_min_free_of_a_small_disk(disk, ses):
    """The default would never let 8 MB take mail: there it is a quarter."""
    queue = disk(size="8m", min_free=None)
    accepted = send(queue, [1])
    queue.fill(leave=1 << 20)
    done = queue.sendmail("-t", "-i", stdin=mail(2))
    assert done.returncode == TEMPFAIL and b"below 2 MB (min_free)" in done.stderr
    queue.make_room()
    check_delivered(queue, ses, accepted + send(queue, [3]))


def test_min_free(disk, ses):
    """Below min_free nothing is taken, by neither way in, with words; above it all is as it was."""
    queue = disk(size="16m", min_free="4M", lock_wait="0")
    accepted = send(queue, [1])
    queue.fill(leave=3 << 20)
    for prefix in ([], ["flock", queue.database.parent / "queue.lock"]):
        held, queue.prefix = queue.prefix, queue.prefix + prefix
        done = queue.sendmail("-t", "-i", stdin=mail(2))
        queue.prefix = held
        assert done.returncode == TEMPFAIL
        assert re.search(rb"file system has [23] MB left, and below 4 MB \(min_free\)", done.stderr)
        assert queue.incoming() == []
    session = queue.sendmail("-bs", stdin=b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n")
    assert re.search(rb"^452 4\.3\.1 .*min_free", session.stdout, re.M)
    queue.make_room()
    check_delivered(queue, ses, accepted + send(queue, [3]))


def test_c7_no_inodes(disk, ses):
    """C7: what needs no new file is taken; what does is answered 75."""
    queue = disk(inodes=40, lock_wait="0")
    queue.inside("for i in $(seq 99); do touch ballast$i; done 2>/dev/null || true")
    small, large = send(queue, [1]), send(queue, [2], 1 << 20)
    assert (small, large) == ([1], [])  # more than fits in memory needs a file
    held, queue.prefix = queue.prefix, queue.prefix + ["flock", queue.database.parent / "queue.lock"]
    assert send(queue, [3]) == []
    queue.prefix = held
    assert queue.incoming() == []
    queue.inside("rm ballast*")
    check_delivered(queue, ses, small)


def test_c8_read_only(disk, ses):
    """C8: 75 with the reason, and all is as it was when it can be written again."""
    queue = disk()
    accepted = send(queue, [1])
    spool = queue.database.parent
    queue.inside(f"mount -o remount,ro {spool}")
    done = queue.sendmail("-t", "-i", stdin=mail(2))
    assert done.returncode == TEMPFAIL and b"read-only" in done.stderr.lower()
    assert send(queue, [3], 1 << 20) == []
    queue.inside(f"mount -o remount,rw {spool}")
    check_delivered(queue, ses, accepted + send(queue, [4]))


def inject(queue, *what):
    queue.prefix += ["strace", "-f", "-qq", "-o", "/dev/null"]
    for one in what:
        queue.prefix += ["-e", one]


@pytest.mark.parametrize("call", ["fdatasync", "fsync,fdatasync"])
def test_c4_a_sync_fails(disk, ses, can_trace, call):
    """C4: EIO at COMMIT's sync. The second way in takes it, or it is 75; whether it is in the queue
    all the same or not, it is sent at most once, and what was answered 0 is."""
    queue = disk()
    accepted = send(queue, [1])
    held = queue.prefix[:]
    inject(queue, f"trace={call}", f"inject={call}:error=EIO")
    answers = send(queue, [2, 3])
    queue.prefix = held
    assert answers == ([2, 3] if call == "fdatasync" else [])
    found = {2, 3} & {int(r["recipient"][1]) for r in queue.mailq}
    check_delivered(queue, ses, sorted({*accepted, *answers, *found}) + send(queue, [4]))


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EIO", "EROFS"])
@pytest.mark.parametrize("call", ["pwrite64", "pwrite64,write,ftruncate,fallocate"])
def test_c7_writes_fail(disk, ses, can_trace, call, error):
    """Every write of the database fails, and every write at all: quota (EDQUOT) among the reasons."""
    queue = disk()
    accepted = send(queue, [1])
    held = queue.prefix[:]
    inject(queue, f"trace={call}", f"inject={call}:error={error}")
    answers = send(queue, [2])
    queue.prefix = held
    assert answers == ([2] if call == "pwrite64" else [])
    assert len(queue.incoming()) == len(answers)
    check_delivered(queue, ses, accepted + answers + send(queue, [3]))


def large_queue(disk):
    """One whose database is larger than what the next message writes, and its WAL empty."""
    queue = disk(size="32m")
    accepted = send(queue, [1], 2 << 20)
    queue.flush()
    assert (queue.spool / "queue.db-wal").stat().st_size == 0
    return queue, accepted


def wal_is_left(queue):
    """Of a message whose checkpoint failed."""
    return (queue.spool / "queue.db-wal").stat().st_size > 128 * 4120


def test_c17_the_checkpoint_fails_by_rlimit_fsize(disk, ses):
    """C17: the WAL fits within RLIMIT_FSIZE, the database does not: COMMIT was durable, so 0."""
    queue, accepted = large_queue(disk)
    held = queue.prefix[:]
    queue.prefix += ["prlimit", f"--fsize={3 << 19}:{3 << 19}"]
    accepted += send(queue, [2], 1 << 20)
    queue.prefix = held
    assert accepted == [1, 2] and wal_is_left(queue)
    check_delivered(queue, ses, accepted + send(queue, [3]))


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_c17_the_checkpoint_fails_by_the_disk(disk, ses, can_trace, error):
    """C17: writes into the database itself fail, those into the WAL don't."""
    queue, accepted = large_queue(disk)
    held = queue.prefix[:]
    inject(queue, "trace=pwrite64,ftruncate", f"inject=pwrite64:error={error}")
    queue.prefix += ["-P", queue.database]
    accepted += send(queue, [2], 1 << 20)
    queue.prefix = held
    assert accepted == [1, 2] and wal_is_left(queue)
    check_delivered(queue, ses, accepted + send(queue, [3]))


def test_c17_without_a_fault_there_is_a_checkpoint(disk):
    """The negative control of the two above."""
    queue, _ = large_queue(disk)
    assert send(queue, [2], 1 << 20) == [2]
    assert not wal_is_left(queue)
