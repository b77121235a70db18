"""Real callers (A15), run for real: Debian's packages on a host of their own, where our program
stands at /usr/sbin/sendmail and /usr/lib/sendmail as `make install` leaves it, set-user-ID. Each
has its mail in the queue with the right sender, recipients and bytes; some go the whole road.

README.md's table says what runs here; the last test compares it with what was run."""

import contextlib
import email
import email.policy
import re

import peers
import pytest
from harness import ROOT, wait_for
from host import Host, USERS

SUBJECT = "Störung 故障 障害"
BODY = "Grüße aus 上海\n.\n..\nFrom here on: ünïcödé\nlast line\n".encode()
FROM, TO, CC = "app@example.com", "kunde@example.net", "zweite@example.net"
ATTACHED = bytes(range(256)) * 3
ENCODED = "=?UTF-8?B?U3TDtnJ1bmcg5pWF6ZqcIOmanOWusw==?="  # SUBJECT


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    one = Host(tmp_path_factory.getbasetemp())
    one.install()
    one.put("/home/deploy/daten.bin", ATTACHED, user="deploy")
    yield one
    one.close()


@pytest.fixture
def there(host):
    """The host's queue, new; the host is .host."""
    return host.queue()


@contextlib.contextmanager
def running(host, argv, **env):
    program = host.start(argv, **env)
    try:
        yield program
    finally:
        program.close()


def arrived(queue, sender, recipients, uid, count=1):
    """Waits for `count` messages (some callers do not); the last one's bytes, and it as parsed."""
    wait_for(lambda: queue.value("select count(*) from message") == count, what="the mail")
    row = queue.sql("select id, sender, uid from message order by id")[-1]
    assert (row["sender"], row["uid"]) == (sender, uid)
    found = queue.sql("select address from recipient where message=? and state='queued' "
                      "order by address", row["id"])
    assert [r[0] for r in found] == sorted(recipients)
    queue.whole()
    content = queue.contents()[row["id"]]
    assert b"(cenmail, from userid %d)" % uid in content.split(b"\r\n\r\n")[0]
    return content, email.message_from_bytes(content, policy=email.policy.default)


def text_of(message):
    """The text, whatever the caller has encoded it in."""
    part = message.get_body(("plain",)) if message.is_multipart() else message
    text = part.get_payload(decode=True).decode(part.get_content_charset() or "utf-8")
    return text.replace("\r\n", "\n")


def call(host, argv, stdin=BODY, user="deploy", **env):
    done = host.run(argv, stdin, user, **env)
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
    return done


# --- what people and programs send with ---

def test_bsd_mailx(there):
    """mail -s subject -r from -a header to; the subject goes as it is, 8-bit."""
    call(there.host, ["bsd-mailx", "-s", SUBJECT, "-r", FROM, "-a", "X-Job: 7", TO])
    content, message = arrived(there, FROM, [TO], USERS["deploy"])
    assert f"\r\nSubject: {SUBJECT}\r\n".encode() in content
    assert message["x-job"] == "7" and text_of(message) == BODY.decode()


def test_s_nail(there):
    """-i -F name -f addr -- to, with an attachment."""
    call(there.host, ["s-nail", "-s", SUBJECT, "-r", FROM, "-c", CC, "-a",
                      "/home/deploy/daten.bin", TO],
         MAILRC="/dev/null")
    _, message = arrived(there, FROM, [TO, CC], USERS["deploy"])
    assert message["subject"] == SUBJECT and text_of(message) == BODY.decode()
    assert [p.get_content() for p in message.iter_attachments()] == [ATTACHED]


def test_mutt(there):
    """-oem -oi -f sender -- to, in batch mode, with an attachment."""
    call(there.host, ["mutt", "-n", "-F", "/dev/null", "-s", SUBJECT, "-b", CC, "-e",
                      f"set from={FROM} use_from use_envelope_from copy=no", "-a",
                      "/home/deploy/daten.bin", "--", TO])
    content, message = arrived(there, FROM, [TO, CC], USERS["deploy"])
    assert message["subject"] == SUBJECT and text_of(message) == BODY.decode()
    assert [p.get_content() for p in message.iter_attachments()] == [ATTACHED]
    assert CC.encode() not in content  # it was a Bcc


