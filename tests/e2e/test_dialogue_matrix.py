"""Each step of the dialogue times each kind of answer, and of none, in each way of speaking: the real
flusher and queue, two messages in flight, one of them to two recipients (D1, D3, D7, from end to end; a
sample here, all in `make soak`). What must come of each stands in `first_try` and `judge`, and is
DESIGN's table "What an answer means"."""

import itertools
import os
import random
import struct
import subprocess
import time
import types

import pytest
from harness import build_dir, run
from hostile import PASSWORD, USER, Hostile, Trick, black_hole
from parts import write_secret

SOAK = "CENMAIL_SOAK" in os.environ
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
SAN = bool(os.environ.get("CENMAIL_SAN"))
SOME = 48
MODES = ["xonce", "bdat", "group", "step"]
KINDS = ["2yz", "3yz", "4yz", "5yz", "421", "garbage", "end", "reset", "silence"]
OPENING = ["connect", "tls", "greeting", "ehlo1", "starttls", "ehlo2", "auth"]
RETRY_MAX = 2000  # ms, of the fixture `queue`
ADDRESS = {"A": "a{}@example.net", "B1": "b{}.one@example.net", "B2": "b{}.two@example.net"}
SENDER = {"A": "from-a@example.com", "B": "from-b@example.com"}


def steps(mode):
    """(step, who): all at which that mode has an answer to wait for."""
    for step in OPENING + ["quit"]:
        yield step, ""
    for who in ("A", "B"):
        yield "mail", who
        if mode in ("group", "step"):
            yield "data", who
        if mode != "xonce":
            yield "content", who
    for who in ADDRESS:
        yield "rcpt", who
        if mode == "xonce":
            yield "content", who
    if mode in ("group", "bdat"):
        yield "rset", "B"  # what follows it


ALL = [(mode, step, who, kind) for mode in MODES for step, who in steps(mode) for kind in KINDS]
# Nothing is said when there is no connection; it is, or is not, or nobody knows.
POINTS = [p for p in ALL if p[1] != "connect" or p[3] in ("2yz", "end", "reset", "silence")]


def trick_of(step, kind):
    """None: the good answer."""
    good = "3yz" if step == "data" else "2yz"
    said = {"2yz": b"250 2.0.0 trick\r\n", "4yz": b"451 4.3.0 trick\r\n",
            "3yz": b"334 \r\n" if step == "auth" else b"354 trick\r\n",
            "5yz": b"550 5.3.0 trick\r\n", "421": b"421 4.3.2 trick\r\n", "garbage": b"\0\xfftrick\r\n"}
    if kind == good:
        return None
    then = {"421": "close", "end": "close", "reset": "reset", "silence": "silence"}.get(kind, "")
    # The worst case: the content was taken, and what is said is no answer to it.
    takes = step == "content" and kind in ("3yz", "garbage", "end", "reset", "silence")
    return Trick(said.get(kind, b""), takes, then)


def first_try(step, kind):
    """What the first row in `attempts` of the victim says: the code that was heard, and the class: sent,
    never, later, road (no message's own), own (the connection ended at it)."""
    if trick_of(step, kind) is None or step == "quit":
        return 250, "sent"
    heard = {"2yz": 250, "3yz": 354, "4yz": 451, "5yz": 550, "421": 421}.get(kind, 0)
    if step in OPENING:  # text is no handshake; what `334` asks PLAIN has no answer to
        return 0 if step == "tls" or (step, kind) == ("auth", "3yz") else heard, "road"
    if step == "rset":  # what follows it was not refused
        return heard if kind == "3yz" else 0, "own"
    return heard, {"4yz": "later", "5yz": "never"}.get(kind, "own")


