"""The submission program, end to end: the real binary on a real queue. What is stored has to be the
input, normalised once, octet for octet (CASES.md, B)."""

import os
import pwd
import re
import threading
import time

import pytest
from submitter import DATAERR, WHOLE, Queue, accepted, refused


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path)


@pytest.mark.parametrize("args, data, want", [
    # B7: line ends, dots, no final newline, NUL
    (["x@y"], b"\n\n.\nrest", b"\r\n\r\n"),
    (["-i", "x@y"], b"\n.\n..\n\n.\nrest", b"\r\n.\r\n..\r\n\r\n.\r\nrest\r\n"),
    (["-oi", "x@y"], b"\n\r\n.\r\nz", b"\r\n\r\n.\r\nz\r\n"),
    (["-O", "IgnoreDots=True", "x@y"], b"\n.\n", b"\r\n.\r\n"),
    (["x@y"], b"\n10%\r20%\r\n\0\0z\0", b"\r\n10%\r\n20%\r\nz\r\n"),
    (["x@y"], b"\nno end", b"\r\nno end\r\n"),
    (["x@y"], b"\n" + bytes(range(128, 256)) + b"\n", b"\r\n" + bytes(range(128, 256)) + b"\r\n"),
    (["x@y"], "\n東京、上海\n".encode(), "\r\n東京、上海\r\n".encode()),
    (["x@y"], "\n東京、上海\n".encode("gb18030"), "\r\n東京、上海\r\n".encode("gb18030")),
    # lines over the limit: broken in the body, folded in the header
    (["x@y"], b"\n" + b"a" * 998 + b"\n", b"\r\n" + b"a" * 998 + b"\r\n"),
    (["x@y"], b"\n" + b"a" * 999 + b"\n", b"\r\n" + b"a" * 998 + b"\r\n a\r\n"),
    (["x@y"], b"X: " + b"a" * 900 + b" " + b"b" * 900 + b"\n\n",
     b"X: " + b"a" * 900 + b"\r\n " + b"b" * 900 + b"\r\n\r\n"),
    # fields
    (["x@y"], b"", b"\r\n"),
    (["x@y"], b"Subject: =?utf-8?Q?a,b?=\nX: \xe5\xb1\xb1\n\nz\n",
     b"Subject: =?utf-8?Q?a,b?=\r\nX: \xe5\xb1\xb1\r\n\r\nz\r\n"),
    (["x@y"], b"To: root (Cron Daemon)\n\n", b"To: root@example.com (Cron Daemon)\r\n\r\n"),
    (["x@y"], b"Return-Path: <a@b>\n\n", b"\r\n"),
    (["x@y"], b"Subject: s\nno field\n\nz\n", b"Subject: s\r\n\r\nno field\r\n\r\nz\r\n"),
])
def test_content(queue, args, data, want):
    accepted(queue.run(*args, data=WHOLE.replace(b"\r\n", b"\n") + data))
    assert queue.content() == WHOLE + want


@pytest.mark.parametrize("line", [b"From a@b Tue Nov 24 04:14:10 2026\n", b">From a@b\n"])  # B8
def test_mailbox_line_is_dropped(queue, line):
    accepted(queue.run("x@y", data=line + WHOLE + b"\r\nz"))
    assert queue.content() == WHOLE + b"\r\nz\r\n"


@pytest.mark.parametrize("data", [  # B3
    b"Bcc: hidden@x\n\nz\n", b"bCC: hidden@x\n\nz\n", b"Bcc : hidden@x\n\nz\n",
    b"Bcc:\n hidden@x\n\nz\n", b"Bcc: other@x,\n\t(hidden@x)\n hidden@x\n\nz\n",
    b"Resent-Bcc: hidden@x\n\nz\n", b"Bcc: hidden@x\nX: y\nBCC: third@x\n\nz\n",
    b"Resent-Bcc: third@x\nBcc: hidden@x\n\nz\n", b"Bcc: hidden@x", b"Bcc:hidden@x\r\n\r\n",
    b"Bcc: g: hidden@x, other@x;\n\nz\n", b"X: y\rBcc: hidden@x\r\rz",
])
def test_bcc_is_a_recipient_and_never_stored(queue, data):
    accepted(queue.run("-t", data=b"To: to@x\n" + data))
    assert {"to@x", "hidden@x"} <= set(queue.recipients())
    for name in "third", "other":
        assert (name.encode() in data) == (f"{name}@x" in queue.recipients())
    content = queue.content().lower()
    # As a field's name: the letters may stand in the hexadecimal of a Message-ID.
    assert not re.search(rb"(?m)^(resent-)?bcc[ \t]*:", content)
    for trace in b"hidden", b"third", b"other":
        assert trace not in content


