"""CASES.md, section A: the process that a caller starts sendmail in, with its descriptors, limits,
signals, arguments and environment. (By a second user, and as installed: test_privilege.py and
test_hostile_caller.py.)"""

import os
import re
import resource
import signal
import stat
import subprocess
import time

import pytest
from submitter import DATAERR, NOINPUT, OSERR, SENDMAIL, TEMPFAIL, USAGE, Queue, accepted, refused


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path)


@pytest.mark.parametrize("closed", range(8))  # A1, by bits
def test_closed_descriptors(queue, tmp_path, closed):
    (tmp_path / "mail").write_bytes(b"\nz\n")

    def close():
        for fd in range(3):
            if closed & 1 << fd:
                os.close(fd)
    with open(tmp_path / "mail") as mail:
        done = subprocess.run([SENDMAIL, "x@y"], stdin=mail, env=queue.env(), preexec_fn=close,
                              timeout=20, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if closed & 1:
        assert done.returncode == NOINPUT
        queue.assert_empty()
    else:
        assert done.returncode == 0
        assert queue.content().endswith(b"\r\n\r\nz\r\n")
    assert queue.query("pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize("what, value", [  # A2, A3
    ("NOFILE", 3), ("NOFILE", 4), ("NOFILE", 5), ("FSIZE", 0), ("FSIZE", 1), ("FSIZE", 4096)])
def test_small_limits(queue, what, value):
    number = getattr(resource, f"RLIMIT_{what}")
    done = queue.run("x@y", data=b"\n" + b"z" * 100000,
                     preexec_fn=lambda: resource.setrlimit(number, (value, value)))
    if done.returncode == 0:  # root may raise what was lowered; test_privilege.py has other users
        assert queue.recipients() == ["x@y"] or len(queue.incoming()) == 1
        return
    if not (what == "NOFILE" and done.returncode == 127):  # the dynamic loader's own refusal
        assert done.returncode in (OSERR, TEMPFAIL), done
    queue.assert_empty()
    accepted(queue.run("x@y", data=b"\nz\n"))


def test_inherited_alarm(queue):  # A4
    p = queue.start("x@y", preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, 0.3))
    time.sleep(0.6)  # past the alarm: there is no event to wait for in what must not happen
    p.stdin.write(b"\nz\n")
    p.stdin.close()
    assert p.wait(20) == 0, p.stderr.read()
    p.stderr.close()


def test_inherited_signal_mask(queue):  # A4
    p = queue.start("x@y", preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [15]))
    deadline = time.monotonic() + 20
    while "SigBlk:\t0000000000000000" not in open(f"/proc/{p.pid}/status").read():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    p.terminate()
    assert p.wait(20) == -signal.SIGTERM
    p.stdin.close()
    p.stderr.close()
    queue.assert_empty()


@pytest.mark.parametrize("args, code", [  # A5
    (["a" * 100000], DATAERR), (["-F", "a" * 100000, "x@y"], USAGE), (["x@y"] * 100000, USAGE)],
    ids=["recipient", "name", "many"])
def test_long_and_many_arguments(queue, args, code):
    refused(queue.run(*args, data=b"\nz\n"), code, "")
    queue.assert_empty()


@pytest.mark.parametrize("name", ["", "a" * 100000], ids=["empty", "long"])  # A5
def test_name_of_the_program(queue, name):
    refused(queue.run("x@y", data=b"\nz\n", name=name), USAGE, "name")
    queue.assert_empty()


def test_environment_is_not_believed(queue):  # A6
    env = queue.env(SQLITE_TMPDIR="/nonexistent", LOGNAME="evil", USER="evil", HOME="/x")
    done = subprocess.run([SENDMAIL, "x@y"], input=b"\nz\n", env=env, stderr=subprocess.PIPE,
                          timeout=20)
    accepted(done)
    assert "evil" not in queue.query("select sender from message")[0][0]


def test_options_that_named_files_open_none(queue, tmp_path):  # A7
    t = str(tmp_path / "target")
    for args in (["-C", t], ["-X", t], ["-X" + t], ["-oQ" + t], ["-oA" + t], ["-d" + t], ["-D", t],
                 ["-O", "QueueDirectory=" + t], ["-OLogFile=" + t]):
        accepted(queue.run(*args, "x@y", data=b"\nz\n"))
        assert not os.path.exists(t), args


@pytest.mark.parametrize("mask", [0o000, 0o777])  # A8
def test_umask_and_working_directory(queue, tmp_path, mask):
    gone = tmp_path / "gone"
    gone.mkdir()

    def enter():
        os.umask(mask)
        os.chdir(gone)
        os.rmdir(gone)
    spool = os.path.dirname(queue.db)
    before = {n: os.lstat(os.path.join(spool, n)).st_mode for n in os.listdir(spool)}
    accepted(queue.run("x@y", data=b"\n" + b"z" * 400000, preexec_fn=enter))
    for name in os.listdir(spool):
        mode = os.lstat(os.path.join(spool, name)).st_mode
        assert stat.S_IMODE(mode) & 0o077 == 0, name
        # The WAL is marked by its sticky bit.
        assert before.get(name, mode) & ~stat.S_ISVTX == mode & ~stat.S_ISVTX, name


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give the queue to somebody else")
def test_root_becomes_the_owner_of_the_queue(queue):
    """Files that root left in the queue would lock its owner out."""
    spool = os.path.dirname(queue.db)
    for path, _, files in os.walk(spool):
        for name in [path] + [os.path.join(path, f) for f in files]:
            os.chown(name, 65534, 65534)
    parent = queue.path
    while parent != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o111)
        parent = os.path.dirname(parent)
    os.remove(queue.db + "-wal")
    accepted(queue.run("x@y", data=b"\n" + b"z" * 400000))
    assert os.stat(queue.db + "-wal").st_uid == 65534
    (uid,), = queue.query("select uid from message")
    assert uid == 0


def test_no_openssl_in_sendmail():
    """It would cost most of the start, and stand in a set-user-ID program."""
    needed = subprocess.run(["ldd", SENDMAIL], capture_output=True, text=True, check=True).stdout
    assert "libsqlite3" in needed or "statically linked" in needed
    for library in "libssl", "libcrypto", "libsasl2", "libpam":
        assert library not in needed
    symbols = subprocess.run(["nm", SENDMAIL], capture_output=True, text=True).stdout
    assert "sqlite3_open_v2" in symbols
    assert not re.search(r"\b(SSL|EVP|SHA256|HMAC|sasl)_", symbols)
