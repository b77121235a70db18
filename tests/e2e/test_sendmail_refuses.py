"""What sendmail refuses: nothing is left behind, with the exit code and the words that the manual page
promises; and what it takes all the same."""

import os
import sqlite3
import subprocess

import pytest
from submitter import CONFIG, DATAERR, NOUSER, SENDMAIL, USAGE, Queue, accepted, refused


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path)


@pytest.mark.parametrize("args, data, code, words", [
    ([], b"\nz\n", USAGE, "no recipient"),
    (["-t"], b"Subject: s\n\nTo: x@y\n", DATAERR, "no recipient"),
    (["-t"], b"To: undisclosed-recipients:;\n\nz\n", DATAERR, "no recipient"),
    (["-t"], b"To: x@y\nCc: what is this\n\nz\n", DATAERR, "Cc: "),
    (["-t"], b"To: x@y, <a@b\n\nz\n", DATAERR, "To: "),
    (["-t"], b"To: x@y.\n\nz\n", DATAERR, "To: "),
    (["a@b@c"], b"\nz\n", DATAERR, "recipient 1"),
    (["x@y", "<>"], b"\nz\n", DATAERR, "recipient 2"),
    (["$(id)@a"], b"\nz\n", DATAERR, "recipient 1"),
    (["-f", "a b", "x@y"], b"\nz\n", DATAERR, "sender"),
    (["-F", "x\ny", "x@y"], b"\nz\n", DATAERR, "-F"),
    (["--nonsense", "x@y"], b"\nz\n", USAGE, "--help"),
    (["-k", "x@y"], b"\nz\n", USAGE, "-k"),
    (["x@y", "-t"], b"\nz\n", USAGE, "before recipients"),
    (["-N", "often", "x@y"], b"\nz\n", USAGE, "-N"),
])
def test_refusals(queue, args, data, code, words):
    refused(queue.run(*args, data=data), code, words)
    queue.assert_empty()


def test_bare_name_that_leads_nowhere(tmp_path):
    queue = Queue(tmp_path, domain=None)
    refused(queue.run("nobody-here", data=b"\nz\n"), NOUSER, "nobody-here: no such local name")
    refused(queue.run("-t", data=b"To: x@y, nobody-here\n\nz\n"), NOUSER, "nobody-here")
    queue.assert_empty()


def test_system_accounts_go_to_postmaster(tmp_path):
    queue = Queue(tmp_path, domain=None, postmaster="pm@x")
    accepted(queue.run("root", "daemon", data=b"\nz\n"))
    assert queue.recipients() == ["pm@x"]


@pytest.mark.parametrize("mode", ["-bd", "-bD", "-bh", "-bH", "-bt", "-bz", "-ba",
                                  "-q15m", "-qp", "-qIabc", "-qGx", "-Qx"])
def test_other_modes_do_not_read_mail(queue, mode):
    """Standard input stays open: a program that read it to its end would not end."""
    r, w = os.pipe()
    try:
        os.write(w, b"To: x@y\n\nz\n")
        done = subprocess.run([SENDMAIL, mode, "x@y"], stdin=r, env=queue.env(),
                              capture_output=True, timeout=20)
        refused(done, USAGE, mode[:2])
        assert os.read(r, 100) == b"To: x@y\n\nz\n"
    finally:
        os.close(r)
        os.close(w)
    queue.assert_empty()


def kept_beside(queue, count):
    """Accepted without the database, by the second way in; test_incoming.py has the rest."""
    accepted(queue.run("x@y", data=b"\nz\n"))
    assert len(queue.incoming()) == count


def test_missing_empty_and_foreign_databases(queue):
    os.rename(queue.db, queue.db + ".kept")
    kept_beside(queue, 1)
    assert not os.path.exists(queue.db)
    open(queue.db, "w").close()
    kept_beside(queue, 2)
    assert os.path.getsize(queue.db) == 0
    os.unlink(queue.db)
    other = sqlite3.connect(queue.db)
    other.execute("pragma journal_mode=wal")
    other.execute("create table message(id)")
    other.commit()
    other.close()
    kept_beside(queue, 3)
    with open(queue.db, "wb") as f:
        f.write(b"not a database\n" * 1000)
    kept_beside(queue, 4)


@pytest.mark.parametrize("text, words", [
    ("hostname a\nnonsense 1\n", "cenmail.conf:2"),
    ("message_size many\n", "cenmail.conf:1"),
    ("domain a\ndomain b\n", "cenmail.conf:2"),
])
def test_wrong_configuration(queue, text, words):
    with open(queue.conf, "w") as f:
        f.write(text)
    refused(queue.run("x@y", data=b"\nz\n"), CONFIG, words)
    queue.assert_empty()


@pytest.mark.parametrize("conf, args", [("nonsense 1\n", ["x@y"]), ("", ["-k", "x@y"])],
                         ids=["configuration", "usage"])
def test_what_ends_a_call_early_is_said_to_syslog(queue, conf, args):
    """Most callers show nobody what the program says, and here the log is not known yet."""
    with open(queue.conf, "a") as f:
        f.write(conf)
    env = queue.env() | {"ASAN_OPTIONS": "detect_leaks=0"}  # its leak check can't be traced
    done = subprocess.run(["strace", "-e", "trace=connect", SENDMAIL, *args], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode in (CONFIG, USAGE) and b'sun_path="/dev/log"' in done.stderr


def test_unreadable_configuration(queue):
    os.unlink(queue.conf)
    refused(queue.run("x@y", data=b"\nz\n"), CONFIG, queue.conf)
    os.mkdir(queue.conf)
    refused(queue.run("x@y", data=b"\nz\n"), CONFIG, queue.conf)


def test_aliases_file_that_can_not_be_read(queue):
    os.mkdir(queue.aliases)
    refused(queue.run("root", data=b"\nz\n"), CONFIG, "aliases")
    accepted(queue.run("x@y", data=b"\nz\n"))  # it is read only for bare names


def test_a_refused_caller_is_heard_to_the_end(queue):
    """No broken pipe for a program that writes its mail into us."""
    p = queue.start("-t")
    p.stdin.write(b"To: <\n\n" + (b"x" * 70 + b"\n") * 100000)
    p.stdin.close()
    words = p.stderr.read()
    assert p.wait(60) == DATAERR and b"To: " in words
    p.stderr.close()


def test_a_lone_dot_ends_without_the_end_of_input(queue):
    p = queue.start("x@y")
    p.stdin.write(b"\nz\n.\n")
    p.stdin.flush()
    assert p.wait(20) == 0, p.stderr.read()
    p.stdin.close()
    p.stderr.close()