class Bench:
    """One queue and one peer for the points of a mode."""

    def __init__(self, queue, certificate, mode):
        self.queue, self.mode, self.serial = queue, mode, 0
        self.secret = write_secret(queue.directory / "secret", f"{USER}:{PASSWORD}\n")
        self.far = Hostile(mode, certificate)
        self.queue.write(bounce_sender="bounces@example.com", window="8", keep_sent="1d")
        self.skipped = queue.directory / "skipped"
        self.skipped.write_bytes(bytes(8))

    def flush(self, skip=False):
        """Seconds of its own clock that were not waited for."""
        env = dict(os.environ)
        if skip:
            env.update(LD_PRELOAD=str(build_dir() / "fault/skip-time.so"), SKIP_TIME=str(self.skipped),
                       SKIP_TIME_AFTER="400")
        before = struct.unpack("=q", self.skipped.read_bytes())[0]
        done = run([build_dir() / "cenmail-flush", "-C", self.queue.conf, "--once"], deadline=20, env=env)
        assert done.returncode == 0, done
        return (struct.unpack("=q", self.skipped.read_bytes())[0] - before) / 1000

    def submit(self):
        """Two messages: who -> address."""
        to = {who: form.format(self.serial) for who, form in ADDRESS.items()}
        for sender, whom in (("A", ["A"]), ("B", ["B1", "B2"])):
            self.queue.submit(f"Subject: {sender}{self.serial}\n\nbody\n", "-i", "-f", SENDER[sender],
                              *(to[w] for w in whom))
        return to

    def rows(self):
        """address -> its recipient, with all that was tried."""
        found = {row["address"]: types.SimpleNamespace(**dict(row), tried=[]) for row in self.queue.sql(
            "select r.* from recipient r join message m on m.id=r.message where m.id>? and not notice",
            self.mark)}
        for row in self.queue.sql("select * from attempt where message>? order by id", self.mark):
            if row["address"] in found:
                found[row["address"]].tried.append(row)
        return found

    def again(self):
        """As after a while."""
        self.queue.as_program("update recipient set next_try=0 where state='queued'", "delete from road")

    def arm(self, step, who, kind, to):
        """The trick is played once; connect is no answer of the peer's. The relay to be configured."""
        trick, played = trick_of(step, kind), []
        whom = {"": None, "A": to["A"], "B": SENDER["B"], "B1": to["B1"], "B2": to["B2"]}[who]
        if who == "A" and (step in ("mail", "data") or step == "content" and self.mode != "xonce"):
            whom = SENDER["A"]

        def play(at, at_whom):
            if (at, at_whom) != (step, whom if step != "rset" else None) or played:
                return None
            played.append(at)
            return trick

        self.far.trick = play
        self.played = played

    def run_point(self, step, who, kind):
        self.serial += 1
        self.mark = self.queue.value("select coalesce(max(id),0) from message")
        before, said = len(self.far.taken), len(self.far.said)
        to = self.submit()
        self.arm(step, who, kind, to)
        url = self.far.url(self.secret)
        with refusing(step, kind, self.far) as port:
            self.queue.relay(url.replace(f":{self.far.port}", f":{port}"))
            began = time.monotonic()
            skipped = self.flush(skip=kind == "silence")
            took = time.monotonic() - began
        first, led = self.rows(), next((s for s in self.far.said[said:] if s.startswith("MAIL")), "")
        self.again()
        self.queue.relay(url)
        self.far.trick = lambda *_: None
        self.flush()
        self.again()
        self.flush()
        return types.SimpleNamespace(
            to=to, first=first, led="AB"[SENDER["B"] in led], last=self.rows(), skipped=skipped, took=took, played=bool(self.played),
            taken=self.far.taken[before:],
            notices=self.queue.value("select count(*) from message where id>? and notice", self.mark))


class refusing:
    """The port for the first try: the peer's, or one at which nobody answers, or listens."""

    def __init__(self, step, kind, far):
        self.step, self.kind, self.far, self.open = step, kind, far, []

    def __enter__(self):
        if self.step != "connect" or self.kind == "2yz":
            return self.far.port
        if self.kind == "silence":
            hole, knocking = black_hole()
            self.open = [hole, *knocking]
            return hole.getsockname()[1]
        if self.kind == "end":
            closes = Hostile(trick=lambda *_: Trick(then="close"))
            self.open = [closes]
            return closes.port
        closes = Hostile()  # and nobody else gets its port meanwhile
        closes.close()
        return closes.port

    def __exit__(self, *_):
        for one in self.open:
            one.close()


def victims_of(step, who, kind):
    """Whose answer it was. One that can be none is all of the message's."""
    if step in OPENING:
        return ["A", "B1", "B2"]
    if step == "quit":
        return []
    if kind == "3yz" and who in ("B1", "B2") and (step, who) != ("content", "B2"):
        who = "B"
    return ["B1", "B2"] if who == "B" else [who]


def first_heard(mode, step, who, kind, seen):
    """As first_try; but where the connection had served the other message before, and it ended with
    nothing of this one taken, that is laid at nobody's door: sent again as if nothing had been."""
    code, what = first_try(step, kind)
    if what != "own" or who[0] == seen.led or kind in ("2yz", "3yz", "garbage"):
        return code, what
    if step == "content" and (mode, kind) != ("xonce", "reset"):  # a reset takes the answers before along
        return code, what
    return (code, "excused") if mode == "xonce" else (250, "sent")


