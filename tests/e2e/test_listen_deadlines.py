"""How long the listener waits, for clients, for SES, and for its own end: real processes whose clock
runs many times as fast (tests/tools/preload/fast-clock.c)."""

import os
import signal
import socket
import threading
import time

import pytest
from dialogue import BODY, Dialogue, journal, mail, token
from harness import build_dir

FAST = 60  # a minute is a second


@pytest.fixture
def fast(listener, ses):
    """fast(kind, times, **settings): a listener whose clock runs so fast; SES's does not."""
    if os.environ.get("CENMAIL_SAN"):
        pytest.skip("a sanitizer has to be loaded first")

    def start(kind="plain", times=FAST, **settings):
        far = ses()
        near = listener(far.url, kinds=(kind,), password=None, env={
            **os.environ, "LD_PRELOAD": str(build_dir() / "fault/fast-clock.so"),
            "CENMAIL_FAST": str(times)}, **settings)
        near.ses = far
        return near

    return start


def seconds(since, times=FAST):
    """By the listener's clock."""
    return (time.monotonic() - since) * times


# --- the end ---

def test_its_end_waits_half_a_minute_for_ses_and_no_longer(fast):
    """SES stalls at the final dot of one message: the process goes all the same. What was answered was
    told; what was not is in doubt, comes again, and is counted."""
    near = fast(upstream_connections="2")
    near.ses.faults("dot <slow@*> 1 stall 100")
    slow, quick = ("b@example.org", token()), ("c@example.org", token())
    stuck, client = Dialogue(near.port), Dialogue(near.port)
    for one in (stuck, client):
        one.hello()
    stuck.send(*mail(BODY, slow, sender="slow@example.com"))
    near.ses.wait(1)
    client.send("MAIL FROM:<a@example.com>")
    assert client.reply()[0] == 250
    began = time.monotonic()
    near.program.signal(signal.SIGTERM)
    client.send(f"RCPT TO:<{quick[0]}> XONCE={quick[1]}", f"BDAT {len(BODY)} LAST", BODY.encode())
    assert [code for code, _ in client.replies(3)] == [250, 250, 421]
    assert near.program.wait() == 0
    assert 28 <= seconds(began) < 28 + 20 * FAST
    assert "stopped with transactions under way" in near.program.log
    assert [code for code, _ in stuck.replies(2)] == [250, 250] and stuck.ended()
    assert journal(near, "select recipient, state, doubts from once order by 1") == [
        (slow[0], "sending", 0), (quick[0], "sent", 0)]
    near.ses.faults()
    near.start()
    again = Dialogue(near.port)
    again.hello()
    for one in (slow, quick):
        again.send(*mail(BODY, one))
        assert again.replies(3)[2][0] == 250
    assert len(near.ses.messages) == 3
    assert journal(near, "select recipient, state, doubts from once order by 1") == [
        (slow[0], "sent", 1), (quick[0], "sent", 0)]


# --- clients ---

@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"])
def test_a_handshake_has_a_minute(fast, said):
    """E4, E11"""
    near = fast("tls")
    sock = socket.create_connection(("127.0.0.1", near.port), timeout=30)
    began = time.monotonic()
    sock.sendall(said)
    assert sock.recv(100) == b""
    assert 55 <= seconds(began) < 110
    near.program.line(lambda line: "failed: timed out" in line)
    sock.close()


@pytest.mark.parametrize("said, limit", [([], 120), (["LHLO x"], 300),
                                         (["LHLO x", "MAIL FROM:<a@example.com>"], 300)])
def test_a_client_that_says_nothing_is_sent_away(fast, said, limit):
    """E4"""
    near = fast()
    client = Dialogue(near.port)
    for line in said:
        assert client.say(line)[0] == 250
    began = time.monotonic()
    assert client.reply() == (421, "4.4.2 cenmail: too slow class=road")
    assert limit - 10 <= seconds(began) < limit + 60
    assert client.ended()


def test_drop_by_drop_is_too_slow(fast):
    """E4: each octet comes soon enough, and all of them would take for ever."""
    near = fast()
    client, stop = Dialogue(near.port), threading.Event()
    client.hello()
    client.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "BDAT 100000 LAST")
    assert [code for code, _ in client.replies(2)] == [250, 250]
    began = time.monotonic()

    def drip():
        while not stop.wait(0.05):
            try:
                client.send(b"x")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert client.reply() == (421, "4.4.2 cenmail: too slow class=road")
        assert 115 <= seconds(began) < 200
    finally:
        stop.set()
        dripping.join()
    assert not near.ses.messages


# --- SES ---

def test_the_rate_creeps_back_within_a_minute(fast):
    """SES throttles once: half the rate, which successes raise again. By the time from one message at
    SES to the next: at half the rate 16 would always take a second and more."""
    near = fast(rate="0.5/s")
    near.ses.faults("dot 1 454 Throttling failure: Maximum sending rate exceeded")
    client = Dialogue(near.port)
    client.hello()
    client.send(*[line for _ in range(80) for line in mail(BODY, ("b@example.org", token()))])
    assert {code for code, _ in client.replies(240)} == {250}
    at = [m["time"] for m in near.ses.messages]
    quickest = min(at[i] - at[i - 16] for i in range(48, len(at)))
    print(f"16 took {quickest} ms at best, {at[16] - at[0]} ms at first")
    assert quickest < 800


def test_ses_that_never_greets_is_unreachable(fast):
    near = fast()
    near.ses.faults("greeting * stall 100")
    client = Dialogue(near.port)
    client.hello()
    began = time.monotonic()
    client.send(*mail(BODY, ("b@example.org", token())))
    code, text = client.replies(3)[2]
    assert code == 451 and text.startswith("4.4.1 cenmail: SES unreachable"), text
    assert 50 <= seconds(began) < 110 and "class=road" in text


def test_ses_that_never_answers_to_the_dot_leaves_a_doubt(fast):
    """F5: SES slower than our patience, of ten minutes: in doubt, and counted when it is sent again."""
    near = fast(times=300)
    near.ses.faults("dot 1 stall 100")
    client, one = Dialogue(near.port), ("b@example.org", token())
    client.hello()
    began = time.monotonic()
    client.send(*mail(BODY, one))
    code, text = client.replies(3)[2]
    assert code == 451 and text.startswith("4.4.2 cenmail: in doubt: no answer of SES"), text
    assert 590 <= seconds(began, 300) < 1200
    assert journal(near, "select state, doubts from in_doubt") == [("sending", 0)]
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, one))
    assert client.replies(3)[2][0] == 250
    assert journal(near, "select state, doubts from in_doubt") == [("sent", 1)]
