"""The listener by itself, with a client that says exactly what a test wants said."""

import os
import pathlib
import signal
import smtplib
import socket
import time

import pytest
from dialogue import BODY, Dialogue, journal, mail, sent_once, ses_id, token
from harness import not_here
from peers import free_port


# --- the words ---

def test_what_is_offered(plain):
    near = plain(message_size="1M", keep_journal="2d")
    for verb in ("LHLO", "EHLO"):
        offered = Dialogue(near.port).hello(verb)
        assert set(offered) == {"PIPELINING", "SIZE", "CHUNKING", "LIMITS", "XONCE",
                                "ENHANCEDSTATUSCODES", "8BITMIME"}
        assert (offered["SIZE"], offered["LIMITS"]) == (str(1 << 20), "RCPTMAX=50")
        ident, keep = offered["XONCE"].split()
        assert len(ident) == 32 and keep == "172800"


def test_starttls_and_names_are_asked_for(listener, ses):
    """E1: no MAIL before TLS and AUTH."""
    far = ses()
    near = listener(far.url, kinds=("starttls",))
    client = Dialogue(near.port)
    assert "AUTH" not in client.hello() and "STARTTLS" in client.hello()
    assert client.say("MAIL FROM:<a@example.com>")[0] == 530
    assert client.say("STARTTLS")[0] == 220
    client.start_tls()
    assert client.say("MAIL FROM:<a@example.com>")[0] == 503  # the EHLO before counts no more
    offered = client.hello()
    assert offered["AUTH"] == "PLAIN" and "STARTTLS" not in offered
    assert client.say("MAIL FROM:<a@example.com>")[0] == 530
    assert client.login("shanghai", "wrong")[0] == 535
    assert client.login("nobody", "wrong") == (535, "5.7.8 Authentication credentials invalid")
    assert client.say("MAIL FROM:<a@example.com>")[0] == 530
    assert client.login("shanghai", near.password)[0] == 235
    client.send(*mail(BODY, "b@example.org"))
    assert [code for code, _ in client.replies(3)] == [250, 250, 250]
    assert len(far.messages) == 1


def test_starttls_is_asked_for_where_names_are_not(listener, ses):
    """E1: TLS alone."""
    near = listener(ses().url, kinds=("starttls",), password=None)
    client = Dialogue(near.port)
    client.hello()
    assert client.say("MAIL FROM:<a@example.com>") == (530, "5.7.0 Must issue a STARTTLS command first")
    assert client.say("STARTTLS")[0] == 220
    client.start_tls()
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    assert [code for code, _ in client.replies(3)] == [250, 250, 250]


def test_nothing_slips_in_before_the_handshake(listener, ses):
    """E3"""
    far = ses()
    near = listener(far.url, kinds=("starttls",))
    client = Dialogue(near.port)
    client.send("EHLO test", "STARTTLS", "EHLO test", "MAIL FROM:<a@example.com>")
    assert [code for code, _ in client.replies(2)] == [250, 421]
    assert client.ended()


def test_smtplib_over_each_kind(listener, ses, certs):
    far = ses()
    near = listener(far.url, kinds=("tls", "starttls"))
    import ssl
    context = ssl.create_default_context(cafile=str(certs.good.cert))
    with smtplib.SMTP_SSL("localhost", near.ports["tls"], context=context) as client:
        client.login("shanghai", near.password)
        client.sendmail("a@example.com", ["b@example.org"], BODY)
    with smtplib.SMTP("localhost", near.ports["starttls"]) as client:
        client.starttls(context=context)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("shanghai", "no")
        client.login("shanghai", near.password)
        client.sendmail("a@example.com", ["b@example.org"], BODY)
    one, two = [far.content(m) for m in far.messages]
    assert b"with ESMTPSA id" in one and one.split(b"\r\nSubject")[1] == two.split(b"\r\nSubject")[1]


