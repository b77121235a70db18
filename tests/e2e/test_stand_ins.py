"""The tools that the other tests lean on do what they say: the stand-in for SES, the long link.
Python's own smtplib is the client."""

import hashlib
import json
import smtplib
import socket
import ssl
import time

import pytest

SENDER, RCPT = "app@example.com", "kunde@example.net"
MAIL = b"From: app@example.com\r\nTo: kunde@example.net\r\nSubject: x\r\n\r\n"


def connect(ses, login=True):
    trust = ssl.create_default_context(cafile=str(ses.certificate.cert))
    if ses.tls == "wrapped":
        smtp = smtplib.SMTP_SSL("localhost", ses.port, timeout=20, context=trust)
    else:
        smtp = smtplib.SMTP("localhost", ses.port, timeout=20)
        if ses.tls == "starttls":
            smtp.starttls(context=trust)
    if login and ses.user:
        smtp.login(ses.user, ses.password)
    return smtp


def refusal(call, *args):
    """The reply of a call that the server refuses."""
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        call(*args)
    return f"{caught.value.smtp_code} {caught.value.smtp_error.decode()}"


def data_reply(smtp, content, recipients=(RCPT,), sender=SENDER):
    """The reply to the final dot."""
    assert smtp.mail(sender)[0] == 250
    for one in recipients:
        assert smtp.rcpt(one)[0] == 250
    code, text = smtp.data(content)
    return f"{code} {text.decode()}"


@pytest.mark.parametrize("tls", ["starttls", "wrapped", "none"])
def test_a_message_is_taken_and_recorded(ses, tls):
    far = ses(tls=tls)
    content = MAIL + b".\r\n..two\r\nJ\xe4 \xe6\x97\xa5\r\n"
    with connect(far) as smtp:
        for _ in range(3):
            assert data_reply(smtp, content).startswith("250 Ok 0107")
    assert len({m["id"] for m in far.messages}) == 3
    for message in far.messages:
        assert message["recipients"] == [RCPT] and message["sender"] == SENDER
        assert message["sha256"] == hashlib.sha256(content).hexdigest()
        assert message["size"] == len(content) and message["bare"] == 0
        assert message["tls"] == (tls != "none")
        assert far.content(message) == content
    counters = far.stop()
    assert (counters["messages"], counters["connections"], counters["pipelined"]) == (3, 1, 0)


def test_ehlo_is_the_same_before_and_after_starttls(ses):
    far = ses()
    with connect(far, login=False) as smtp:
        smtp.ehlo()
        after = smtp.ehlo_resp
    with smtplib.SMTP("localhost", far.port, timeout=20) as smtp:
        smtp.ehlo()
        assert smtp.ehlo_resp == after
        assert after.decode().splitlines() == [
            "email-smtp.amazonaws.com", "8BITMIME", "STARTTLS", "AUTH PLAIN LOGIN", "Ok"]
        assert smtp.mail(SENDER)[0] == 530
        assert smtp.docmd("AUTH", "PLAIN AAA=")[0] == 530


def test_who_is_not_known_is_refused(ses):
    far = ses()
    with connect(far, login=False) as smtp:
        smtp.ehlo()
        assert smtp.mail(SENDER) == (530, b"Authentication required")
        smtp.user, smtp.password = far.user, "wrong"
        assert refusal(smtp.auth, "PLAIN", smtp.auth_plain).startswith("535 ")
        assert smtp.docmd("AUTH", "PLAIN") == (334, b"Ok")
        assert smtp.docmd("x")[0] == 535
        smtp.password = far.password
        assert smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False)[0] == 235
    assert far.stop()["auth_refused"] == 2


