"""sendmail -bs: SMTP on standard input and output. What has its 250 is in the queue."""

import fcntl
import os
import random
import re
import subprocess
import threading

import pytest
from harness import build_dir, run
from pipe_session import QUEUED, PipeSession, PipeSMTP

HEAD = "Subject: s\r\nFrom: a@example.com\r\n"
MAIL, RCPT = "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"
OPEN = ["EHLO client", MAIL, RCPT, "DATA"]


@pytest.fixture
def bs(queue):
    """bs(*arguments): a session; bs.queue is its queue."""
    open_ones = []

    def start(*args):
        one = PipeSession([build_dir() / "sendmail", "-bs", *args], queue.env)
        assert one.greeting == (220, "shanghai.example.com ESMTP cenmail")
        open_ones.append(one)
        return one

    start.queue = queue
    yield start
    for one in open_ones:
        one.__exit__()


def send_all(queue, data, *args):
    """A whole session in one write: exit code, replies, standard error."""
    done = queue.sendmail("-bs", *args, stdin=data)
    return done.returncode, done.stdout, done.stderr


def rows(queue, columns="address", table="recipient"):
    return [tuple(row) if len(row) > 1 else row[0]
            for row in queue.sql(f"select {columns} from {table} order by id")]


def count(queue):
    return queue.value("select count(*) from message")


def message(text="x", sender="a@example.com", to=("b@example.org",), parameters=""):
    lines = [f"MAIL FROM:<{sender}>{parameters}", *[f"RCPT TO:<{one}>" for one in to], "DATA"]
    return "".join(line + "\r\n" for line in lines).encode() + \
        (HEAD + f"\r\n{text}\r\n.\r\n").encode()


# --- the words ---

def test_what_is_offered(bs):
    bs.queue.write(message_size="1M")
    session = bs()
    assert session.say("EHLO [127.0.0.1]") == (250, "shanghai.example.com\nPIPELINING\n"
                                               "SIZE 1048576\nDSN\nENHANCEDSTATUSCODES\n8BITMIME")
    assert session.codes("HELO client", "NOOP", "RSET", "HELP", "VRFY root", "LHLO x", "STARTTLS",
                         "AUTH PLAIN =", "EXPN root", "QUIT") == \
        [250, 250, 250, 214, 252, 500, 502, 502, 500, 221]
    assert session.end() == (0, b"", b"")


def test_one_message(bs):
    session = bs("-odb", "-oem", "-t", "-i", "someone@example.net")
    for line, code in (("EHLO client", 250), ("MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME "
                       "RET=hdrs ENVID=q+2B7", 250), (RCPT + " NOTIFY=success,Delay "
                       "ORCPT=rfc822;b+2Bb@example.org", 250), ("RCPT TO:<c@example.org>", 250),
                       ("DATA", 354)):
        assert session.say(line)[0] == code
    code, text = session.say(HEAD.encode() + "Bcc: d@example.org\r\nTo: e@example.org\r\n\r\n"
                             "東京\r\n..\r\n.\r\n".encode())
    assert (code, text) == (250, "2.0.0 Ok: queued as 0000000001")
    assert rows(bs.queue, "address,notify,orcpt") == [
        ("b@example.org", "SUCCESS,DELAY", "rfc822;b+2Bb@example.org"),
        ("c@example.org", None, None)]
    assert rows(bs.queue, "sender,ret,envid,eightbit", "message") == [
        ("a@example.com", "HDRS", "q+2B7", 1)]
    content = bs.queue.contents()[1]
    assert b"d@example.org" not in content and content.endswith("\r\n\r\n東京\r\n.\r\n".encode())
    assert re.match(rb"Received: by shanghai\.example\.com \(cenmail, from userid \d+\)\r\n",
                    content)
    assert session.codes("QUIT") == [221]
    code, out, err = session.end()
    assert (code, out) == (0, b"") and b"nrcpt=2 (queue active)" in err


