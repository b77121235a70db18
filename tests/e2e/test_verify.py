"""`sendmail -bv`: what would become of a message, without storing or sending any."""

import os
import subprocess

import pytest

from harness import build_dir

USAGE, DATAERR, NOUSER, CONFIG = 64, 65, 67, 78
RELAY = "lmtps://127.0.0.1:3535"
SECRET = "/etc/cenmail/relay.secret"
ONCE = ["Subject", "DATE", "Message-Id", "from", "Sender", "MIME-Version", "Content-Type", "content-id",
        "DKIM-Signature", "Reply-To", "References", "User-Agent"]


@pytest.fixture
def host(queue):
    queue.relay(f"{RELAY} pin=sha256:{'0' * 64} secret={SECRET}")
    queue.write(domain="example.com", postmaster="pm@example.com",
                route=["*@qq.com smtps://smtpdm.example.cn secret=/etc/cenmail/dm.secret",
                       "*@*.example.net smtp://mx.example.net"])
    (queue.directory / "aliases").write_text("ops: a@x, b@qq.com, |/bin/cat\nroot: ops\nloop: loop2\n"
                                             "loop2: loop\n")
    yield queue
    assert queue.sql("select * from message") == []


def show(host, *args, stdin=b"", code=0):
    done = host.sendmail("-bv", "-f", "me@example.com", *args, stdin=stdin)
    out = done.stdout.decode()
    assert done.returncode == code, out + done.stderr.decode()
    assert "secret" not in out and "pin=" not in out and b"fatal" not in done.stderr
    return out.splitlines()


def way(given, user, mailer="relay", relay=RELAY):
    return f"{given}... deliverable: mailer {mailer}, host {relay}, user {user}"


SENDER = "me@example.com... sender"


def test_the_way_of_each_recipient(host):
    assert show(host, "x@y", "bare", "B@QQ.com", "z@a.example.net", "daemon", "X <q@y>", "\\root") == [
        SENDER, way("x@y", "x@y"), way("bare", "bare@example.com"),
        way("B@QQ.com", "B@QQ.com", "route *@qq.com", "smtps://smtpdm.example.cn:465"),
        way("z@a.example.net", "z@a.example.net", "route *@*.example.net", "smtp://mx.example.net:25"),
        way("daemon", "pm@example.com"), way("q@y", "q@y"), "\\root... adds nobody: named before"]


def test_aliases_are_expanded(host):
    lines = show(host, "root")
    assert lines[:3] == [SENDER, way("root", "a@x"),
                         way("root", "b@qq.com", "route *@qq.com", "smtps://smtpdm.example.cn:465")]
    assert "a program is not used here" in lines[3]
    assert way("root", "pm@example.com") in show(host, "-n", "root")


def test_relays_in_their_order(host):
    host.relay(RELAY, "lmtp://127.0.0.2:24")
    assert show(host, "x@y")[1].endswith(f"host {RELAY} or lmtp://127.0.0.2:24, user x@y")
    host.relay()
    assert "no relay is configured" in "".join(show(host, "x@y", code=CONFIG))


def test_arguments_are_all_it_reads_without_t(host):
    """Standard input stays open: who read it would not end."""
    r, w = os.pipe()
    try:
        os.write(w, b"To: x@y\n\nz\n")
        done = subprocess.run([build_dir() / "sendmail", "-bv", "x@y"], stdin=r, env=host.env,
                              capture_output=True, timeout=20)
        assert done.returncode == 0, done.stderr
        assert os.read(r, 100) == b"To: x@y\n\nz\n"
    finally:
        os.close(r)
        os.close(w)


@pytest.mark.parametrize("recipient, code, words", [
    ("a@b@c", DATAERR, "a@b@c... "), ("<>", DATAERR, "no recipient"), ("a b@c", DATAERR, "two without"),
    ("x@y\nz", DATAERR, "line end"), ("us\udc80er@y", DATAERR, "us?er@y... "), ("<a@b", DATAERR, "<")])
