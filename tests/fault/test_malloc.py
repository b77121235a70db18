"""C14: memory runs out at the Nth allocation, ours, the C library's or SQLite's, once or from then on
(a sample here, all in `make soak`). Then nothing is stored and the exit code is 75, or all is well: the
message is there once, with every recipient. Never a signal, never a 0 for what is not whole."""

import re

import malloc_points
import pytest
from harness import build_dir
from pipe_session import QUEUED

TEMPFAIL, DATAERR = 75, 65
SOME = 30
HEAD = (b"From: Fr\xc3\xa4ulein <a@example.com>\nDate: Tue, 24 Nov 2026 04:14:10 +0800\n"
        b"Message-ID: <1@example.com>\n")
MAIL = HEAD + (b"To: ops, Name <b@example.net>,\n bare, daemon\nCc: team: c@example.net, d@example.net;\n"
               b"Bcc: hidden@example.net\nX-Long: " + b"word " * 400 + b"\n\nz\n" + b"l" * 3000 + b"\n")
ARGS = ["-t", "-N", "failure", "-R", "hdrs", "-V", "id"]


@pytest.fixture
def short(queue):
    """short(*arguments, stdin): a sweep over a queue with aliases, a postmaster and a domain."""
    queue.write(domain="example.com", postmaster="pm@example.com", lock_wait="1s")
    (queue.directory / "aliases").write_text(
        "ops: a@x.example, inner, |/bin/cat\ninner: b@x.example, ops\n" +
        "".join(f"name{i}: x{i}@x.example\n" for i in range(40)))
    return Short(queue)


class Short:
    def __init__(self, queue):
        self.queue = queue
        self.memory = malloc_points.Memory(queue.env, queue.directory)
        self.incoming, self.aside = queue.database.parent / "incoming", queue.directory / "aside"
        self.aside.mkdir()
        self.seen = 0

    def sweep(self, what, args, stdin=b"", some=SOME):
        """Yields each run that lacked memory somewhere, with what has been stored by it."""
        argv = [build_dir() / "fault/sendmail", *args]
        points = self.memory.points(argv, stdin, some, what)
        self.stored()
        for at, lasting in points:
            done = self.memory.run(argv, stdin, at, lasting)
            assert done.returncode >= 0, f"{what}: died of {done.returncode} at {at}, {lasting}"
            yield f"{what}: at {at}{' and after' if lasting else ''}: {done}", done, self.stored()

    def stored(self):
        """What is new since the last look: [(addresses, all else)]; all else is None of what is beside
        the queue, and it is put aside, so that what is there need not be read again each time."""
        found = {}
        for row in self.rows():
            found.setdefault(row["message"], []).append(row)
        self.seen = max(found, default=self.seen)
        beside = [(path, path.read_text()) for path in sorted(self.incoming.glob("0*"))]
        for path, _ in beside:
            path.rename(self.aside / path.name)
        return [([r["address"] for r in rows],
                 (rows[0]["sender"], rows[0]["ret"], rows[0]["envid"],
                  [(r["notify"], r["orcpt"]) for r in rows], bare(rows[0]["data"])))
                for rows in found.values()] + [
                    (re.findall(r"(?m)^recipient (.*)$", text), None) for _, text in beside]

    def rows(self):
        if not self.queue.database.exists():
            return []
        return self.queue.sql("select r.message, sender, ret, envid, address, notify, orcpt, data"
                              " from message m join recipient r on r.message=m.id"
                              " join content c on c.message=m.id where m.id>? order by r.id", self.seen)

    def imported(self):
        """All that there is after the flusher has taken what is beside the queue."""
        for path in self.aside.iterdir():
            path.rename(self.incoming / path.name)
        self.queue.relay("lmtp://127.0.0.1:9")
        assert self.queue.flush("--once").code == 0 and not list(self.incoming.glob("0*"))
        self.queue.whole()
        self.seen = 0
        return self.stored()


def bare(content):
    """Without the Received line, which has a time and a key."""
    return re.sub(rb"\AReceived: [^\r]*\r\n[^\r]*\r\n", b"", bytes(content))


