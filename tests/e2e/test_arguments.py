"""The argument lists of real callers (CASES.md A15), each with input as that caller gives it: who is
stored as sender and recipients, what From says, and where the message ends."""

import os
import pwd
import random
import re
import string

import pytest

import installed

SOAK = "CENMAIL_SOAK" in os.environ
LOGIN = pwd.getpwuid(os.getuid()).pw_name + "@example.com"
CRON = (b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@shanghai> job\n"
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
        b"Content-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n\n")
MAIL = b"To: to@y.example\nSubject: s\n\n"
FROM = b"From: App <app@x.example>\n" + MAIL
DOTS = b"a\n.\nb\n"  # a message whose caller says that a dot does not end it
APP, TO = "app@x.example", ["to@y.example"]

CALLERS = {
    # name: arguments, input, sender, recipients, From
    "cronie": (["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], CRON + DOTS,
               "root@example.com", ["root@example.com"], b"root@example.com (Cron Daemon)"),
    "Debian's cron": (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], CRON + DOTS, LOGIN,
                      ["root@example.com"], b"root@example.com (Cron Daemon)"),
    "anacron": (["-FAnacron", "-odi", "root"],
                b"From: Anacron <root@shanghai>\nTo: root\nSubject: Anacron job 'x'\n\nout\n", LOGIN,
                ["root@example.com"], b"Anacron <root@shanghai>"),
    "at": (["-i", "root"], b"Subject: Output from your job 3\nTo: root\n\n" + DOTS, LOGIN,
           ["root@example.com"], None),
    "PHP": (["-t", "-i"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
    "PHP's fifth argument": (["-t", "-i", "-f" + APP], FROM + DOTS, APP, TO, b"App <app@x.example>"),
    "PHPMailer": (["-oi", "-f" + APP, "-t"], FROM + DOTS, APP, TO, b"App <app@x.example>"),
    "Symfony -t": (["-t", "-i"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
    "Rails": (["-i", "-f", APP, "--", *TO], FROM + DOTS, APP, TO, b"App <app@x.example>"),
    "git send-email": (["-f", APP, "-i", *TO, "cc@y.example"], FROM + DOTS, APP, [*TO, "cc@y.example"],
                       b"App <app@x.example>"),
    "mutt": (["-oem", "-oi", "-f", APP, "-N", "failure", "-R", "hdrs", "--", *TO], FROM + DOTS, APP, TO,
             b"App <app@x.example>"),
    "s-nail": (["-i", "-F", "Mr. App", "-f", APP, "--", *TO], MAIL + DOTS, APP, TO,
               b'"Mr. App" <app@x.example>'),
    "bsd-mailx": (["-i", "-m", "-v", "-f", APP, *TO], MAIL + DOTS, APP, TO, APP.encode()),
    "mdadm": (["-t"], b"From: mdadm monitoring <root>\n" + MAIL + b"z\n", LOGIN, TO,
              b"mdadm monitoring <root@example.com>"),
    "logwatch": (["-t"], b"To: to@y.example\nFrom: Logwatch@shanghai\nSubject: s\n\nz\n", LOGIN, TO,
                 b"Logwatch@shanghai"),
    "fail2ban": (["-f", APP, *TO], FROM + b"z\n", APP, TO, b"App <app@x.example>"),
    "smartd": (["-oi", "-t"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
    "Perl's MIME::Lite": (["-t", "-oi", "-oem"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
    "Email::Sender": (["-i", "-f", APP, "--", *TO], FROM + DOTS, APP, TO, b"App <app@x.example>"),
    "bundle": (["-ti"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
    "bundle with a value": (["-tif" + APP], FROM + DOTS, APP, TO, b"App <app@x.example>"),
    "separate values": (["-i", "-F", "N", "-r", APP, *TO], MAIL + DOTS, APP, TO, b"N <app@x.example>"),
    "Perl's Mail::Mailer": (["-t", "-oem", "-oi", "-odq"], FROM + DOTS, LOGIN, TO, b"App <app@x.example>"),
}


def field(content, name):
    for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line.lower().startswith(name.lower() + b":"):
            return line.partition(b":")[2].strip()
    return None


@pytest.mark.parametrize("name", CALLERS)
def test_a15(queue, name):
    args, stdin, sender, recipients, author = CALLERS[name]
    queue.write(domain="example.com")
    done = queue.sendmail(*args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert [tuple(row) for row in queue.sql("select sender from message")] == [(sender,)]
    assert [row[0] for row in queue.sql("select address from recipient order by id")] == recipients
    content = queue.contents()[1]
    if author:
        assert field(content, b"From") == author
    if stdin.endswith(DOTS):
        assert content.endswith(b"\r\n\r\na\r\n.\r\nb\r\n")


def options_of_help(queue):
    """(group, option, whether a value follows) of --help."""
    group, found = "Honoured", []
    for line in queue.sendmail("--help").stdout.decode().splitlines():
        if line.endswith(":") and not line.startswith(" "):
            group = line.split(",")[0].rstrip(":")
        elif row := re.match(r" +(-\w+)(\[?\w*\]?)(?: (\S+))?(?:  |$)", line[:18].rstrip() + "  "):
            found.append((group, row[1], row[3]))
    return found


def test_what_is_accepted_changes_nothing_and_what_is_refused_stores_nothing(queue, tmp_path):
    """Every option that --help names in these groups, with a value attached and separate."""
    queue.write(domain="example.com")
    rows = options_of_help(queue)
    groups = {name: [(o, v) for g, o, v in rows if g == name] for name in ("Accepted", "Refused")}
    assert len(groups["Accepted"]) >= 17 and len(groups["Refused"]) >= 17, rows
    name = str(tmp_path / "never")
    forms = [f for o, value in groups["Accepted"] for f in ([[o, name], [o + name]] if value else [[o]])]
    short = [["-o" + c + rest] for c in string.ascii_letters + string.digits if c != "i" for rest in ("", "7m")]
    for form in forms + (short if SOAK else random.sample(short, 20)):
        before = queue.value("select count(*) from message")
        done = queue.sendmail(*form, "-f", APP, *TO, stdin=FROM + DOTS)
        assert (done.returncode, done.stdout) == (0, b""), (form, done)
        assert queue.value("select count(*) from message") == before + 1, form
        assert queue.value("select group_concat(sender||address) from message m join recipient r on"
                           " r.message=m.id where m.id=(select max(id) from message)") == APP + TO[0], form
        assert queue.value("select cast(data as text) from content order by message desc").endswith(
            "\r\n\r\na\r\n"), form
    stored = queue.value("select count(*) from message")
    for option, value in groups["Refused"]:
        done = queue.sendmail(option, *TO, stdin=FROM)
        assert done.returncode == 64 and option[:2].encode() in done.stderr, (option, done)
    assert queue.value("select count(*) from message") == stored
    assert not os.path.exists(name)


def test_dsn_options_are_stored_as_rfc_3461_has_them(queue):
    """-N, -R, -V, -B; what the client makes of them is its own tests' matter."""
    queue.write(domain="example.com")
    for args, want in [
            (["-N", "never"], ("NEVER", None, None, 0)),
            (["-N", "delay,success", "-R", "full", "-V", "QQ314159"], ("SUCCESS,DELAY", "FULL", "QQ314159", 0)),
            (["-Rhdrs", "-Va+2Bb"], (None, "HDRS", "a+2Bb", 0)),
            (["-B8BITMIME"], (None, None, None, 1)), (["-B", "7bit"], (None, None, None, 0)), ([], (None,) * 3 + (0,))]:
        assert queue.sendmail("-i", *args, "x@y", stdin=b"\nz\n").returncode == 0
        row, = queue.sql("select notify, ret, envid, eightbit from message join recipient"
                         " on message=message.id order by message.id desc limit 1")
        assert tuple(row) == want, args


def test_original_recipients(queue):
    """ORCPT is what the caller wrote, where an alias or postmaster led elsewhere (RFC 3461, 4.2)."""
    queue.write(domain="example.com", postmaster="pm@x")
    (queue.directory / "aliases").write_text("ops: inner, a@x\ninner: b@x\na+b=c: c@x\n")
    assert queue.sendmail("-i", "ops", "bare", "\\ops", "a+b=c", "daemon", "z@x", stdin=b"\nz\n").returncode == 0
    assert [tuple(row) for row in queue.sql("select address, orcpt from recipient order by id")] == [
        ("b@x", "rfc822;ops@example.com"), ("a@x", "rfc822;ops@example.com"), ("bare@example.com", None),
        ("ops@example.com", None), ("c@x", "rfc822;a+2Bb+3Dc@example.com"),
        ("pm@x", "rfc822;daemon@example.com"), ("z@x", None)]


@pytest.mark.parametrize("gecos, want", [
    ("Full Name,Room 1,+86", b"Full Name <alice@example.com>"), ("& Li", b"Alice Li <alice@example.com>"),
    ("", b"alice@example.com"), (",Room 1", b"alice@example.com"),
    ('Dr. "A" \\ Li', b'"Dr. \\"A\\" \\\\ Li" <alice@example.com>'),
    ("山田", b"=?utf-8?q?=E5=B1=B1=E7=94=B0?= <alice@example.com>")])
def test_the_callers_own_name(host, gecos, want):
    """A From that is missing names the real user, whatever LOGNAME and NAME say."""
    passwd = host.path("/etc/passwd")
    before = passwd.read_bytes()
    try:
        passwd.write_bytes(b"\n".join(
            b":".join([*line.split(b":")[:4], gecos.encode(), *line.split(b":")[5:]])
            if line.startswith(b"alice:") else line for line in before.split(b"\n")))
        env = {"PATH": "/usr/bin", "LOGNAME": "root", "USER": "root", "NAME": "Root"}
        assert host.submit("-i", "x@y", env=env).returncode == 0
    finally:
        passwd.write_bytes(before)
    (text,), = host.query("select cast(data as text) from content")
    assert field(text.encode(), b"From") == want
    assert host.query("select sender, uid from message") == [("alice@example.com", installed.ALICE)]


def test_anybody_may_name_any_sender(host):
    """As with Postfix: whom SES takes mail from, SES decides, and rewrite_sender."""
    for given, want in [("root", "root@example.com"), ("x@elsewhere.example", "x@elsewhere.example"), ("<>", "")]:
        assert host.submit("-i", "-f", given, "x@y").returncode == 0
        assert host.query("select sender, uid from message order by id desc limit 1") == [
            (want, installed.ALICE)]
    (text,), = host.query("select cast(data as text) from content where message=2")
    assert field(text.encode(), b"From") == b"x@elsewhere.example"  # not under alice's name


def test_mailq_shows_each_his_own(host):
    assert host.run([installed.MAILQ], uid=installed.ALICE).stdout == b"Mail queue is empty\n"
    for uid, to in [(installed.ALICE, "of-alice@y"), (installed.BOB, "of-bob@y"), (0, "of-root@y")]:
        assert host.submit("-i", to, uid=uid).returncode == 0

    def listed(uid, *args):
        done = host.run([installed.MAILQ, *args], uid=uid)
        assert done.returncode == 0, done
        return [line.split()[-1] for line in done.stdout.decode().splitlines() if line.endswith("@y")]
    assert listed(installed.ALICE) == ["of-alice@y"]
    assert listed(installed.BOB) == listed(installed.BOB, "-qI2") == ["of-bob@y"]
    assert listed(installed.BOB, "-qI1") == listed(installed.BOB, "-q!I2") == []
    for uid in 0, installed.CENMAIL:
        assert listed(uid) == ["of-alice@y", "of-bob@y", "of-root@y"]
        assert listed(uid, "-qRof-bob") == ["of-bob@y"]
