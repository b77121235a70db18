"""Cases D4, D5, D6, D8, D9, D10, D12 and D13 from end to end: the flusher against servers that break the
rules, in their own ways. (D1, D3 and D7 at each step: test_dialogue_matrix.py.)"""

import os
import subprocess
import sys

import pytest
from harness import build_dir
from hostile import PASSWORD, USER, Hostile, Trick
from parts import write_secret

MAIL = "To: {}\nFrom: {}\nSubject: {}\n\nbody\n"
A, B = "a@example.net", "b@example.net"


@pytest.fixture
def far(queue):
    """far(kind, trick, **more): a peer, and the queue's only relay."""
    made = []

    def make(kind="step", trick=None, **more):
        made.append(Hostile(kind, trick=trick, **more))
        secret = write_secret(queue.directory / "secret", f"{USER}:{PASSWORD}\n")
        queue.relay(made[-1].url(secret))
        return made[-1]

    yield make
    for one in made:
        one.close()


def put(queue, to=A, sender="s@example.com", subject="s"):
    queue.submit(MAIL.format(to, sender, subject), "-t", "-i", "-f", sender)


def once(step, say, who=None, **more):
    """A trick that is played at that step."""
    return lambda at, whom: Trick(say, **more) if at == step and who in (None, whom) else None


def row(queue, address=A):
    found, = queue.sql("select * from recipient where address=?", address)
    return found


def road_fault(queue):
    """Kept, not charged with an answer, nobody told."""
    assert queue.states() == {"queued": 1} and row(queue)["last_code"] in (0, 421)
    assert queue.value("select count(*) from message") == 1


# --- D4: endless and malformed replies ---