def test_recipients_are_refused_one_by_one(bs):
    (bs.queue.directory / "aliases").write_text(
        "few: b@example.org, c@example.org\ngone: |/bin/cat\nmany: " +
        ", ".join(f"m{i}@example.org" for i in range(5)) + "\n")
    bs.queue.write(recipients_max="4", postmaster="pm@example.org")
    session = bs()
    session.codes("EHLO client", MAIL)
    assert session.say("DATA")[0] == 503
    for path, code, words in (
            ("nobody", 550, "5.1.1 nobody: no such local name"),
            ("gone", 550, f"5.1.1 {bs.queue.directory}/aliases:2: alias gone: leads to no address"),
            ("many", 452, "4.5.3 more than 4 recipients"),
            ("x@", 501, "5.1.3 "), ("@a.example:x@b.example", 553, "5.1.3 "), ("", 501, "5.5.4 "),
            ("x\xe9@b.example", 501, "5.1.3 "), ("few", 250, "2.1.5 Ok"),
            ("root", 250, "2.1.5 Ok"), ("d@example.org", 250, "2.1.5 Ok"),
            ("B@example.ORG", 452, "4.5.3 "), ("b@EXAMPLE.org", 250, "2.1.5 Ok")):
        got, text = session.say(f"RCPT TO:<{path}>".encode("latin-1") + b"\r\n")
        assert got == code and text.startswith(words), (path, got, text)
    assert session.codes("DATA", b"\r\nz\r\n.\r\n", "QUIT") == [354, 250, 221]
    assert rows(bs.queue) == ["b@example.org", "c@example.org", "pm@example.org", "d@example.org"]


def test_senders(bs):
    bs.queue.write(domain="corp.example.com")
    session = bs("-F", "Night Watch")
    assert session.say("EHLO client")[0] == 250
    senders = {"": "", "root": "root@corp.example.com", "\"q q\"@x.example": "\"q q\"@x.example"}
    for given in senders:
        assert session.codes(f"MAIL FROM:<{given}>", RCPT, "DATA", b"Subject: s\r\n\r\nz\r\n.\r\n") \
            == [250, 250, 354, 250], given
    assert session.codes("MAIL FROM:<x@>", "MAIL FROM:<a b>", "MAIL FROM:a@b.example",
                         "MAIL FROM:<a@b.example> X=y") == [501, 501, 501, 555]
    assert rows(bs.queue, "sender", "message") == list(senders.values())
    contents = bs.queue.contents()
    assert b"\r\nFrom: MAILER-DAEMON@corp.example.com\r\n" in contents[1]
    assert b"\r\nFrom: Night Watch <root@corp.example.com>\r\n" in contents[2]


# --- content ---

def test_only_crlf_dot_crlf_ends_it(bs):
    """The rest is repaired, as on standard input without -bs."""
    session = bs()
    assert session.codes(*OPEN) == [250, 250, 250, 354]
    false_ends = [b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n",
                  b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
    body = b"".join(b"x" + end + b"MAIL FROM:<evil@example.com>\r\n" for end in false_ends)
    code, _ = session.say(HEAD.encode() + b"\r\n" + body + b"last\r\n.\r\n")
    assert code == 250 and session.codes("QUIT") == [221]
    assert rows(bs.queue, "sender", "message") == ["a@example.com"]
    content = bs.queue.contents()[1]
    assert content.count(b"MAIL FROM:<evil@example.com>\r\n") == len(false_ends)
    assert b"\0" not in content and b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"") and content.endswith(b"last\r\n")
    assert b"NUL octets dropped" in session.end()[2]


def test_as_many_recipients_as_the_configuration_says(queue):
    queue.write(recipients_max="3000")
    everybody = [f"b{i}@example.org" for i in range(3000)]
    code, out, _ = send_all(queue, b"EHLO c\r\n" + message(to=everybody) + message(to=[*everybody, "c@example.org"]))
    assert code == 0 and out.count(b"\r\n452 4.5.3 ") == 1 and len(QUEUED.findall(out)) == 2
    assert rows(queue) == 2 * everybody


