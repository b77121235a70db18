"""What a message is sent as: senders rewritten in envelope and header, fields added, and what the
next hop is told about it (SIZE, BODY, DSN)."""

import os
import re

import pytest
from harness import wait_for
from peers import Peer, accepts, free_port

UNVERIFIED = "root@host.local"
MAIL = ("From: \"Cron, Daemon\" (root@host.local)\n <root@host.local>\nSender: root@host.local\n"
        "To: ops@example.net, root@host.local\nSubject: =?utf-8?Q?root=40host.local?=\n"
        "X-From: root@host.local\n\nFrom: root@host.local\n.\n上海\n").encode()


def submit(queue, mail=MAIL, *more):
    done = queue.sendmail("-i", "-f", UNVERIFIED, *more, "a@example.net", stdin=mail)
    assert done.returncode == 0, done.stderr.decode()


def as_sent(stored):
    """What MAIL becomes, written down by hand."""
    return stored.replace(b" <root@host.local>\r\n", b" <noreply@example.com>\r\n") \
        .replace(b"\r\nSender: root@host.local\r\n", b"\r\nSender: noreply@example.com\r\n")


@pytest.mark.parametrize("by_listener", [False, True], ids=["to SES", "through the listener"])
def test_a_correction_frees_what_is_queued(road, ses, queue, by_listener):
    """SES refuses the sender; the configuration is corrected, the recipient released by SQL: it
    arrives with both rewritten, and every other octet as it was."""
    options = {"unverified": ["*@host.local"]}
    if by_listener:
        far = road(ses_options=options).ses
    else:
        far = ses(**options)
        queue.relay(far.url)
    submit(queue)
    assert queue.flush().held == 1
    held, = queue.mailq
    assert held["state"] == "held" and UNVERIFIED in held["last_reply"]
    stored, = queue.contents().values()
    queue.write(rewrite_sender=["root@* noreply@example.com", "* never@example.com"])
    assert queue.flush().recipients == 0, "what is held stays so until it is released"
    queue.sql("update recipient set state='queued' where state='held'")
    done = queue.flush()
    assert done.sent == 1 and "warning" not in done.log, done.log
    message, = far.messages
    assert message["sender"] == "noreply@example.com"
    content = far.content(message)
    expected = as_sent(stored)
    assert expected != stored and content.endswith(expected)
    assert by_listener or content == expected
    assert queue.delivered[0]["ses_id"] == message["id"]


def test_reply_to_keeps_what_from_was(queue, ses):
    far = ses()
    queue.relay(far.url)
    queue.write(rewrite_sender="root@* noreply@example.com", rewrite_reply_to="yes",
                header=["X-SES-CONFIGURATION-SET shanghai", "X-Note  a  b"])
    submit(queue)
    stored, = queue.contents().values()
    assert queue.flush().sent == 1
    message, = far.messages
    kept = b"Reply-To: \"Cron, Daemon\" (root@host.local)\r\n <root@host.local>\r\n"
    assert far.content(message) == b"X-SES-CONFIGURATION-SET: shanghai\r\nX-Note: a  b\r\n" + \
        as_sent(stored).replace(b"Sender:", kept + b"Sender:", 1)


def test_a_field_that_cant_be_read_is_sent_as_it_is(queue, ses):
    far = ses()
    queue.relay(far.url)
    queue.write(rewrite_sender="root@* noreply@example.com")
    submit(queue, MAIL.replace(b"(root@host.local)", b"(root@host.local"))
    stored, = queue.contents().values()
    done = queue.flush()
    assert done.sent == 1
    assert "0000000001: warning: From is sent as it is: a comment that does not end at" in done.log
    message, = far.messages
    assert message["sender"] == "noreply@example.com"
    assert far.content(message) == stored.replace(b"\r\nSender: root@host.local",
                                                  b"\r\nSender: noreply@example.com")


@pytest.fixture
def sink(spawn, tmp_path):
    """sink(*flags): Postfix's smtp-sink; its port, and a call that gives its record."""
    directory = tmp_path / "sink"  # it gives up root, and then reaches its directory as `.` alone
    directory.mkdir()
    directory.chmod(0o777)

    def start(*flags):
        postfix, port = Peer("postfix"), free_port()
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        program = spawn("smtp-sink", [postfix.program("usr/sbin/smtp-sink"), *user, *flags, "-D",
                                      "dump", f"127.0.0.1:{port}", "10"], env=postfix.env,
                        cwd=directory)
        wait_for(lambda: accepts(port) or program.process.poll() is not None, what="smtp-sink")
        return port, lambda: (directory / "dump").read_bytes()

    return start


DSN = ["-N", "success,delay", "-R", "hdrs", "-V", "QQ+3D314159"]


@pytest.mark.parametrize("flags, mail, rcpt", [
    ([], b" RET=HDRS ENVID=QQ+3D314159", b" NOTIFY=SUCCESS,DELAY"),
    (["-N"], b"", b""),
], ids=["offered", "not offered"])
def test_dsn(queue, sink, flags, mail, rcpt):
    """RFC 3461: passed on where the next hop offers it, left out where it does not."""
    port, record = sink(*flags)
    queue.relay(f"smtp://127.0.0.1:{port}")
    submit(queue, MAIL, *DSN)
    assert queue.flush().sent == 1
    text = record()
    assert re.search(rb"^X-Mail-Args: <root@host.local>(.*)$", text, re.M)[1] \
        .replace(b" BODY=8BITMIME", b"") == mail
    assert re.search(rb"^X-Rcpt-Args: <a@example.net>(.*)$", text, re.M)[1] == rcpt


def test_dsn_is_left_out_to_the_listener(road):
    way = road()
    submit(way.queue, MAIL, *DSN)
    assert way.queue.flush().sent == 1