# What a process has had at most is counted from its fork on: of a small one.
SMALL = """
import resource, subprocess, sys
memory = int(sys.argv[1])
def limit():
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
done = subprocess.run(sys.argv[3:], stdout=sys.stderr, timeout=float(sys.argv[2]), preexec_fn=limit)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def flush_in(queue, memory, deadline=40):
    """The flusher, with no more memory than that; the most it had, in KB."""
    done = subprocess.run([sys.executable, "-c", SMALL, str(memory or 0), str(deadline),
                           build_dir() / "cenmail-flush", "-C", queue.conf, "--once"],
                          capture_output=True, timeout=deadline + 20)
    assert done.returncode == 0, done
    return int(done.stdout)


REPLIES = {
    "endless": b"250-and on\r\n" * 400_000,
    "a line of 1 MiB": b"250 " + b"x" * (1 << 20) + b"\r\n",
    "NUL": b"250 o\0k\r\n",
    "codes that differ": b"250-one\r\n550 two\r\n",
    "bare LF": b"250 ok\n",
    "bare CR": b"250 ok\r250 ok\r\n",
    "no code": b"OK\r\n",
    "a code of two digits": b"25 ok\r\n",
    "a code of none": b"999 ok\r\n",
}


AT = [(step, reply) for step in ("ehlo1", "content") for reply in REPLIES] + [
    (step, reply) for step in ("greeting", "mail") for reply in ("endless", "bare LF")]


@pytest.mark.parametrize("step, reply", AT)
def test_d4_a_reply_that_is_none(queue, far, step, reply):
    """D4: bounded memory, and a fault of the road; what came with the content is in doubt."""
    peer = far("step", once(step, REPLIES[reply], takes=True, then="silence"
                            if reply == "endless" else ""))
    put(queue)
    limit = None if os.environ.get("CENMAIL_SAN") else 400 << 20
    used = flush_in(queue, limit)
    road_fault(queue)
    assert limit is None or used < 40_000, used
    assert [bool(r["maybe_sent"]) for r in queue.attempts] == [step == "content"]
    assert len(peer.taken) == (step == "content")


# --- D5: all refused, and yet 354 ---


@pytest.mark.parametrize("kind", ["group", "step"])
def test_d5_nobody_was_accepted_and_yet_354(queue, far, kind):
    """D5: a lone dot, and its 250 delivers nobody. In lock step DATA is not even said."""
    peer = far(kind, once("rcpt", b"550 5.1.1 no\r\n"))
    peer.empty = []
    put(queue, f"{A}, {B}")
    queue.flush()
    assert queue.states() == {"failed": 2} and not peer.taken
    assert peer.empty == ([b""] if kind == "group" else []), "a lone dot"
    put(queue, "c@example.net")
    peer.trick = lambda *_: None
    assert queue.flush().sent == 1 and peer.count("c@example.net") == 1


# --- D6: LMTP, one answer for each ---


@pytest.mark.parametrize("heard", range(5))
def test_d6_some_of_the_answers(queue, far, heard):
    """D6: k of n answers, 2yz, 4yz and 5yz mixed, then the end: each his own, the rest tried again, and
    by their tokens not taken twice."""
    codes = [b"250 2.0.0 Ok 1\r\n", b"452 4.2.2 full\r\n", b"550 5.1.1 no\r\n", b"250 2.0.0 Ok 2\r\n"]
    to = [f"r{i}@example.net" for i in range(4)]
    refused = {to[1], to[2]}

    def trick(step, who):
        if step != "content" or who not in to:
            return None
        i = to.index(who)
        if i >= heard:
            return Trick(then="close", takes=who not in refused)
        return Trick(codes[i], takes=codes[i].startswith(b"2"))

    peer = far("xonce", trick)
    queue.submit("Subject: s\nFrom: s@example.com\n\nbody\n", "-i", "-f", "s@example.com", *to)
    queue.flush("--once")
    tried = {}
    for one in queue.sql("select * from attempt order by id"):
        tried.setdefault(one["address"], one["code"])
    for i, address in enumerate(to):
        assert tried[address] == (int(codes[i][:3]) if i < heard else 0), (address, tried)
    peer.trick = lambda *_: None
    queue.as_program("update recipient set next_try=0 where state='queued'", "delete from road")
    queue.flush("--once")
    assert {r["address"]: r["state"] for r in queue.sql("select * from recipient")} == {
        a: "failed" if a == to[2] and heard > 2 else "sent" for a in to}
    assert all(peer.count(a) == (a != to[2] or heard <= 2) for a in to), peer.taken


# --- D8: who it is ---


@pytest.mark.parametrize("known_by", ["another pin", "expired", "wrong name", "another ca", "TLS 1.0"])
def test_d8_nothing_is_said_to_who_is_not_the_relay(queue, far, certs, known_by):
    """D8: neither a password nor mail; behind STARTTLS the peer has not one command. (Each certificate
    that is wrong, a NUL in the name among them: test_wire_tls.c.)"""
    pin = {"another pin": f"pin={certs.other.pin}", "another ca": f"ca={certs.other.cert}",
           "wrong name": f"ca={certs.wrong_name.cert}"}
    shown = {"expired": certs.expired, "wrong name": certs.wrong_name}.get(known_by, certs.good)
    peer = far("step", certificate=shown)
    peer.old_tls = known_by == "TLS 1.0"
    right = queue.relays[0]
    queue.relay(right.replace(f"pin={shown.pin}", pin.get(known_by, f"pin={shown.pin}")))
    put(queue)
    queue.flush()
    road_fault(queue)
    assert [s.split()[0] for s in peer.said] == ["EHLO", "STARTTLS"] and not peer.taken
    peer.certificate, peer.old_tls = certs.good, False
    queue.relay(right.replace(shown.pin, certs.good.pin))
    queue.as_program("delete from road")
    assert queue.flush().sent == 1 and any(s.startswith("AUTH") for s in peer.said)


# --- D9: octets before TLS ---


@pytest.mark.parametrize("more", [b"250 2.0.0 injected\r\n", b"250-x\r\n250 XONCE a 1\r\n", b"x"])
def test_d9_octets_after_the_answer_to_starttls(queue, far, certs, more):
    """D9: who can write in the clear must not be heard under TLS (RFC 3207): the end, before AUTH."""
    peer = far("step", once("starttls", b"220 2.0.0 go\r\n" + more, takes=True),
               certificate=certs.good)
    put(queue)
    queue.flush()
    road_fault(queue)
    assert "STARTTLS" in row(queue)["last_reply"]
    assert peer.said[-1] == "STARTTLS" and not any(s.startswith("AUTH") for s in peer.said)
    peer.trick = lambda *_: None
    queue.as_program("delete from road")
    assert queue.flush().sent == 1


# --- D10: what was offered before is not offered now ---


def test_d10_the_offers_shrink_after_a_reconnect(queue, far):
    """D10: PIPELINING, CHUNKING and 8BITMIME are gone and SIZE is smaller: each connection by its own
    EHLO."""
    peer = far("bdat", offers=["PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000"])
    text = MAIL.format(A, "s@example.com", "1").replace("body", "8-bit: ü")
    queue.submit(text)
    queue.flush()
    assert any("BODY=8BITMIME" in s and "SIZE=" in s for s in peer.said)
    assert any(s.startswith("BDAT") for s in peer.said)
    peer.offers, peer.said[:] = ["SIZE 2000"], []
    queue.submit(text.replace(A, B))
    queue.submit(MAIL.format("c@example.net", "s@example.com", "3") + "x" * 70 + ("\n" + "y" * 70) * 40)
    put(queue, "d@example.net")
    assert queue.flush().connections == 1
    assert {r["address"]: (r["state"], r["last_code"]) for r in queue.sql("select * from recipient where id>1")} == {
        B: ("sent", 250), "c@example.net": ("failed", 552), "d@example.net": ("sent", 250)}
    # In lock step the answer ends a message, and RSET is not needed.
    assert "DATA" in peer.said and not any(
        "8BITMIME" in s or s.startswith(("BDAT", "RSET")) for s in peer.said)
    assert [t.content.count("ü".encode()) for t in peer.taken if t.recipient == B] == [1]


# --- D12: each of SES's answers, as it comes ---

SES = [  # (step, answer, state, code, whether the road is closed for a while)
    ("greeting", "421 Too many concurrent SMTP connections", "queued", 421, True),
    ("mail", "451 Temporary service failure", "queued", 451, False),
    ("content", "451 4.4.2 Timeout waiting for data from client.", "queued", 451, False),
    ("content", "454 Throttling failure: Daily message quota exceeded", "queued", 454, True),
    ("content", "454 Throttling failure: Maximum sending rate exceeded", "paced", 454, True),
    ("auth", "454 Temporary authentication failure", "queued", 454, True),
    ("mail", "454 Temporary service failure", "queued", 454, True),
    ("mail", "530 Authentication required", "queued", 530, True),
    ("mail", "530 Must issue a STARTTLS command first", "queued", 530, True),
    ("auth", "535 Authentication Credentials Invalid", "queued", 535, True),
    ("auth", "535 Account not subscribed to SES", "queued", 535, True),
    ("content", "552 Message is too long.", "failed", 552, False),
    ("mail", "553 <s@example.com> Invalid email address", "failed", 553, False),
    ("rcpt", f"553 <{A}> address unknown", "failed", 553, False),
    ("content", "554 Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform "
     "`ses:SendRawEmail' on resource `arn:aws:ses:ap-northeast-1:1:identity/example.com'",
     "queued", 554, True),
    ("content", "554 Message rejected: Email address is not verified. The following identities failed "
     "the check in region AP-NORTHEAST-1: s@example.com", "held", 554, False),
    ("content", "554 Message rejected: Email address is not verified. The following identities failed "
     f"the check in region AP-NORTHEAST-1: {A}", "failed", 554, False),
    ("content", "554 Message rejected: Sending paused for this account. For more information, please "
     "check the inbox of the email address associated with your AWS account.", "queued", 554, True),
    ("mail", "501 Invalid MAIL FROM address provided", "failed", 501, False),
    ("content", "554 Transaction failed: Recipient count exceeds 50.", "failed", 554, False),
    ("content", "554 Transaction failed: Duplicate header 'Date'.", "failed", 554, False),
    ("content", "554 Transaction failed: Missing final '@domain'", "failed", 554, False),
    ("content", "554 MAIL FROM domain not verified: DNS setup for MAIL FROM domain is invalid.",
     "held", 554, False),
]


@pytest.mark.parametrize("step, says, state, code, closed", SES, ids=[s[1][:44] for s in SES])
def test_d12_ses_itself(queue, far, certs, step, says, state, code, closed):
    """D12: straight to the flusher, what each means for the message, for its sender, for those behind
    it, and for the road."""
    played = []

    def trick(at, who):
        mine = at in ("greeting", "auth") or who in ("s@example.com", A)
        if at != step or not mine or played:
            return None
        played.append(at)
        return Trick(says.encode() + b"\r\n")

    peer = far("step", trick, certificate=certs.good)
    queue.write(bounce_sender="bounces@example.com")
    put(queue)
    put(queue, B)  # the same flow: behind it
    queue.flush("--once")
    seen, first = row(queue), queue.sql("select * from attempt where address=? order by id", A)[0]
    assert (first["code"], first["maybe_sent"]) == (code, 0)
    assert queue.value("select count(*) from message where notice") == (state == "failed")
    if state == "paced":  # more slowly, and perhaps in this run; not charged
        assert seen["tries"] == (seen["state"] == "sent") == peer.count(A)
        return
    assert seen["state"] == state and not peer.count(A), dict(seen)
    charged = not closed or says.startswith(("530", "454 Temporary service"))
    assert seen["tries"] == charged, dict(seen)
    assert row(queue, B)["state"] == ("queued" if closed else "sent")
    assert (queue.value("select count(*) from road where resume_at>0") > 0) == closed


# --- D13: Exim ---


def two_in_order(queue):
    """Of two senders; in one flow, as the turn that flows take is by chance."""
    put(queue, A, "first@example.com", "one")
    put(queue, B, "second@example.com", "two")
    queue.as_program("update recipient set flow=1, next_try=id")


@pytest.mark.parametrize("kind", ["bdat", "group"])
def test_d13_a_peer_that_answers_as_exim_does(queue, far, kind):
    """D13: after a message whose only recipient was refused the next one is not taken with the first
    one's sender: RSET comes before it. A peer whose MAIL stays open says 503 to a second MAIL."""
    peer = far(kind, once("rcpt", b"550 5.1.1 unrouteable\r\n", who=A))
    queue.write(bounce_sender="bounces@example.com")
    two_in_order(queue)
    queue.flush()
    assert (row(queue)["state"], row(queue, B)["state"]) == ("failed", "sent")
    assert [s for s in peer.said if s.startswith("RCPT")][:2] == [f"RCPT TO:<{A}>", f"RCPT TO:<{B}>"]
    mine = [t for t in peer.taken if t.recipient == B]
    assert [t.sender for t in mine] == ["second@example.com"] and b"Subject: two" in mine[0].content
    assert queue.value("select count(*) from message where notice") == 1
    mails = [i for i, s in enumerate(peer.said) if s.startswith("MAIL")]
    assert all("RSET" in peer.said[a:b] for a, b in zip(mails, mails[1:]) if b - a < 4)