def test_bcc_with_recipients_as_arguments(queue):
    accepted(queue.run("x@y", data=b"Bcc: hidden@x\n\nz\n"))
    assert queue.recipients() == ["x@y"]
    assert b"hidden" not in queue.content()


def test_recipients_of_a_resent_message(queue):
    accepted(queue.run("-t", data=b"Resent-To: new@x\nResent-From: me@x\nTo: old@x\n"
                                  b"Cc: old2@x\n\nz\n"))
    assert queue.recipients() == ["new@x"]


def test_recipients_are_collected_qualified_and_merged(queue):
    accepted(queue.run("-t", "arg@x", "bare", data=b"To: A <a@x>, \"B, C\" <b@x>,\n"
                       b" =?utf-8?B?5bGx?= <c@x>\nCc: team: d@x, A@x, a@X;, arg@x\n\nz\n"))
    assert queue.recipients() == ["arg@x", "bare@example.com", "a@x", "b@x", "c@x", "d@x", "A@x"]


@pytest.mark.parametrize("address", [  # B2
    '"x\' UNION SELECT--"@a', "%n%n%s@a", '"$(id)"@a', '"a b"@a', '"a\\"b"@a', "`id`@a", "'@a",
    "a@[192.0.2.1]", "a!b%c@d",
])
def test_odd_addresses_are_kept_octet_for_octet(queue, address):
    accepted(queue.run("-f", address, "--", address, data=b"\nz\n"))
    accepted(queue.run("-f", address, "-t", data=b"To: " + address.encode() + b"\n\nz\n"))
    assert queue.recipients() == [address, address]
    assert queue.query("select distinct sender from message") == [(address,)]


@pytest.mark.parametrize("octets", [bytes([c]) for c in (0, 1, 9, 10, 13, 127, 128, 255)] +
                         [b"\r\n", b"\n ", "é".encode()])  # B1
def test_octets_that_no_address_may_hold(queue, octets):
    address = b"us" + octets + b"er@example.net"
    if b"\0" not in octets:
        refused(queue.run("-f", address, "x@y", data=b"\nz\n"), DATAERR, "sender")
        refused(queue.run(address, data=b"\nz\n"), DATAERR, "recipient 1")
    refused(queue.run("-t", data=b"To: " + address + b"\n\nz\n"), DATAERR, "")
    queue.assert_empty()


def test_fields_that_are_missing_are_added(queue):
    accepted(queue.run("-F", "Mr. X", "-f", "x@y", "to@z", data=b"Subject: s\n\nz\n"))
    assert re.fullmatch(
        rb'Subject: s\r\nMessage-ID: <[0-9]+\.[0-9a-f]{24}@shanghai\.example\.cn>\r\n'
        rb'Date: \w{3}, +\d+ \w{3} \d{4} [0-9:]{8} [+-]\d{4}\r\n'
        rb'From: "Mr\. X" <x@y>\r\n\r\nz\r\n', queue.content())
    (message_id,), = queue.query("select message_id from message")
    assert message_id.encode() in queue.content()


def test_sender(queue):
    login = pwd.getpwuid(os.getuid()).pw_name
    for args in [], ["-f", "bare"], ["-r", "a@b"], ["-f", ""], ["-f<>"], ["-f", "X <c@d>"]:
        accepted(queue.run(*args, "x@y", data=b"\nz\n"))
    assert [s for s, in queue.query("select sender from message order by id")] == [
        f"{login}@example.com", "bare@example.com", "a@b", "", "", "c@d"]


def test_aliases(queue):
    with open(queue.aliases, "w") as f:
        f.write("root: ops, admin@x\nops: a@x,\n  b@x, |/bin/cat\n")
    done = accepted(queue.run("root", data=b"\nz\n"))
    assert queue.recipients() == ["a@x", "b@x", "admin@x"]
    assert b"alias ops: a program is not used here" in done.stderr
    accepted(queue.run("-n", "root", data=b"\nz\n"))
    assert queue.recipients()[3:] == ["root@example.com"]


def test_newaliases(queue):
    accepted(queue.run(name="newaliases"))  # no file: no alias, nothing wrong
    with open(queue.aliases, "w") as f:
        f.write("root: a@b\nwrong\n")
    refused(queue.run(name="newaliases"), DATAERR, f"{queue.aliases}:2: ")
    with open(queue.aliases, "w") as f:
        f.write("root: a@b\n")
    accepted(queue.run("-bi"))