def test_verdicts_at_the_final_dot(ses):
    far = ses(unverified=["*@unknown.example"], unverified_rcpt=["*@sandbox.example"], size=3000)
    with connect(far) as smtp:
        many = [f"u{i}@example.net" for i in range(51)]
        assert data_reply(smtp, MAIL, many) == "554 Transaction failed: Recipient count exceeds 50."
        assert data_reply(smtp, MAIL, many[:50]).startswith("250 ")
        assert data_reply(smtp, b"Subject: y\r\n" + MAIL) == \
            "554 Transaction failed: Duplicate header 'Subject'."
        for twice in (b"DKIM-Signature: v=1\r\n", b"content-language: zh\r\n", b"Message-ID: <1@x>\r\n"):
            name = twice.split(b":")[0].decode()
            assert data_reply(smtp, twice + MAIL).startswith("250 ")
            assert data_reply(smtp, twice * 2 + MAIL) == \
                f"554 Transaction failed: Duplicate header '{name}'."
        assert data_reply(smtp, b"X-Y: 1\r\nX-Y: 2\r\n" + MAIL).startswith("250 ")
        assert data_reply(smtp, MAIL.replace(b"From: app@example.com", b"From: root")) == \
            "554 Transaction failed: Missing final '@domain'"
        assert data_reply(smtp, MAIL.replace(b"From:", b"X-From:")).startswith("554 ")
        assert data_reply(smtp, MAIL + b"x" * 4000) == "552 Message is too long."
        text = data_reply(smtp, MAIL, sender="me@unknown.example")
        assert text.startswith("554 Message rejected: Email address is not verified. The ")
        assert text.endswith("AP-NORTHEAST-1: me@unknown.example")
        assert data_reply(smtp, MAIL, ["a@sandbox.example"]).endswith(": a@sandbox.example")
        assert smtp.docmd("MAIL", "FROM:<>") == (501, b"Invalid MAIL FROM address provided")
        assert smtp.docmd("MAIL", "FROM:<me@ex ample>")[0] == 553
        assert smtp.mail(SENDER)[0] == 250
        assert smtp.docmd("RCPT", "TO:<nobody>") == (553, b"<nobody> address unknown")
    assert len(far.messages) == 5
    assert far.stop()["refused"] == 10


def test_rate_and_quota(ses):
    far = ses(rate=2, quota=3)
    with connect(far) as smtp:
        replies = [data_reply(smtp, MAIL) for _ in range(3)]
        assert [r[:3] for r in replies] == ["250", "250", "454"]
        assert replies[2] == "454 Throttling failure: Maximum sending rate exceeded"
        time.sleep(0.6)  # the stand-in's own clock is what is tested
        assert data_reply(smtp, MAIL).startswith("250")
        assert data_reply(smtp, MAIL) == "454 Throttling failure: Daily message quota exceeded"


def test_a_silent_client_is_cut_off(ses):
    far = ses(idle=0.2)
    with connect(far) as smtp:
        assert smtp.getreply() == (451, b"4.4.2 Timeout waiting for data from client.")
    assert far.stop()["idled"] == 1


def test_too_many_connections(ses):
    far = ses(max_connections=1)
    with connect(far):
        assert refusal(connect, far) == "421 Too many concurrent SMTP connections"


def test_pipelining_is_seen_and_refused(ses):
    far = ses(tls="none", user=None)
    with socket.create_connection(("127.0.0.1", far.port), timeout=20) as peer:
        replies = peer.makefile("rb")
        assert replies.readline().startswith(b"220 ")
        peer.sendall(b"EHLO me\r\nMAIL FROM:<a@example.com>\r\n")
        assert replies.readline().startswith(b"503 ")
        assert replies.readline() == b""
    assert far.stop()["pipelined"] == 1


