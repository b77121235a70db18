"""The listener's end, and clients that mean harm, or that break."""

import contextlib
import os
import pathlib
import signal
import socket
import struct
import threading
import time

import pytest
from dialogue import BODY, Dialogue, journal, mail, sent_once, token


# --- stopping ---

def test_stop_cuts_nothing_and_begins_nothing(plain, wait_for):
    near = plain()
    near.ses.faults("dot 1 stall 3")
    busy, halfway, idle = [Dialogue(near.port) for _ in range(3)]
    for client in (busy, halfway, idle):
        client.hello()
    busy.send(*mail(BODY, ("b@example.org", token())))
    assert halfway.say("MAIL FROM:<a@example.com>")[0] == 250
    near.ses.wait(1)
    near.program.signal(signal.SIGTERM)
    assert idle.reply() == (421, "4.3.2 cenmail: stopping class=road") and idle.ended()
    halfway.send("RCPT TO:<c@example.org>", f"BDAT {len(BODY)} LAST", BODY.encode(),
                 "MAIL FROM:<a@example.com>")
    assert [code for code, _ in halfway.replies(3)] == [250, 250, 421]
    assert [code for code, _ in busy.replies(4)] == [250, 250, 250, 421]
    assert near.program.wait() == 0
    sent_once(near, 2)


def test_half_a_handshake_does_not_delay_the_stop(listener):
    near = listener("smtp://127.0.0.1:9", kinds=("tls",), password=None)
    sock = socket.create_connection(("127.0.0.1", near.port))
    sock.send(b"\x16\x03\x01")
    near.program.line(lambda line: "connect from" in line)
    near.program.signal(signal.SIGTERM)
    began = time.monotonic()
    assert near.program.wait() == 0
    assert time.monotonic() - began < 15 and "under way" not in near.program.log
    sock.close()


# --- hostile clients ---

def test_outside_allow_sees_no_more_than_a_refusal(listener, ses):
    """E1"""
    far = ses()
    near = listener(far.url, kinds=("plain", "tls"), password=None, allow="192.0.2.0/24")
    client = Dialogue(near.ports["plain"])
    assert client.greeting[0] == 554 and client.ended()
    with pytest.raises((ConnectionError, OSError, EOFError)):
        Dialogue(near.ports["tls"], "tls")


def test_sessions_max(plain, wait_for):
    near = plain(sessions_max="3")
    held = [Dialogue(near.port) for _ in range(3)]
    assert Dialogue(near.port).greeting == (
        421, "4.3.2 cenmail: too many sessions class=road retry=30")
    held.pop().close()
    wait_for(lambda: Dialogue(near.port).greeting[0] == 220)


def test_many_connects_and_resets_leave_it_well(listener, ses, wait_for):
    """E5, E11"""
    far = ses()
    near = listener(far.url, kinds=("plain", "tls"), password=None, sessions_max="50")
    for round in range(300):
        sock = socket.create_connection(("127.0.0.1", near.ports["tls" if round % 2 else "plain"]))
        sock.send([b"", b"\x16\x03\x01\x02\x00\x01\x00", b"EHLO x\r\nGARBAGE\r\n\0\0\n\n",
                   b"\xff" * 3000, b"LHLO x\r\nMAIL FROM:<a@b.example>\r\n" * 20][round % 5])
        if round % 3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def well():
        try:
            client = Dialogue(near.ports["plain"])
        except EOFError:
            return False
        if client.greeting[0] != 220:
            return False
        client.hello()
        client.send(*mail(BODY, "b@example.org"))
        return client.replies(3)[2][0] == 250

    wait_for(well)
    assert near.stop() == 0


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_while_answers_are_owed(plain, wait_for, reset):
    """E13"""
    near = plain()
    near.ses.faults("dot 1 stall 1")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", token())), *mail(BODY, ("c@example.org", token())))
    near.ses.wait(2)
    if reset:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_for(lambda: journal(near, "select count(*) from once where state='sent'") == [(2,)])
    assert near.stop() == 0


def test_a_client_that_goes_under_tls(listener, ses, wait_for):
    """E13: it ends TLS as it should and closes; what is written then, the end of TLS too, finds nobody,
    and that is no end of the process (SIGPIPE)."""
    far = ses()
    far.faults("dot * stall 0.3")
    near = listener(far.url, kinds=("tls",), password=None, upstream_connections="1")
    client = Dialogue(near.port, "tls")
    client.hello()
    client.send(*mail(BODY, ("b@example.org", token())), *mail(BODY, ("c@example.org", token())))
    client.sock.settimeout(0)
    with contextlib.suppress(OSError):
        client.sock.unwrap()
    client.close()
    near.program.line(lambda line: "disconnect from" in line)
    wait_for(lambda: journal(near, "select count(*) from once where state='sent'") == [(2,)])
    assert near.stop() == 0


def test_half_closed_clients_get_their_answers(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    client.sock.shutdown(socket.SHUT_WR)
    assert [code for code, _ in client.replies(3)] == [250, 250, 250]
    assert client.ended()


def test_content_that_is_cut_is_not_taken(plain, wait_for):
    near = plain()
    for size in (0, 5, len(BODY)):
        client = Dialogue(near.port)
        client.hello()
        client.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>",
                    f"BDAT {len(BODY) + 1} LAST", BODY.encode()[:size])
        client.replies(2)
        client.close()
    wait_for(lambda: near.program.log.count("disconnect from") >= 3)
    sent_once(near, 0)


def test_large_messages_leave_memory_flat(plain):
    near = plain()
    part = (b"x" * 76 + b"\r\n") * 1000
    content = BODY.encode() + part * 320  # 25 MB
    clients = [Dialogue(near.port, deadline=120) for _ in range(4)]

    def bring(client):
        client.hello()
        client.send(*mail(content, "b@example.org"))
        assert client.replies(3)[2][0] == 250

    threads = [threading.Thread(target=bring, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(m["size"] > len(content) for m in near.ses.messages)
    status = pathlib.Path(f"/proc/{near.program.pid}/status").read_text()
    anonymous = int(status.split("RssAnon:")[1].split()[0])
    if "asan" not in os.environ.get("CENMAIL_BUILD", "") and \
            "tsan" not in os.environ.get("CENMAIL_BUILD", ""):
        assert anonymous < 30000, status  # KB: content is in files that are mapped, not in memory


@pytest.mark.parametrize("count, octets, most", [(300, 100, 128), (100, 1 << 20, 64)])
def test_more_than_is_taken_in_flight_waits(plain, wait_for, count, octets, most):
    """A client without any window: beyond a session's ceiling, in messages or in octets, it is not read
    from, and nothing is refused."""
    near = plain()
    near.ses.faults("dot * stall 2")
    client = Dialogue(near.port, deadline=120)
    client.hello()
    content = BODY + ("x" * 98 + "\r\n") * (octets // 100)
    lines = [line for i in range(count) for line in mail(content, (f"b{i}@example.org", token()))]
    feeder = threading.Thread(target=client.send, args=lines)
    feeder.start()

    def taken():
        return near.program.log.count(" from=<")

    wait_for(lambda: taken() >= most - 1)
    near.ses.wait(11)  # some were answered meanwhile, and as many more are taken
    assert taken() <= most + len(near.ses.messages)
    near.ses.faults()
    assert {code for code, _ in client.replies(3 * count)} == {250}
    feeder.join()
    sent_once(near, count)