def test_git_send_email(there):
    """-f sender -i recipients; a patch with an umlaut, and a file that holds lone dots."""
    there.host.put("/home/deploy/datei", BODY, user="deploy")
    call(there.host, ["sh", "-ec", f"""
        cd; export GIT_CONFIG_GLOBAL=/dev/null; git init -q repo; cd repo; cp ../datei .
        git config user.name 'Ä. Dev'; git config user.email {FROM}; git config sendemail.suppresscc all
        git add datei; git commit -qm '{SUBJECT}'
        git send-email --quiet --confirm=never --envelope-sender=auto --to={TO} --cc={CC} -1"""])
    _, message = arrived(there, FROM, [TO, CC], USERS["deploy"])
    assert message["subject"] == f"[PATCH] {SUBJECT}"
    assert "+Grüße aus 上海\n+.\n+..\n" in text_of(message)


def test_php_mail(there):
    """-t -i, and the fifth argument's -f; what PHP was given is what is stored."""
    call(there.host, ["php8.2", "-n", "-r", f"""
        exit(mail("{TO}", "{ENCODED}", file_get_contents("php://stdin"),
                  "From: {FROM}\\r\\nCc: {CC}", "-f{FROM}") ? 0 : 1);"""])
    content, message = arrived(there, FROM, [TO, CC], USERS["deploy"])
    assert message["subject"] == SUBJECT
    assert BODY.replace(b"\n", b"\r\n") in content.split(b"\r\n\r\n", 1)[1]


@pytest.mark.parametrize("fifth", ["-f{FROM} -X/tmp/by-php.log", "-f{FROM} -oQ/tmp/queue-by-php",
                                   "-f{FROM} -C/etc/shadow -d99 -D/tmp/by-php.log"])
def test_php_mail_with_a_hostile_fifth_argument(there, fifth):
    """A7: the options by which PHPMailer's CVE-2016-10033 wrote files: accepted, and no file comes
    to be or is looked into."""
    call(there.host, ["php8.2", "-n", "-r", f"""
        exit(mail("{TO}", "x", "text", "From: {FROM}", "{fifth.format(FROM=FROM)}") ? 0 : 1);"""])
    arrived(there, FROM, [TO], USERS["deploy"])
    assert not [p.name for p in (there.host.root / "tmp").iterdir() if "by-php" in p.name]


def test_perl_email_sender(there):
    """-i -f sender recipients: the envelope is its own, and not the header's."""
    given = f"From: App <{FROM}>\nTo: {TO}\nSubject: {ENCODED}\n\n".encode() + BODY
    call(there.host, ["perl", "-e", f"""
        use Email::Sender::Simple qw(sendmail); use Email::Sender::Transport::Sendmail;
        local $/; sendmail(<STDIN>, {{from => 'umschlag@example.com', to => ['{CC}'],
            transport => Email::Sender::Transport::Sendmail->new}});"""], given)
    content, message = arrived(there, "umschlag@example.com", [CC], USERS["deploy"])
    assert message["subject"] == SUBJECT and message["from"] == f"App <{FROM}>"
    assert content.endswith(b"\r\n\r\n" + BODY.replace(b"\n", b"\r\n"))


def test_perl_mime_lite(there):
    """-t -oi -oem, by /usr/lib/sendmail."""
    call(there.host, ["perl", "-e", f"""
        use MIME::Lite; my $m = MIME::Lite->new(From => '{FROM}', To => '{TO}', Bcc => '{CC}',
            Subject => '{ENCODED}', Type => 'multipart/mixed');
        $m->attach(Type => 'TEXT', Data => join('', <STDIN>));
        $m->attach(Type => 'application/octet-stream', Path => '/home/deploy/daten.bin');
        $m->send('sendmail', '/usr/lib/sendmail -t -oi -oem') or die;"""])
    content, message = arrived(there, "deploy@example.com", [TO, CC], USERS["deploy"])
    assert message["subject"] == SUBJECT and CC.encode() not in content
    assert BODY.replace(b"\n", b"\r\n") in content
    assert [p.get_content() for p in message.iter_attachments()][-1] == ATTACHED