@pytest.mark.parametrize("kind", ["bdat", "group"])
def test_d13_a_peer_that_ignores_rset(queue, far, kind):
    """D13, the other way about: it says 503 to the second MAIL, and yet 250 to its RCPT and its content,
    which it has taken under the first one's sender. That is no delivery, and no bounce."""
    peer = far(kind, once("rcpt", b"550 5.1.1 unrouteable\r\n", who=A))
    peer.ignores_rset = True
    queue.write(bounce_sender="bounces@example.com")
    two_in_order(queue)
    queue.flush("--once")
    assert row(queue)["state"] == "failed"
    assert [s for s in peer.said if s.startswith("RCPT")][:2] == [f"RCPT TO:<{A}>", f"RCPT TO:<{B}>"]
    first, = queue.sql("select code, maybe_sent from attempt where address=? order by id limit 1", B)
    assert (first["code"], first["maybe_sent"]) == (250, 0), "to its RCPT, where that can't be"
    peer.ignores_rset = False
    queue.as_program("update recipient set next_try=0 where state='queued'", "delete from road")
    queue.flush("--once")
    assert row(queue, B)["state"] == "sent"
    assert [t.sender for t in peer.taken if t.recipient == B] == ["second@example.com"]
    assert queue.value("select count(*) from message where notice") == 1
