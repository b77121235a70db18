"""The WAL that a bare shell has taken away or made anew: its name is on the disk before anything in
it is acknowledged (C2), and it is never kept open for reading only."""

import re
import stat
import subprocess

import pytest
from harness import build_dir, run

MAIL = b"To: r@example.net\nFrom: s@example.com\nSubject: s\n\nbody\n"


@pytest.fixture
def wal(queue):
    """A queue whose WAL a bare shell, the last to close, has taken away."""
    queue.submit(MAIL)
    subprocess.run(["sqlite3", queue.database, "select count(*) from mailq"], check=True,
                   stdout=subprocess.DEVNULL)
    path = queue.database.with_name("queue.db-wal")
    assert not path.exists()
    return path


def is_marked(wal):
    return bool(wal.stat().st_mode & stat.S_ISVTX)


def submit(queue, *trace):
    """Under strace: what it wrote down."""
    output = queue.directory / "trace"
    done = run(["strace", "-qq", "-y", "-o", output, *trace, build_dir() / "sendmail", "-v", "-t"],
               MAIL, env={**queue.env, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0 and b"queue active" in done.stderr, done.stderr
    return output.read_text()


def directory_syncs(queue):
    calls = submit(queue, "-e", "trace=fsync,fdatasync")
    return len(re.findall(rf"f(?:data)?sync\(\d+<{queue.database.parent}>\)", calls))


def test_one_that_a_reader_made(queue, wal):
    """The first to find it syncs its name and marks it; those after need not."""
    with queue.reading():
        assert wal.exists() and not is_marked(wal)
        assert directory_syncs(queue) == 1
        assert is_marked(wal)
        assert [directory_syncs(queue) for _ in range(3)] == [0, 0, 0]


def test_one_that_we_make_ourselves(queue, wal):
    assert directory_syncs(queue) >= 1 and is_marked(wal)  # SQLite does it once more
    assert directory_syncs(queue) == 0


def test_one_that_appears_as_we_open_it(queue, wal):
    """Missing at SQLite's first try, there at its second, for reading only: opened again."""
    with queue.reading():
        submit(queue, "-P", wal, "-e", "trace=openat,open", "-e",
               "inject=openat,open:error=ENOENT:when=1")
    assert queue.states() == {"queued": 2}