def test_ruby_mail(there):
    """-i -f from -- to, which is Rails' delivery_method :sendmail too."""
    call(there.host, ["ruby3.1", "-e", f"""
        require 'mail'; Encoding.default_external = 'UTF-8'
        m = Mail.new(from: '{FROM}', to: '{TO}', bcc: '{CC}', subject: '{SUBJECT}', charset: 'UTF-8')
        m.body = STDIN.read; m.delivery_method :sendmail; m.deliver!"""])
    content, message = arrived(there, FROM, [TO, CC], USERS["deploy"])
    assert message["subject"] == SUBJECT and text_of(message) == BODY.decode()
    assert CC.encode() not in content


def test_python_subprocess(there):
    """-t -oi: email's bytes are what is stored, but for the Received line and what was missing."""
    call(there.host, ["/usr/bin/python3", "-c", f"""
import subprocess, sys
from email.message import EmailMessage
m = EmailMessage()
m['From'], m['To'], m['Subject'] = 'App <{FROM}>', '{TO}', '{SUBJECT}'
m['Date'], m['Message-ID'] = 'Tue, 24 Nov 2026 04:14:10 +0800', '<1@example.com>'
m.set_content(sys.stdin.read())
m.add_attachment(open('/home/deploy/daten.bin', 'rb').read(), maintype='application',
                 subtype='octet-stream', filename='daten.bin')
open('/home/deploy/given', 'wb').write(m.as_bytes())
subprocess.run(['/usr/sbin/sendmail', '-t', '-oi', '-f', '{FROM}'], input=m.as_bytes(), check=True)"""])
    content, message = arrived(there, FROM, [TO], USERS["deploy"])
    assert message["subject"] == SUBJECT
    given = (there.host.root / "home/deploy/given").read_bytes()
    received = re.match(rb"Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", content)
    assert content[received.end():] == given.replace(b"\n", b"\r\n")


# --- what runs by itself ---

def crontab(host, text, user="deploy"):
    host.put(f"/var/spool/cron/crontabs/{user}", text, 0o600, user)


def test_cron(there):
    """-FCronDaemon -i -B8BITMIME -oem: jobs of root's crontab and of a user's. Progress bars are
    lines (B7); mail to plain root goes to the postmaster."""
    there.host.put("/etc/crontab",
                   "MAILTO=root\n@reboot root printf '10\\%\\%\\r99\\%\\%\\r\\nfertig 完了\\n.\\n'\n")
    crontab(there.host, "")
    with running(there.host, ["/usr/sbin/cron", "-f", "-L", "15"]):
        content, message = arrived(there, "root@example.com", ["ops@example.com"], 0)
    assert b"\r\nFrom: root@example.com (Cron Daemon)\r\n" in content
    assert message["subject"].startswith("Cron <root@")
    assert content.endswith("\r\n\r\n10%\r\n99%\r\nfertig 完了\r\n.\r\n".encode())


def test_cron_of_a_user(there):
    """MAILTO and MAILFROM of the crontab; cron runs sendmail as that user."""
    there.host.put("/etc/crontab", "")
    there.host.run(["rm", "-f", "/run/crond.reboot"])
    crontab(there.host, f"MAILTO={TO},{CC}\nMAILFROM={FROM}\n@reboot echo Grüße; echo Fehler >&2\n")
    with running(there.host, ["/usr/sbin/cron", "-f", "-L", "15"]):
        _, message = arrived(there, "deploy@example.com", [TO, CC], USERS["deploy"])
    crontab(there.host, "")
    assert "Grüße" in message["subject"] and message["from"] == FROM
    assert text_of(message) == "Grüße\nFehler\n"


def test_at(there):
    """-i USER, as that user: a bare name, at the domain."""
    there.host.put("/var/spool/cron/atjobs/.SEQ", "", 0o600)
    there.host.run(["chown", "daemon:daemon", "/var/spool/cron/atjobs/.SEQ"])
    with running(there.host, ["/usr/sbin/atd", "-f", "-b", "1", "-l", "1000"]):
        # at(1) wakes atd by a SIGHUP, which kills it before it has its handler, and which it misses
        # between its look at the jobs and its sleep.
        wait_for(lambda: there.host.run(["sh", "-c", "grep -q 'SigCgt:.*[13579bdf]$' /proc/$(cat "
                                         "/run/atd.pid)/status"]).returncode == 0, what="atd")
        call(there.host, ["sh", "-c", "echo 'echo Grüße; echo .; echo Ende' | at now"], b"")
        wait_for(lambda: there.value("select count(*) from message") or there.host.run(
            ["sh", "-c", "kill -HUP $(cat /run/atd.pid); sleep 0.1; exit 1"]).returncode == 0, what="atd's mail")
        _, message = arrived(there, "deploy@example.com", ["deploy@example.com"], USERS["deploy"])
    assert message["subject"].startswith("Output from your job")
    assert text_of(message) == "Grüße\n.\nEnde\n"


