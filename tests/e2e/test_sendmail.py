"""The submission program, end to end: the real binary on a real queue.

What is stored has to be the input, normalised once, octet for octet; what is refused has to leave
nothing behind, with the exit code and the words that the design and CASES.md (A, B) promise.
"""

import os
import pwd
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import threading
import time

import pytest

BUILD = os.path.abspath(os.environ.get("CENMAIL_BUILD", "build"))
SENDMAIL = os.path.join(BUILD, "sendmail")
FLUSH = os.path.join(BUILD, "cenmail-flush")

USAGE, DATAERR, NOINPUT, NOUSER, OSERR, IOERR, TEMPFAIL, CONFIG = 64, 65, 66, 67, 71, 74, 75, 78
WHOLE = b"From: a@b\r\nDate: x\r\nMessage-ID: <1@b>\r\n"  # with these, no field is missing
RECEIVED = re.compile(
    rb"\AReceived: by shanghai\.example\.cn \(cenmail, from userid (\d+)\)\r\n"
    rb"\tid [0-9a-f]{32}; \w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n")


class Queue:
    """A queue in a directory of its own, and callers of sendmail on it."""

    def __init__(self, path, **keys):
        self.path = str(path)
        self.db = os.path.join(self.path, "spool", "queue.db")
        self.conf = os.path.join(self.path, "cenmail.conf")
        self.aliases = os.path.join(self.path, "aliases")
        os.mkdir(os.path.dirname(self.db), 0o700)
        have = {"queue": self.db, "relay": "lmtp://127.0.0.1:3535",
                "hostname": "shanghai.example.cn", "domain": "example.com",
                "aliases": self.aliases, "log": "stderr"}
        have.update(keys)
        with open(self.conf, "w") as f:
            f.writelines(f"{k} {v}\n" for k, v in have.items() if v is not None)
        done = subprocess.run([FLUSH, "--init"], env=self.env(), capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def env(self, **more):
        return dict(os.environ, CENMAIL_CONF=self.conf, **more)

    def incoming(self):
        return os.listdir(os.path.join(self.path, "spool", "incoming"))

    def run(self, *args, data=b"", name=SENDMAIL, **more):
        return subprocess.run([name, *args], executable=SENDMAIL, input=data, env=self.env(),
                              capture_output=True, timeout=60, **more)

    def start(self, *args, **more):
        return subprocess.Popen([SENDMAIL, *args], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.env(), **more)

    def query(self, sql):
        db = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def recipients(self):
        return [r[0] for r in self.query("select address from recipient order by id")]

    def content(self):
        """The only message, without the Received field that it must begin with."""
        (data,), = self.query("select data from content")
        found = RECEIVED.match(data)
        assert found, data[:300]
        assert int(found[1]) == os.getuid()
        return data[found.end():]

    def assert_empty(self):
        for table in "message", "content", "recipient":
            assert self.query(f"select count(*) from {table}") == [(0,)], table


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path)


def accepted(done):
    assert done.returncode == 0, done.stderr
    return done


def refused(done, code, words):
    assert done.returncode == code, done.stderr
    assert b"sendmail: " in done.stderr, done.stderr
    assert words.encode() in done.stderr, done.stderr


# --- what is stored -------------------------------------------------------------------------

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


# --- limits ---------------------------------------------------------------------------------

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


# --- what is refused ------------------------------------------------------------------------

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


# --- the caller's process (A) ---------------------------------------------------------------

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
        assert before.get(name, mode) == mode, name


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


# --- callers at once, and the listing -------------------------------------------------------

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