def test_routing_by_address_is_refused(plain):
    """E1: source routes, %, empty domains."""
    near = plain()
    client = Dialogue(near.port)
    client.hello("EHLO")
    client.say("MAIL FROM:<a@example.com>")
    for path in ("<@x.example,@y.example:c@d.example>", "<c%d.example@tokyo.example.com>", "<c@>",
                 "<@d.example>", "<c@d@e.example>", "<c>"):
        assert 500 <= client.say(f"RCPT TO:{path}")[0] <= 559, path
    assert client.say("DATA")[0] == 503
    sent_once(near, 0)


# --- the answers ---

def test_answers_come_in_order_and_ses_works_at_several(plain):
    near = plain()
    near.ses.faults("dot <slow@example.com> 1 stall 2")
    client = Dialogue(near.port)
    client.hello()
    began = time.monotonic()
    client.send(*mail(BODY, ("b1@example.org", token()), sender="slow@example.com"),
                *mail(BODY, ("b2@example.org", token()), ("b3@example.org", token())),
                *mail(BODY, "b4@example.org"), "NOOP")
    replies = client.replies(3 + 5 - 1 + 3 + 1 + 1)
    assert [code for code, _ in replies] == [250] * 12
    ids = {m["recipients"][0]: m["id"] for m in near.ses.messages}
    assert ses_id(replies[2][1]) == ids["b1@example.org"]
    assert ses_id(replies[6][1]) == ses_id(replies[7][1]) == ids["b2@example.org"]
    assert ses_id(replies[10][1]) == ids["b4@example.org"]
    assert time.monotonic() - began > 1.9
    # the quick ones did not wait for the slow one
    times = {m["recipients"][0]: m["time"] for m in near.ses.messages}
    assert max(times.values()) - min(times.values()) < 1000


def test_what_is_sent_is_what_came(plain):
    near = plain(header=["X-SES-CONFIGURATION-SET tokyo", "X-Relay ours"],
                 allow_header="X-SES-MESSAGE-*")
    content = (b"X-SES-CONFIGURATION-SET: theirs\r\n folded\r\nSubject: \xe6\x97\xa5\r\n"
               b"x-ses-source-arn : arn\r\nX-SES-MESSAGE-TAGS: a=b\r\nFrom: a@example.com\r\n\r\n"
               b"X-SES-SOURCE-ARN: of the body\r\n.\r\n..\r\n\xff\r\nlast")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(content, "b@example.org"))
    assert client.replies(3)[2][0] == 250
    got = near.ses.content(near.ses.messages[0])
    ours, _, rest = got.partition(b"X-SES-CONFIGURATION-SET: tokyo\r\nX-Relay: ours\r\n")
    assert ours.startswith(b"Received: from test ([127.0.0.1])\r\n\tby tokyo.example.com (cenmail)")
    assert b"with LMTP id" in ours and b"for <b@example.org>;" in ours
    assert rest == (b"Subject: \xe6\x97\xa5\r\nX-SES-MESSAGE-TAGS: a=b\r\nFrom: a@example.com\r\n\r\n"
                    b"X-SES-SOURCE-ARN: of the body\r\n.\r\n..\r\n\xff\r\nlast\r\n")
    assert near.ses.messages[0]["eightbit"]


def test_nothing_is_folded_into_our_fields(plain):
    near = plain(header="X-SES-CONFIGURATION-SET tokyo")
    client = Dialogue(near.port)
    for verb, protocol in (("LHLO", "LMTP"), ("EHLO", "ESMTP"), ("HELO", "SMTP")):
        client.say(f"{verb} test")
        client.send(*mail(" theirs\r\n" + BODY, "b@example.org"))
        code, text = client.replies(3)[2]
        assert code == 554 and text.startswith("5.6.0 cenmail: ") and text.endswith("class=never")
        client.send(*mail(BODY, "b@example.org"))
        assert client.replies(3)[2][0] == 250
        assert f"with {protocol} id".encode() in near.ses.content(near.ses.messages[-1])
    sent_once(near, 3)