def test_anacron(there):
    """-FAnacron -odi root. It does not say -i: a lone dot ends its mail, as with sendmail 8."""
    there.host.put("/tmp/anacrontab", "1 0 täglich echo Grüße; echo .; echo Ende\n")
    call(there.host, ["/usr/sbin/anacron", "-d", "-f", "-n", "-t", "/tmp/anacrontab", "-S", "/tmp"],
         user="root")
    _, message = arrived(there, "root@example.com", ["ops@example.com"], 0)
    assert message["from"].startswith("Anacron <") and "täglich" in message["subject"]
    assert text_of(message) == "Grüße\n"


def test_logwatch(there):
    """-t, from Perl, as root."""
    there.host.put("/var/log/auth.log", "Nov 24 04:00:00 shanghai sshd[7]: Accepted publickey for "
                   "deploy from 203.0.113.9 port 22 ssh2\n")
    call(there.host, ["/usr/sbin/logwatch", "--output", "mail", "--mailto", TO, "--service", "sshd",
                      "--range", "all"], user="root")
    _, message = arrived(there, "root@example.com", [TO], 0)
    assert message["subject"].startswith("Logwatch for ") and "203.0.113.9: 1" in text_of(message)


def test_mdadm_monitor(there):
    """-t, by popen(3), From without a domain that the world knows."""
    call(there.host, ["/usr/sbin/mdadm", "--monitor", "--test", "--oneshot", f"--mail={TO}",
                      "/dev/md0"], user="root")
    _, message = arrived(there, "root@example.com", [TO], 0)
    assert message["subject"].startswith("TestMessage event on /dev/md0")
    assert message["from"].startswith("mdadm monitoring <")


def test_fail2ban(there):
    """-f sender to: its server, a jail with the action `sendmail`, a ban."""
    modules = {"PYTHONPATH": "/usr/lib/python3/dist-packages"}  # its Python is found elsewhere
    there.host.put("/var/log/jail.log", "")
    there.host.put("/etc/fail2ban/jail.d/defaults-debian.conf", f"""
[test]
enabled = true
filter = sshd
backend = polling
logpath = /var/log/jail.log
action = sendmail[name=test, dest={TO}, sender={FROM}, sendername=Fail2Ban]
""")
    with running(there.host, ["fail2ban-server", "-xf", "--logtarget", "STDOUT", "start"], **modules):
        _, message = arrived(there, FROM, [TO], 0)
        assert message["subject"].startswith("[Fail2Ban] test: started")
        call(there.host, ["fail2ban-client", "set", "test", "banip", "203.0.113.9"], user="root", **modules)
        _, message = arrived(there, FROM, [TO], 0, count=2)
    assert message["subject"].startswith("[Fail2Ban] test: banned 203.0.113.9")


# --- all of them together ---