def test_the_script_of_faults(ses):
    far = ses()
    with connect(far) as smtp:
        far.faults("dot 1+1 454 Throttling failure: Maximum sending rate exceeded",
                   "rcpt <bad@*> * 550 no such user")
        assert data_reply(smtp, MAIL)[:3] == "250"
        assert data_reply(smtp, MAIL)[:3] == "454"
        assert data_reply(smtp, MAIL)[:3] == "250"
        smtp.mail(SENDER)
        assert smtp.rcpt("bad@example.net") == (550, b"no such user")
        assert smtp.rcpt(RCPT)[0] == 250
        smtp.rset()
        far.faults("mail 1 421 closing")
        assert smtp.docmd("MAIL", f"FROM:<{SENDER}>") == (421, b"closing")
    assert len(far.messages) == 2
    far.faults("dot 1 close-before-reply")
    with connect(far) as smtp, pytest.raises(smtplib.SMTPServerDisconnected):
        data_reply(smtp, MAIL)
    assert len(far.messages) == 3
    far.faults("dot 1 close")
    with connect(far) as smtp, pytest.raises(smtplib.SMTPServerDisconnected):
        data_reply(smtp, MAIL)
    assert len(far.messages) == 3
    assert far.stop()["faults"] == 5


def test_the_link_delays_and_counts(ses, long_link):
    far = ses(tls="none", user=None)
    between = long_link(far.port, delay_ms=20)
    with socket.create_connection(("127.0.0.1", between.port), timeout=20) as peer:
        replies = peer.makefile("rb")
        began = time.monotonic()
        greeting = replies.readline()
        assert 0.079 < time.monotonic() - began < 2  # handshake and greeting: two round trips
        began = time.monotonic()
        peer.sendall(b"NOOP\r\n")
        reply = replies.readline()
        assert 0.039 < time.monotonic() - began < 1
    counted = between.stop()
    assert (counted["connections"], counted["up"]) == (1, 6)
    assert counted["down"] == len(greeting) + len(reply)
    assert greeting.startswith(b"220 email-smtp.amazonaws.com ") and reply == b"250 Ok\r\n"


def receive(far, count):
    got = 0
    while got < count:
        piece = far.recv(1 << 20)
        assert piece, f"the end after {got} octets"
        got += len(piece)
    return got


@pytest.mark.parametrize("fin", [False, True])
def test_the_link_cuts_at_an_exact_octet_and_once(long_link, fin):
    with socket.create_server(("127.0.0.1", 0)) as server:
        between = long_link(server.getsockname()[1], cut_up=1000, **({"fin": True} if fin else {}))
        for cut in (True, False):
            with socket.create_connection(("127.0.0.1", between.port), timeout=20) as peer:
                peer.sendall(b"x" * 1500)
                far, _ = server.accept()
                far.settimeout(20)
                with far:
                    assert receive(far, 1000 if cut else 1500) == (1000 if cut else 1500)
                    if cut and fin:
                        assert far.recv(1) == b""
                    elif cut:
                        with pytest.raises(ConnectionResetError):
                            far.recv(1)
    assert between.stop()["cut"] == 1


def test_the_link_stands_still_and_goes_on(ses, long_link, wait_for):
    far = ses(tls="none", user=None)
    between = long_link(far.port)
    with socket.create_connection(("127.0.0.1", between.port), timeout=20) as peer:
        peer.makefile("rb").readline()
        between.toggle()
        peer.sendall(b"NOOP\r\n")
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(20)
        between.toggle()
        assert peer.recv(100) == b"250 Ok\r\n"
        wait_for(lambda: json.loads(between.record.read_text())["up"] == 6, what="its record")


def test_the_window_does_not_limit(long_link):
    """50 ms at 100 Mbit are 640 KB under way: 5 MB have to take their 0.4 s and not much more."""
    size = 5_000_000
    with socket.create_server(("127.0.0.1", 0)) as server:
        between = long_link(server.getsockname()[1], delay_ms=25, kbit=100_000)
        with socket.create_connection(("127.0.0.1", between.port), timeout=20) as peer:
            began = time.monotonic()
            peer.sendall(b"x" * size)
            far, _ = server.accept()
            far.settimeout(20)
            with far:
                receive(far, size)
            assert 0.4 < time.monotonic() - began < 2