def test_dsn_and_8bit_are_stored(queue):
    accepted(queue.run("-N", "failure,success", "-R", "hdrs", "-V", "id+2B", "x@y", "z@y",
                       data="\né\n".encode()))
    assert queue.query("select ret, envid, eightbit from message") == [("HDRS", "id+2B", 1)]
    assert queue.query("select notify from recipient") == [("SUCCESS,FAILURE",)] * 2
    accepted(queue.run("x@y", data=b"\nz\n"))
    assert queue.query("select eightbit from message where id=2") == [(0,)]


def test_log_lines_of_postfix(queue):
    done = accepted(queue.run("-f", "a@b", "x@y", "z@y", data=WHOLE + b"\r\nz\n"))
    (size,), = queue.query("select size from message")
    assert re.sub(rb"\[\d+\]", b"", done.stderr).decode() == (
        f"cenmail/pickup: 0000000001: uid={os.getuid()} from=<a@b>\n"
        "cenmail/cleanup: 0000000001: message-id=<1@b>\n"
        f"cenmail/qmgr: 0000000001: from=<a@b>, size={size}, nrcpt=2 (queue active)\n")


def test_dropped_nuls_are_logged(queue):
    assert b"2 NUL octets dropped" in accepted(queue.run("x@y", data=b"\na\0b\0\n")).stderr


# --- limits ---

@pytest.mark.parametrize("over", [-1, 0, 1])  # B9
@pytest.mark.parametrize("limit, end", [(1024, b"\n"), (1024, b"\r\n"), (1024 * 1024, b"\n")])
def test_size_limit_is_exact(tmp_path, limit, end, over):
    queue = Queue(tmp_path, message_size=limit)
    body = b"a" * (limit + over - len(b"To: x@y\r\n\r\n") - 2)
    done = queue.run("-t", data=b"To: x@y" + end + end + body + end)
    if over > 0:
        refused(done, DATAERR, f"over {limit} octets")
        queue.assert_empty()
    else:
        accepted(done)


@pytest.mark.parametrize("data, words", [  # B5, B8
    (b"X: " + b"a" * 1048576 + b"\n\nz\n", "header is over 1048576 octets"),
    (b"X: y\n" * 300000 + b"\nz\n", "header is over 1048576 octets"),
    (b"Received: z\n" * 100 + b"\nz\n", "loop"),
    (b"Cc: " + b",".join(b"a%d@b" % i for i in range(1000)) + b"\n\nz\n", "1000 recipients"),
], ids=["long field", "many fields", "loop", "recipients"])
def test_limits_are_named(queue, data, words):
    refused(queue.run("-t", data=b"To: x@y\n" + data), DATAERR, words)
    queue.assert_empty()


@pytest.mark.parametrize("data", [
    b"X: y\n" * 100000 + b"\nz\n",
    b"Received: z\n" * 40 + b"\nz\n",
    b"Cc: " + b",".join(b"a%d@b" % i for i in range(999)) + b"\n\nz\n",
    b"Subject: " + b"a" * 1000000 + b"\n\nz\n",
    b"",
], ids=["many fields", "hops", "recipients", "long field", "header only"])
def test_what_is_large_or_small_but_lawful_is_taken(queue, data):
    accepted(queue.run("-t", data=b"To: x@y\n" + data))


@pytest.mark.parametrize("data", [b" To: x@y\n\nz\n", b"", b"\n", b"."])
def test_no_header_under_t(queue, data):
    refused(queue.run("-t", data=data), DATAERR, "no recipient")
    queue.assert_empty()


def test_a_large_message_is_stored_whole(queue):
    line = b"0123456789abcdef" * 4 + b"\n"
    body = line * (25 * 1024 * 1024 // len(line))
    accepted(queue.run("x@y", data=WHOLE + b"\r\n" + body))
    assert queue.content() == WHOLE + b"\r\n" + body.replace(b"\n", b"\r\n")


# --- callers at once ---

def test_eight_callers_a_thousand_messages(queue):
    """Every one is there, once; none waited for seconds."""
    slowest = [0.0] * 8
    failed = []

    def caller(k):
        for i in range(125):
            start = time.monotonic()
            done = queue.run("-t", "-i", "-f", f"c{k}@x",
                             data=b"To: to-%d-%d@x\n\n" % (k, i) + b"body\n" * (k * 100))
            slowest[k] = max(slowest[k], time.monotonic() - start)
            if done.returncode != 0:
                failed.append(done)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    want = {(f"to-{k}-{i}@x", f"c{k}@x", b"body\r\n" * (k * 100))
            for k in range(8) for i in range(125)}
    got = queue.query("select r.address, m.sender, c.data from recipient r"
                      " join message m on m.id=r.message join content c on c.message=m.id")
    assert len(got) == 1000
    assert {(a, s, d[d.index(b"\r\n\r\n") + 4:]) for a, s, d in got} == want
    assert queue.query("pragma integrity_check") == [("ok",)]
    assert max(slowest) < 5