def test_the_whole_road_with_cron(there, ses, listener):
    """Mail of three callers, sent by the flusher that cron starts by the file that was installed."""
    far = ses()
    there.relay(listener(far.url).url())
    call(there.host, ["mutt", "-n", "-F", "/dev/null", "-s", SUBJECT, "-e",
                      f"set from={FROM} use_from use_envelope_from copy=no", "-a",
                      "/home/deploy/daten.bin", "--", TO])
    call(there.host, ["bsd-mailx", "-s", SUBJECT, "-r", FROM, CC])
    call(there.host, ["s-nail", "-s", SUBJECT, "-r", FROM, TO, CC], MAILRC="/dev/null")
    wait_for(lambda: there.value("select count(*) from message") == 3, what="their mail")
    stored = sorted(there.contents().values())
    installed = (there.host.root / "etc/cron.d/cenmail").read_text()
    assert re.search(r"^\* \* \* \* \* root ", installed, re.M)
    there.host.put("/etc/cron.d/cenmail", installed.replace("* * * * *", "@reboot"))
    there.host.put("/etc/crontab", "")
    there.host.run(["rm", "-f", "/run/crond.reboot"])
    try:
        with running(there.host, ["/usr/sbin/cron", "-f", "-L", "15"]):
            far.wait(3)
            wait_for(lambda: there.states() == {"sent": 4}, what="the verdicts")
            wait_for(lambda: re.search(r"END .*cenmail-flush", there.host.log.text),
                     what="the flusher's end")
    finally:
        there.host.put("/etc/cron.d/cenmail", installed)
    assert len(far.messages) == 3
    for content in stored:
        assert any(far.content(m).endswith(content) for m in far.messages)
    assert {m["sender"] for m in far.messages} == {FROM}
    assert "status=sent" in there.host.log.text


def test_pflogsumm_reads_our_log(there, ses):
    """What operators count mail with: --syslog-name=cenmail."""
    there.host.log.lines.clear()
    there.relay(ses().url)
    for i in range(3):
        there.submit(f"To: a{i}@example.net\nSubject: x\n\ntext\n")
    there.submit("To: b@example.net\nFrom: x\n\n" + "x" * 5000)
    assert there.run_flush().returncode == 0
    log = wait_for(lambda: there.host.log.text if there.host.log.text.count("status=sent") == 4
                   else None, what="the log")
    lines = [re.sub(r"^<\d+>(.{15}) ", r"\1 shanghai ", line) for line in log.splitlines()]
    there.host.put("/tmp/mail.log", "\n".join(lines) + "\n")
    said = call(there.host, ["perl", "/usr/sbin/pflogsumm", "--syslog-name=cenmail", "/tmp/mail.log"],
                user="root").stdout.decode()
    assert re.search(r"^ +4 +delivered$", said, re.M), said
    assert re.search(r"^ +1 +senders$", said, re.M) and re.search(r"^ +4 +recipients$", said, re.M)


def test_the_spool_stays_cenmails_and_nobody_elses(there):
    """After callers of several users: one owner, no reader, and each sees his own mail only."""
    for user in ("deploy", "other", "root"):
        done = there.sendmail("-t", stdin=f"To: {user}-mail@example.net\n\nx\n", user=user)
        assert done.returncode == 0, done.stderr
    spool = there.database.parent
    assert spool.stat().st_mode & 0o7777 == 0o700
    assert {(p.stat().st_uid, p.stat().st_gid) for p in [spool, *spool.iterdir()]} == \
        {(USERS["cenmail"],) * 2}
    for user, sees in (("deploy", ["deploy"]), ("other", ["other"]),
                       ("root", ["deploy", "other", "root"])):
        assert there.host.run(["cat", "/var/spool/cenmail/queue.db"], user=user).returncode != 0 \
            or user == "root"
        listed = there.host.run(["mailq"], user=user).stdout.decode()
        assert sorted(set(re.findall(r"(\w+)-mail@", listed))) == sees


# --- README.md ---

def table():
    """Package -> version as the table of README.md has it."""
    text = (ROOT / "README.md").read_text()
    rows = re.search(r"\n\| called by \|.*\n\|[-| ]+\n((?:\|.*\n)+)", text)
    return dict(re.findall(r"^\| `([^`]+)` (\S+) \|", rows[1], re.M))


# What the tests above ran, as packages.
RAN = {"bsd-mailx", "s-nail", "mutt", "git-email", "php8.2-cli", "libemail-sender-perl",
       "libmime-lite-perl", "ruby-mail", "python3", "cron", "at", "anacron", "logwatch", "mdadm",
       "fail2ban", "pflogsumm"}


def test_readme_says_what_was_run(host):
    """Upstream's versions; Debian's own corrections to them come and go."""
    said = table()
    assert set(said) == RAN
    for package in sorted(RAN):
        version = re.sub(r"^\d+:", "", peers.version(package))
        print(f"{package} {version}")
        assert version.startswith(said[package]), f"{package}: README.md says {said[package]}"