def test_sizes(bs):
    """B9, by SIZE= and by what comes."""
    size = 20000
    bs.queue.write(message_size=str(size))
    session = bs()
    assert session.codes("EHLO client", f"{MAIL} SIZE={size + 1}", f"{MAIL} SIZE={size}",
                         "RSET") == [250, 552, 250, 250]
    for more, want in ((-1, 250), (0, 250), (1, 552), (0, 250), (size * 100, 552), (0, 250)):
        assert session.codes(MAIL, RCPT, "DATA") == [250, 250, 354]
        start = HEAD.encode() + b"\r\n"
        code, text = session.say(start + b"x" * (size + more - len(start) - 2) + b"\r\n.\r\n")
        assert code == want and (want == 250 or text.startswith("5.3.4 ")), (more, text)
    assert session.codes("QUIT") == [221] and count(bs.queue) == 4


def test_what_can_not_be_taken_is_said(bs):
    session = bs()
    session.say("EHLO client")
    for content, code, words in (
            (b"Received: x\r\n" * 60 + b"\r\nz\r\n", 554, "60 Received lines"),
            (b"X: " + b"y" * 1100000 + b"\r\n\r\nz\r\n", 552, "the header is over 1048576 octets")):
        assert session.codes(MAIL, RCPT, "DATA") == [250, 250, 354]
        got, text = session.say(content + b".\r\n")
        assert got == code and words in text
    assert session.codes("QUIT") == [221] and count(bs.queue) == 0


def test_a_large_message(bs):
    session = bs()
    assert session.codes(*OPEN) == [250, 250, 250, 354]
    body = (b"y" * 70 + b"\r\n..dots\r\n") * 60000
    assert session.say(HEAD.encode() + b"\r\n" + body + b".\r\n")[0] == 250
    assert bs.queue.contents()[1].endswith(b"\r\n\r\n" + body.replace(b"\r\n..", b"\r\n."))


# --- transactions ---

def test_nothing_leaks_into_the_next(bs):
    session = bs()
    wishes = " RET=FULL ENVID=e1 BODY=8BITMIME"
    assert session.codes(
        "EHLO client", MAIL + wishes, "RCPT TO:<secret@example.org> NOTIFY=NEVER", "RSET", RCPT,
        MAIL + wishes, "RCPT TO:<secret@example.org>", "EHLO again", RCPT, "DATA",
        MAIL + wishes, "RCPT TO:<secret@example.org>", MAIL, "RSET",
        "MAIL FROM:<c@example.com>", RCPT, "DATA", HEAD.encode() + b"\r\nz\r\n.\r\n", RCPT, "DATA",
        "MAIL FROM:<d@example.com>", "RCPT TO:<nobody>", "DATA", "RSET") == \
        [250, 250, 250, 250, 503, 250, 250, 250, 503, 503, 250, 250, 503, 250,
         250, 250, 354, 250, 503, 503, 250, 550, 503, 250]
    assert rows(bs.queue, "address,notify") == [("b@example.org", None)]
    assert rows(bs.queue, "sender,ret,envid,eightbit", "message") == [
        ("c@example.com", None, None, 0)]