def test_what_is_refused_does_not_hide_the_rest(host, recipient, code, words):
    lines = show(host, "first@y", recipient, "last@y", code=code)
    assert lines[0] == SENDER and lines[1] == way("first@y", "first@y") and lines[-1] == way("last@y", "last@y")
    assert words in lines[2] and len(lines) == 4


def test_exit_codes(host):
    host.write(domain=None, postmaster=None)
    assert "no such local name" in "".join(show(host, "nobody-here", code=NOUSER))
    show(host, "nobody-here", "a@b@c", code=DATAERR)
    show(host, "a@b@c", "nobody-here", code=DATAERR)
    show(host, code=USAGE)
    host.write(recipients_max="2")
    assert "more than 2 recipients" in "".join(show(host, "a@y", "b@y", "c@y", code=DATAERR))


def test_senders_that_are_rewritten_and_that_ses_would_refuse(host):
    host.write(rewrite_sender=["root@* noreply@example.com", "*@bad.example out@elsewhere.example"],
               verified=["*@example.com", "one@example.org"])

    def sender(given, code):
        done = host.sendmail("-bv", "-f", given, "x@y")
        assert done.returncode == code, done
        return done.stdout.decode().splitlines()[:-1]
    assert sender("a@example.com", 0) == ["a@example.com... sender"]
    assert sender("ONE@example.org", 0) == ["ONE@example.org... sender"]
    assert sender("root@here", 0) == ["root@here... sender, sent as noreply@example.com"]
    lines = sender("x@bad.example", DATAERR)
    assert lines[0] == "x@bad.example... sender, sent as out@elsewhere.example"
    assert lines[1].startswith("out@elsewhere.example... SES would refuse it")
    assert sender("two@example.org", DATAERR)[1].startswith("two@example.org... SES would refuse it")
    assert sender("<>", DATAERR) == ["<>... sender", "<>... SES refuses the null sender"]
    assert sender("a b", DATAERR)[0].startswith("a b... the sender (-f): ")
    host.write(verified=None, rewrite_sender="* out@example.com")
    assert sender("<>", 0) == ["<>... sender"]  # as when it is sent
    host.write(rewrite_sender=None)
    assert sender("two@example.org", 0) == ["two@example.org... sender"]


def test_verified_is_checked(host):
    host.write(verified="example.com")
    done = host.sendmail("-bv", "x@y")
    assert done.returncode == CONFIG and b"*@example.com for a domain" in done.stderr


WHOLE = "From: me@example.com\nTo: x@y, root\nBcc: hidden@y\nSubject: s\n\nz\n"


def test_a_message_that_would_go(host):
    lines = show(host, "-t", "arg@y", stdin=WHOLE)
    assert lines[:4] == [SENDER, way("arg@y", "arg@y"), way("x@y", "x@y"), way("root", "a@x")]
    assert way("hidden@y", "hidden@y") in lines
    assert f"message... {len(WHOLE) + WHOLE.count(chr(10))} octets" in lines
    lines = show(host, "-t", stdin="Resent-To: new@y\nResent-From: a@b\n" + WHOLE)
    assert lines[1] == way("new@y", "new@y") and way("x@y", "x@y") not in lines


@pytest.mark.parametrize("name", ONCE)
def test_fields_that_ses_takes_once_only(host, name):
    twice = f"{name}: a@example.com\n{name.upper()}: a@example.com\n"
    lines = show(host, "-t", stdin="To: x@y\n" + twice, code=DATAERR)
    assert lines.count(f"{name.upper()}... SES refuses a message that has it twice") == 1
    show(host, "-t", stdin="To: x@y\nTo: z@y\nX-Any: 1\nX-Any: 2\nReceived: a\nReceived: b\n"
         f"{name}: a@example.com\n")