def test_recipients_of_others_are_not_told(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org", "secret@example.org"))
    client.replies(5)
    content = near.ses.content(near.ses.messages[0])
    assert b"secret" not in content and b"for <" not in content


def test_a_message_in_a_circle_is_stopped(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    for count, code in ((49, 250), (50, 554)):
        client.send(*mail("Received: x\r\n" * count + BODY, "b@example.org"))
        reply = client.replies(3)[2]
        assert reply[0] == code
    assert reply[1].startswith("5.4.6 cenmail: ") and reply[1].endswith(" class=never")
    sent_once(near, 1)


def test_bare_line_ends_reach_nobody(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello("EHLO")
    for bad in (b"x\n.\nMAIL FROM:<evil@example.com>\r\n", b"x\r.\r\r\n", b"\0\r\n", b"x\n"):
        client.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA")
        assert client.replies(3)[2][0] == 354
        assert client.say(bad + b"\r\n.\r\n")[0] == 554
        client.send(*mail(bad, "b@example.org"))
        assert client.replies(3)[2][0] == 554
    sent_once(near, 0)


def test_smtp_is_all_or_nothing(plain):
    near = plain()
    near.ses.faults("rcpt <bad@*> * 553 <bad@example.org> address unknown")
    client = Dialogue(near.port)
    client.hello("EHLO")
    client.send(*mail(BODY, "good@example.org", "bad@example.org", "fine@example.org"))
    reply = client.replies(5)[4]
    assert reply[0] == 553 and "address unknown wait=" in reply[1]
    sent_once(near, 0)
    client.hello("LHLO")
    client.send(*mail(BODY, "good@example.org", "bad@example.org", "fine@example.org"))
    assert [code for code, _ in client.replies(7)[4:]] == [250, 553, 250]
    assert sent_once(near, 1)[0]["recipients"] == ["good@example.org", "fine@example.org"]


def test_ses_unreachable_and_its_password(plain, ses, tmp_path):
    near = plain()
    near.ses.stop()
    client = Dialogue(near.port)
    client.hello()
    for _ in range(2):
        client.send(*mail(BODY, ("b@example.org", token())))
        code, text = client.replies(3)[2]
        assert code == 451 and text.startswith("4.4.1 cenmail: SES unreachable: connect: ")
        assert " class=road retry=" in text
    far = ses(password="right")
    (far.directory / "secret").write_text("AKIAIOSFODNN7EXAMPLE:wrong\n")
    near.stop()
    near.write(upstream=far.url)
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    code, text = client.replies(3)[2]
    assert code == 451 and text.startswith("4.7.8 cenmail: SES refused our password")
    assert "wrong" not in near.program.log


def test_throttling_is_waited_out(plain):
    near = plain()
    near.ses.faults("dot 2 454 Throttling failure: Maximum sending rate exceeded.")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", token())))
    assert client.replies(3)[2][0] == 250
    sent_once(near, 1)
    assert journal(near, "select state, doubts from once") == [("sent", 0)]
    near.ses.faults("dot * 454 Throttling failure: Daily message quota exceeded.")
    client.send(*mail(BODY, ("b@example.org", token())))
    code, text = client.replies(3)[2]
    assert code == 451 and "cenmail: SES: 454 Throttling failure: Daily" in text
    assert text.endswith(" class=pace retry=3600")
    near.ses.faults()  # nobody asks, until SIGHUP
    client.send(*mail(BODY, ("b@example.org", token())))
    assert client.replies(3)[2] == (452, "4.3.1 cenmail: daily quota class=pace retry=3600")
    near.program.signal(signal.SIGHUP)
    near.program.line(lambda line: line.endswith(": reloaded"))
    client.send(*mail(BODY, ("b@example.org", token())))
    assert client.replies(3)[2][0] == 250
    sent_once(near, 2)


def test_rate_and_quota(plain):
    near = plain(rate="20/s", quota="60")
    client = Dialogue(near.port)
    client.hello()
    began = time.monotonic()
    client.send(*[line for _ in range(3)
                  for line in mail(BODY, *[f"b{i}@example.org" for i in range(20)])])
    assert {code for code, _ in client.replies(3 * 41)} == {250}
    assert 1.5 < time.monotonic() - began < 10
    client.send(*mail(BODY, "b@example.org"))
    code, text = client.replies(3)[2]
    assert code == 452 and "4.3.1 cenmail: daily quota class=pace retry=3600" in text


def test_what_ses_did_not_take_is_not_in_the_quota(plain):
    near = plain(quota="2")
    near.ses.faults("dot 1 554 Message rejected", "rcpt <c@*> 1 451 Temporary service failure")
    client = Dialogue(near.port)
    client.hello()
    for recipients, codes in ((["b"], [554]), (["b", "c"], [250, 451]), (["c"], [250]),
                              (["b"], [452])):
        client.send(*mail(BODY, *[f"{one}@example.org" for one in recipients]))
        assert [code for code, _ in client.replies(1 + 2 * len(recipients))[-len(codes):]] == codes
    near.stop()
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))  # the quota outlives the process
    assert "daily quota class=pace retry=3600" in client.replies(3)[2][1]
    near.stop()
    near.ses.stop()
    near.write(quota="4")
    near.start()
    client = Dialogue(near.port)
    client.hello()
    for _ in range(4):  # no road: the third still hears of that, and not of the quota
        client.send(*mail(BODY, "b@example.org"))
        assert client.replies(3)[2][1].startswith("4.4.1 cenmail: SES unreachable")


def test_ses_closes_an_idle_connection(plain, wait_for):
    """SES goes after a second; the worker believes in five: the next message must not suffer."""
    near = plain({"idle": 1})
    client = Dialogue(near.port)
    client.hello()
    for _ in range(2):
        client.send(*mail(BODY, ("b@example.org", token())))
        assert client.replies(3)[2][0] == 250
        time.sleep(1.5)  # the idle limit of the stand-in is what is tested
    sent_once(near, 2)


def test_an_idle_connection_is_closed_before_ses_does(plain, wait_for):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    client.replies(3)

    def to_ses():
        return [fd for fd in os.listdir(f"/proc/{near.program.pid}/fd")
                if is_connected_to(near, fd)]

    assert to_ses()
    wait_for(lambda: not to_ses(), 9)


def is_connected_to(near, fd):
    try:
        inode = os.readlink(f"/proc/{near.program.pid}/fd/{fd}")
    except OSError:
        return False
    port = f":{near.ses.port:04X}"
    return inode.startswith("socket:[") and any(
        line.split()[9] == inode[8:-1] and line.split()[2].endswith(port)
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])