def test_pipelined_and_cut_at_random(queue):
    """However the input comes in pieces, the replies and the queue are the same."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    at = random.Random(seed)
    data = b"EHLO client\r\n" + message("1") + message("..2", "c@example.com") + \
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<nobody>\r\nRSET\r\nNOOP\r\n" + \
        message("3", to=[f"b{i}@example.org" for i in range(20)]) + b"QUIT\r\nMAIL FROM:<x@y.z>\r\n"
    code, whole, _ = send_all(queue, data)
    assert code == 0 and len(QUEUED.findall(whole)) == 3 and whole.endswith(b"221 2.0.0 Bye\r\n")
    for _ in range(6):
        with PipeSession([build_dir() / "sendmail", "-bs"], queue.env) as session:
            rest, got = data, b""
            while rest:
                n = at.randrange(1, 60)
                try:
                    session.send(rest[:n])
                except BrokenPipeError:  # behind QUIT
                    break
                rest = rest[n:]
            code, got, _ = session.end()
            greeting = b"220 shanghai.example.com ESMTP cenmail\r\n"
            hide = re.compile(rb"queued as \d+")
            assert code == 0 and hide.sub(b"", greeting + got) == hide.sub(b"", whole)
    assert count(queue) == 7 * 3 and len(rows(queue)) == 7 * 22
    assert len({re.sub(rb"(?s)^.*?\r\nSubject", b"", c) for c in queue.contents().values()}) <= 7 * 3


def test_an_end_without_quit_stores_nothing_by_half(queue):
    """The input ends after each octet in turn: exit 0, and a row for each 250."""
    data = b"EHLO c\r\n" + message("1", to=("b@example.org", "c@example.org")) + message("2")
    points = range(len(data) + 1)
    tried = points if os.environ.get("CENMAIL_SOAK") else sorted(
        {0, len(data), *random.sample(points, 40)})
    print(f"{len(tried)} points of {len(points)}")
    stored = 0
    for at in tried:
        code, out, _ = send_all(queue, data[:at])
        assert code == 0, at
        stored += len(QUEUED.findall(out))
        assert count(queue) == stored, at
    assert stored >= 2
    queue.whole()


def test_a_caller_that_writes_before_it_reads(queue):
    """More replies than the pipe holds: they wait here, and the caller is heard meanwhile."""
    data = b"EHLO c\r\n" + b"".join(message(str(i), to=[f"b{j}@example.org" for j in range(120)])
                                    for i in range(60)) + b"QUIT\r\n"
    with PipeSession([build_dir() / "sendmail", "-bs"], queue.env) as session:
        hung = threading.Timer(20, session.process.kill)
        hung.start()
        session.send(data)  # ends only when all has been taken
        hung.cancel()
        code, out, _ = session.end()
    assert code == 0 and len(QUEUED.findall(out)) == 60 == count(queue)
    assert 65536 < len(out) < 2 * 65536


def test_a_caller_that_does_not_read_is_not_heard(bs):
    """Replies of 2 MB and more: they are not heaped up here, and nothing is lost when he reads at last."""
    session = bs()
    many = [message(str(i), to=["b@example.org"] * 1000) for i in range(60)]
    sent = [0]

    def write():
        for one in [b"EHLO c\r\n", *many, b"QUIT\r\n"]:
            session.send(one)
            sent[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    before = -1
    while before < sent[0] < len(many) + 2:  # until he is stuck
        before = sent[0]
        writer.join(0.3)
    assert writer.is_alive()
    out = b""
    while piece := os.read(session.process.stdout.fileno(), 1 << 20):
        out += piece
    writer.join()
    assert out.count(b"\r\n250 2.1.5 ") == 60_000 and out.endswith(b"\r\n221 2.0.0 Bye\r\n")
    assert len(QUEUED.findall(out)) == 60 == count(bs.queue) and session.process.wait(60) == 0


# --- faults ---

def test_a_broken_output_ends_it(queue):
    r, w = os.pipe()
    os.close(r)
    done = subprocess.run([build_dir() / "sendmail", "-bs"], input=b"EHLO c\r\n" + message(),
                          stdout=w, stderr=subprocess.PIPE, env=queue.env, timeout=60)
    os.close(w)
    assert done.returncode == 74 and b"standard output can't be written" in done.stderr
    assert count(queue) == 0


@pytest.mark.parametrize("what", [b"NOOP\r\n" * 1100, b"XYZZY\r\n" * 30])
def test_too_much_of_nothing_ends_it(queue, what):
    code, out, err = send_all(queue, b"EHLO c\r\n" + what + message())
    assert code == 75 and re.search(rb"\r\n421 4\.7\.0 [^\r]*\r\n$", out) and b"421" in err
    assert count(queue) == 0


def test_line_ends_of_commands(queue):
    code, out, _ = send_all(queue, b"EHLO c\nNO\rOP\r\nNOOP\0\r\nNOOP\r\n")
    assert code == 0 and re.findall(rb"(?m)^\d+", out) == [b"220", b"500", b"500", b"500", b"250"]


def test_a_queue_that_is_not_there(bs):
    """451 for a message, and the session goes on."""
    spool = bs.queue.database.parent
    session = bs()
    session.say("EHLO c")
    os.rename(spool, f"{spool}.away")
    assert session.codes(MAIL, RCPT, "DATA") == [250, 250, 354]
    code, text = session.say(HEAD.encode() + b"\r\nz\r\n.\r\n")
    assert code == 451 and text.startswith("4.3.") and str(spool) in text
    os.rename(f"{spool}.away", spool)
    assert session.codes(MAIL, RCPT, "DATA", HEAD.encode() + b"\r\nz\r\n.\r\n", "QUIT") == \
        [250, 250, 354, 250, 221]
    code, _, err = session.end()
    assert code == 0 and b"refused: 451 4.3." in err and count(bs.queue) == 1


def test_a_queue_that_is_locked(bs):
    """A17: the second way in holds here too."""
    bs.queue.write(lock_wait="1s")
    session = bs()
    with open(bs.queue.database.parent / "queue.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert session.codes(*OPEN) == [250, 250, 250, 354]
        code, text = session.say(HEAD.encode() + b"\r\nz\r\n.\r\n")
    key = re.fullmatch(r"2\.0\.0 Ok: queued as ([0-9a-f]{32})", text)
    assert code == 250 and key, text
    assert any(key[1] in name for name in os.listdir(bs.queue.database.parent / "incoming"))


@pytest.mark.parametrize("seen", [1, 7, 25])
def test_killed_in_the_middle(queue, seen):
    """A11: kill -9 when so many messages have their 250: they are there, whole."""
    data = b"EHLO c\r\n" + b"".join(message(f"number {i}.") for i in range(200))
    with PipeSession([build_dir() / "sendmail", "-bs"], queue.env) as session:
        session.send(data)
        out = b""
        while len(QUEUED.findall(out)) < seen:
            out += session.line().encode() + b"\r\n"
        session.process.kill()
        out += session.end()[1]
    acknowledged = {int(i) for i in QUEUED.findall(out)}
    stored = queue.contents()
    assert len(acknowledged) >= seen and acknowledged <= set(stored)
    assert len(stored) <= len(acknowledged) + 2
    for i, content in stored.items():
        assert content.endswith(f"number {i - 1}.\r\n".encode())
    queue.whole()


def test_nothing_of_the_callers_is_touched_under_the_lock(queue, tmp_path):
    trace = tmp_path / "trace"
    data = b"EHLO c\r\n" + message("1") + message("2")
    done = run(["strace", "-f", "-e", "trace=flock,read,write,poll,close,openat", "-o", trace,
                build_dir() / "sendmail", "-bs"], data,
               env={**queue.env, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0 and len(QUEUED.findall(done.stdout)) == 2
    locks, lock = 0, None
    for line in trace.read_text().splitlines():
        call = line.split(None, 1)[1]
        if found := re.match(r"flock\((\d+), LOCK_EX.*= 0", call):
            locks, lock = locks + 1, found[1]
        elif lock and re.match(rf"(flock\({lock}, LOCK_UN|close\({lock}\))", call):
            lock = None
        elif lock:
            assert not re.match(r"(read\(0|write\([12]|poll)", call), line
    assert locks >= 2 and lock is None


# --- callers ---

def test_python_smtplib(queue):
    client = PipeSMTP([build_dir() / "sendmail", "-bs"], queue.env)
    for i in range(3):
        refused = client.sendmail("a@example.com", ["b@example.org", "nobody", "c@example.org"],
                                  HEAD + f"\r\n.{i}\r\n", rcpt_options=["NOTIFY=FAILURE"])
        assert refused["nobody"][0] == 550
    client.quit()
    assert client.program.wait(60) == 0 and count(queue) == 3
    assert queue.contents()[3].endswith(b"\r\n.2\r\n")


def test_swaks(queue):
    done = run(["swaks", "--pipe", f"{build_dir() / 'sendmail'} -bs", "--from", "a@example.com",
                "--to", "b@example.org,c@example.org", "--body", ".one\n..two"],
               env=queue.env)
    assert done.returncode == 0, done.stdout
    assert rows(queue) == ["b@example.org", "c@example.org"]
    assert b"\r\n\r\n.one\r\n..two\r\n" in queue.contents()[1]


# What each says by its source, in lock step: lines, and the codes it goes on with.
# Symfony's SendmailTransport with -bs: SmtpTransport, so HELO. It ends its content by CRLF "." CRLF,
# whatever the content ends in; a refusal makes it say RSET, and the next message begins with NOOP.
SYMFONY_MAIL = [
    ("MAIL FROM:<a@example.com>", 250), ("RCPT TO:<b@example.org>", 250),
    ("RCPT TO:<c@example.org>", 250), ("DATA", 354),
    ((HEAD + "\r\n..dot\r\nbody without a line end\r\n.\r\n").encode(), 250)]
SYMFONY = [("HELO [127.0.0.1]", 250), *SYMFONY_MAIL, *SYMFONY_MAIL, ("MAIL FROM:<a@example.com>", 250),
           ("RCPT TO:<nobody>", 550), ("RSET", 250), ("NOOP", 250), *SYMFONY_MAIL, ("QUIT", 221)]
SWIFTMAILER = [
    ("EHLO [127.0.0.1]", 250), ("MAIL FROM:<a@example.com>", 250), ("RCPT TO:<b@example.org>", 250),
    ("DATA", 354), ((HEAD + "\r\n..dot\r\n\r\n.\r\n").encode(), 250), ("RSET", 250), ("QUIT", 221)]
# Alpine (c-client's smtp.c): RSET before each message, DSN when the user asks for it, and all or nothing:
# RSET when a recipient was refused.
ALPINE_MAIL = [("RSET", 250), ("MAIL FROM:<a@example.com> BODY=8BITMIME RET=HDRS", 250),
               ("RCPT TO:<b@example.org> NOTIFY=FAILURE,DELAY", 250)]
ALPINE = [
    ("EHLO client.example.com", 250), ("VERB ON", 500), *ALPINE_MAIL, ("RCPT TO:<nobody> NOTIFY=NEVER", 550),
    ("RSET", 250), *ALPINE_MAIL, ("DATA", 354), ((HEAD + "\r\nz\r\n.\r\n").encode(), 250), ("QUIT", 221)]
NO_HELO = [
    ("MAIL From:<a@example.com>", 250), ("RCPT To:<b@example.org>", 250), ("DATA", 354),
    ((HEAD + "\r\nz\r\n.\r\n").encode(), 250), ("QUIT", 221)]


@pytest.mark.parametrize("arguments, dialogue, messages", [
    ([], SYMFONY, 3), ([], SWIFTMAILER, 1), (["-odb", "-oem"], ALPINE, 1), ([], NO_HELO, 1)],
    ids=["Symfony", "Swiftmailer", "Alpine", "no-HELO"])
def test_dialogues(bs, arguments, dialogue, messages):
    """A15"""
    session = bs(*arguments)
    for line, code in dialogue:
        got, text = session.say(line)
        assert got == code, (line, got, text)
        # Symfony takes the message's number from here.
        assert not isinstance(line, bytes) or re.match(
            r"(?:\S+ )?Ok:?(?: queued as |id=)([A-Z0-9._-]+)", text, re.I)
    assert session.end()[0] == 0 and count(bs.queue) == messages