def check_submissions(short, what, args, stdin, some=SOME):
    """All or nothing; and what went to incoming/ the flusher takes, each once."""
    assert short.queue.sendmail(*args, stdin=stdin).returncode == 0
    (whole,), taken = short.stored(), 2  # this one, and one for the number of allocations
    for told, done, new in short.sweep(what, args, stdin, some):
        assert done.returncode in (0, TEMPFAIL), told
        assert len(new) == (done.returncode == 0), told
        assert done.returncode == 0 or b"memory" in done.stderr, told
        assert all(one in (whole, (whole[0], None)) for one in new), (told, new)
        taken += len(new)
    print(f"{what}: {taken} taken, {len(list(short.aside.iterdir()))} of them beside the queue")
    assert short.imported() == [whole] * taken


def test_c14_a_submission(short):
    check_submissions(short, "submission", ARGS, MAIL)


def test_c14_a_submission_that_is_large(short):
    """Into a file, and from there into the queue."""
    check_submissions(short, "large", ["-i", "-F", "Fräulein", "root"], HEAD + b"\n" + b"z" * 400_000, SOME // 2)


def test_c14_the_second_way_in(short):
    """There is no database until the end."""
    database, taken = short.queue.database, 1
    away = database.rename(database.with_name("away"))
    for told, done, new in short.sweep("incoming", ARGS, MAIL, SOME // 2):
        assert done.returncode in (0, TEMPFAIL), told
        assert len(new) == (done.returncode == 0), told
        taken += len(new)
    away.rename(database)
    assert short.queue.sendmail(*ARGS, stdin=MAIL).returncode == 0
    everything = short.imported()
    assert everything == everything[:1] * (taken + 1)


def dialogue(i):
    return (b"MAIL FROM:<a%d@example.com> RET=FULL ENVID=e%d\r\nRCPT TO:<ops> NOTIFY=DELAY\r\n"
            b"RCPT TO:<daemon>\r\nRCPT TO:<b@example.net> ORCPT=rfc822;o@example.net\r\nDATA\r\n"
            % (i, i) + HEAD.replace(b"\n", b"\r\n") + b"\r\nnumber %d\r\n.\r\n" % i)


def answers(out):
    """The codes of what answers a dialogue(), message by message, as far as they go."""
    codes = [int(code) for code in re.findall(rb"(?m)^(\d{3}) ", out)][2:]
    return [codes[i:i + 6] for i in range(0, len(codes), 6)]


def test_c14_a_session(short):
    """What has its 250 is there, with those recipients that had theirs; nothing else is."""
    stdin = b"EHLO c\r\n" + dialogue(1) + dialogue(2)
    given = [["a@x.example", "b@x.example", "ops@example.com"], ["pm@example.com"], ["b@example.net"]]
    for told, done, new in short.sweep("session", ["-bs"], stdin):
        assert done.returncode in (0, TEMPFAIL), told
        acknowledged = [reply.decode() for reply in QUEUED.findall(done.stdout)]
        assert len(new) == len(acknowledged), told
        good = [codes for codes in answers(done.stdout) if codes[5:] == [250]]
        assert [one[0] for one in new] == [
            [a for code, to in zip(codes[1:4], given) if code == 250 for a in to] for codes in good], told
    short.queue.whole()


@pytest.mark.parametrize("what, args, code", [
    ("mailq", ["-bp"], 0), ("newaliases", ["-bi"], DATAERR),
    ("-bv", ["-bv", "-t", "-f", "a@x.example"], DATAERR)])
def test_c14_what_is_asked(short, what, args, code):
    """The whole answer, or 75."""
    short.queue.write(relay="lmtp://127.0.0.1:9", verified="*@example.com")
    for i in range(3):
        short.queue.submit(b"\nz\n", "-i", "-f", f"a{i}@example.com", "ops", "b@example.net")
    whole = short.queue.sendmail(*args, stdin=MAIL)
    assert whole.returncode == code and whole.stdout + whole.stderr, whole
    for told, done, new in short.sweep(what, args, MAIL, SOME // 2):
        assert done.returncode in (code, TEMPFAIL) and not new, told
        if done.returncode == code:
            assert (done.stdout, done.stderr) == (whole.stdout, whole.stderr), told


def test_the_check_can_fail(short):
    """What is counted fails; and a submission that is not whole is seen."""
    argv = [build_dir() / "fault/sendmail", *ARGS]
    assert short.memory.run(argv, MAIL).returncode == 0
    counted = short.memory.allocations
    assert short.memory.run(argv, MAIL, at=counted + 200, lasting=True).returncode == 0
    assert short.memory.run(argv, MAIL, at=1, lasting=True).returncode == TEMPFAIL
    assert len(short.stored()) == 2