def test_authors(host):
    host.write(verified="*@example.com", rewrite_sender="*@bad.example out@example.com")

    def lines(fields, code):
        found = show(host, "-t", stdin=f"To: x@y\n{fields}\n\nz\n", code=code)
        return [line for line in found if not line.startswith(("me@", "x@y...", "message"))]
    assert lines("From: a@example.com (A), B <b@example.com>\nSender: bare", 0) == []
    assert lines("From: C <c@bad.example>", 0) == []
    for fields, name in [("From: D <d@elsewhere>", "d@elsewhere"), ("From: x <root@y>", "root@y"),
                         ("From: a@example.com\nSender: e@elsewhere", "e@elsewhere")]:
        (line,) = lines(fields, DATAERR)
        assert line.startswith(f"{name}... SES would refuse it"), line
    for fields, words in [("From: nobody:;", "without an address"), ("From: a b c", "From... "),
                          ("From: a@-b-.c", "From... "), ("From:", "without an address")]:
        (line,) = lines(fields, DATAERR)
        assert words in line


def test_size_and_long_lines(host):
    host.write(message_size="2K")
    long = "To: x@y\nX: " + "a " * 600 + "\n\n"
    lines = show(host, "-t", stdin=long + "b" * 700)
    assert lines[-1].endswith("1 of the header are folded, 0 breaks are put into the body")
    host.write(message_size="1M")
    assert "0 of the header are folded, 2 breaks" in show(host, "-t", stdin="To: x@y\n\n" + "b" * 2500)[-1]
    assert "lines over" not in "".join(show(host, "-t", stdin="To: x@y\n\n" + "b" * 998))
    host.write(message_size="2K")
    assert "message... the message is over 2048 octets" in "".join(
        show(host, "-t", stdin="To: x@y\n\n" + "b\n" * 2000, code=DATAERR))
    for stdin, words in [("Subject: s\n\nz\n", "no recipient"), ("To: x@y\n" + "Received: a\n" * 60, "loop"),
                         ("To: a\nb@example.com\n\nz\n", "ends within a list")]:
        assert words in "".join(show(host, "-t", stdin=stdin, code=DATAERR)), words


def test_what_is_wrong_with_the_whole_is_said_beside_the_rest(host):
    """A sender that SES would refuse, say, does not hide that the message is too long."""
    host.write(message_size="2K", verified="*@example.com")
    long = "b\n" * 2000
    for stdin, words in [(f"To: x@y\nFrom: e@elsewhere\n\n{long}", ["e@elsewhere... SES", "over 2048 octets"]),
                         (f"To: a@b@c\n\n{long}", ["a@b@c... ", "over 2048 octets"]),
                         ("To: x@y\nFrom: e@elsewhere\n" + "Received: a\n" * 60, ["e@elsewhere... SES", "loop"]),
                         ("To: a\nb@example.com\nFrom: e@elsewhere\n\nz\n", ["ends within a list"]),
                         ("From: e@elsewhere\n\nz\n", ["e@elsewhere... SES", "message... no recipient"])]:
        lines = show(host, "-t", stdin=stdin, code=DATAERR)
        for one in words:
            assert sum(one in line for line in lines) == 1, (one, lines)
    lines = show(host, "-t", stdin="To: a@b@c\n\nz\n", code=DATAERR)
    assert [line for line in lines if line.startswith(("message", "a@b@c"))] == lines[1:] and len(lines) == 2


def test_an_ordinary_user_learns_no_secret(host, tmp_path):
    """A copy without the bit, by somebody who may read nothing but the configuration and aliases."""
    if os.getuid() != 0:
        pytest.skip("needs another user")
    parent = tmp_path
    while str(parent) != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o111)
        parent = parent.parent
    for name in host.conf, host.directory, host.directory / "aliases":
        os.chmod(name, 0o755)
    binary = tmp_path / "sendmail"
    binary.write_bytes((build_dir() / "sendmail").read_bytes())
    os.chmod(binary, 0o755)
    done = subprocess.run([binary, "-bv", "root", "x@y"], env=host.env, user=65534, group=65534,
                          extra_groups=[], capture_output=True, timeout=20)
    assert done.returncode == 0, done
    assert b"user a@x" in done.stdout and b"secret" not in done.stdout + done.stderr