# --- where it listens ---

def test_a_name_with_several_addresses(listener, ses, tmp_path):
    """All are taken, each once, but for those that this host does not have."""
    if os.getuid() != 0:
        not_here("a mount namespace needs root")
    (tmp_path / "hosts").write_text("".join(
        f"{a} here.test\n" for a in ("127.0.0.2", "192.0.2.1", "127.0.0.2", "::1")))
    (tmp_path / "nsswitch").write_text("hosts: files\n")
    near = listener(ses().url, kinds=("plain",), password=None, start=False, address="here.test",
                    allow=["127.0.0.0/8", "::1"], prefix=[
                        "unshare", "-m", "--propagation", "private", "sh", "-ec",
                        'mount --bind "$1" /etc/hosts; mount --bind "$2" /etc/nsswitch.conf; shift 2; exec "$@"',
                        "sh", tmp_path / "hosts", tmp_path / "nsswitch"])
    near.ports["plain"] = free_port()
    near.start()
    for address in ("127.0.0.2", "::1"):
        near.program.line(lambda line: "listening on" in line and address in line)
        with socket.create_connection((address, near.port), timeout=10) as client:
            assert client.recv(100).startswith(b"220 ")
    assert near.program.log.count("listening on") == 2
    assert "warning: listen here.test:" in near.program.log and "192.0.2.1" in near.program.log
