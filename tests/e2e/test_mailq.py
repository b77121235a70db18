"""What sendmail prints: the listing of the queue, the help, the version."""

import os
import re
import sqlite3
import subprocess

import pytest
from submitter import IOERR, SENDMAIL, Queue, accepted, refused


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path)


def test_mailq(queue):
    assert accepted(queue.run(name="mailq")).stdout == b"Mail queue is empty\n"
    accepted(queue.run("-f", "a@b", "x@y", "z@y", data=b"\nz\n"))
    accepted(queue.run("-f", "<>", "x@y", data=b"\nz\n"))
    for listing in accepted(queue.run(name="/usr/bin/mailq")), accepted(queue.run("-bp")):
        lines = listing.stdout.decode().splitlines()
        assert lines[0] == "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------"
        assert re.fullmatch(r"0000000001 +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d +a@b", lines[1])
        assert [line.strip() for line in lines[2:5]] == ["x@y", "z@y", ""]
        assert lines[5].endswith(" MAILER-DAEMON")
        assert lines[-1] == "-- 1 Kbytes in 2 Requests."


def test_mailq_marks_each_recipient_that_is_held(queue):
    accepted(queue.run("-f", "a@b", "first@y", "second@y", data=b"\nz\n"))
    for held in "first@y", "second@y":
        db = sqlite3.connect(queue.db)
        db.execute("update recipient set state='queued'")
        db.execute("update recipient set state='held' where address=?", [held])
        db.commit()
        db.close()
        lines = accepted(queue.run("-bp")).stdout.decode().splitlines()
        assert [line.split() for line in lines if line.endswith("@y")] == [
            ["!", a] if a == held else [a] for a in ("first@y", "second@y")]


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["-bp"]])
def test_output_that_can_not_be_written(queue, args):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([SENDMAIL, *args], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, env=queue.env(), timeout=20)
    refused(done, IOERR, "can't be written")


def test_help_and_version_need_no_configuration():
    env = dict(os.environ, CENMAIL_CONF="/nonexistent")
    for flag in "--help", "--version":
        done = subprocess.run([SENDMAIL, flag], stdin=subprocess.DEVNULL, capture_output=True,
                              env=env, timeout=20)
        assert done.returncode == 0 and done.stdout and not done.stderr