def judge(mode, step, who, kind, seen):
    code, what = first_heard(mode, step, who, kind, seen)
    wanted = {seen.to[who] for who in victims_of(step, who, kind)}
    assert seen.played or trick_of(step, kind) is None or step == "connect", "the trick was not played"
    # Nobody is waited for but who is silent, and not longer than RFC 5321 and a message's deadline say.
    assert seen.took < 20 and seen.skipped < 660 and (seen.skipped == 0 or kind == "silence"), vars(seen)
    for address, row in seen.first.items():
        if address in wanted:
            check_victim(row, code, what)
        else:
            check_bystander(mode, row, what, who[0:1] == "B" and address.startswith("b"))
        if row.state == "queued" and row.tried:
            assert row.next_try <= row.tried[-1]["at"] + RETRY_MAX, row
    for address, row in seen.last.items():
        failed = what == "never" and address in wanted
        assert row.state == ("failed" if failed else "sent"), (address, row)
        check_taken(mode, row, seen.taken, failed)
    assert seen.notices == (what == "never")


def check_victim(row, code, what):
    """After the flusher that met the trick."""
    first = row.tried[0]
    assert first["code"] == code, (code, what, [dict(t) for t in row.tried])
    assert (row.state == "failed") == (what == "never"), row
    if what == "road":
        assert (row.tries, row.state, first["maybe_sent"]) == (0, "queued", 0), row
    elif what == "later":
        assert (row.tries, row.state) == (1, "queued") and row.next_try >= first["at"] + 1000, row
    elif what == "own":
        assert row.tries >= 1, row


def check_bystander(mode, row, what, shares):
    """It may have been on the connection that ended, or have waited for the road that is down: but no
    answer is taken for its own, and a fault that it only waited behind is not charged. shares: it is of
    the victim's message."""
    assert row.state in ("queued", "sent"), row
    charged = row.tries > (row.state == "sent")
    if any(one["code"] not in (0, 250) for one in row.tried):
        assert what == "own" and not charged, [dict(t) for t in row.tried]
    assert mode != "step" or shares or not charged, row


def check_taken(mode, row, taken, failed):
    """What the peer took for him: his own message, from its sender; and not twice uncounted."""
    mine = [one for one in taken if one.recipient == row.address]
    letter = "A" if row.address.startswith("a") else "B"
    assert all(one.sender == SENDER[letter] for one in mine), mine
    assert all(b"Subject: " + letter.encode() in one.content for one in mine), mine
    if failed:
        assert not mine
        return
    doubts = sum(one["maybe_sent"] for one in row.tried)
    assert 1 <= len(mine) <= (1 if mode == "xonce" else 1 + doubts), (mine, [dict(t) for t in row.tried])


def sample(mode):
    """Some of the mode's points, or all."""
    mine = [p for p in POINTS if p[0] == mode and not (SAN and p[3] == "silence")]
    tried = mine if SOAK else sorted(random.Random(SEED).sample(mine, SOME // len(MODES)), key=mine.index)
    print(f"{mode}: seed {SEED}: {len(tried)} points tried of {len(mine)}; {len(POINTS)} in all modes")
    return tried


@pytest.fixture
def bench(queue, certs):
    made = []

    def make(mode):
        made.append(Bench(queue, certs.good, mode))
        return made[-1]

    yield make
    for one in made:
        one.far.close()


@pytest.mark.parametrize("mode", MODES)
def test_each_step_and_each_answer(bench, mode):
    at, wrong = bench(mode), []
    for point in sample(mode):
        try:
            judge(*point, at.run_point(*point[1:]))
        except (AssertionError, subprocess.TimeoutExpired) as why:  # the others show more
            wrong.append(f"{point}: {why}")
    assert not wrong, "\n".join([f"seed {SEED}", *wrong])
    at.queue.whole()


@pytest.mark.parametrize("real, told", [
    (("mail", "A", "4yz"), ("mail", "A", "5yz")), (("content", "B", "end"), ("content", "B", "2yz")),
    (("rcpt", "B1", "5yz"), ("rcpt", "B2", "5yz")), (("greeting", "", "421"), ("mail", "A", "421"))])
def test_the_check_can_fail(bench, real, told):
    """The same outcome is wrong where another answer was given."""
    at = bench("step")
    seen = at.run_point(*real)
    judge("step", *real, seen)
    with pytest.raises(AssertionError):
        judge("step", *told, seen)


def test_a_message_that_comes_twice_is_seen(bench):
    at = bench("step")
    seen = at.run_point("quit", "", "2yz")
    seen.taken = list(itertools.chain(seen.taken, seen.taken))
    with pytest.raises(AssertionError):
        judge("step", "quit", "", "2yz", seen)
