"""The listener by itself, with a client that says exactly what a test wants said."""

import os
import pathlib
import signal
import smtplib
import sqlite3
import threading
import time

import pytest
from dialogue import Dialogue, mail, ses_id, token

BODY = "Subject: s\r\nFrom: a@example.com\r\n\r\nbody\r\n"


@pytest.fixture
def plain(listener, ses):
    """plain(ses={…}, **settings): a listener without TLS or names, its SES."""

    def start(ses_options=None, **settings):
        far = ses(**(ses_options or {}))
        near = listener(far.url, kinds=("plain",), password=None, **settings)
        near.ses = far
        return near

    return start


def journal(near, statement):
    with sqlite3.connect(f"file:{near.directory / 'journal.db'}?mode=ro", uri=True) as db:
        return db.execute(statement).fetchall()


def sent_once(near, count):
    assert len(near.ses.messages) == count
    return near.ses.messages


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


def test_nothing_slips_in_before_the_handshake(listener, ses):
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


def test_recipients_of_others_are_not_told(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org", "secret@example.org"))
    client.replies(5)
    assert b"secret" not in near.ses.content(near.ses.messages[0])


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
    assert code == 454 and text.startswith("4.0.0 Throttling failure: Daily")


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
    assert code == 452 and "4.3.1 cenmail: daily quota class=pace retry=86" in text


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


# --- exactly once ---

def test_a_token_that_was_answered_for_is_not_sent_again(plain):
    near = plain()
    once = token()
    answers = []
    for attempt in range(3):
        client = Dialogue(near.port)
        client.hello()
        client.send(*mail(BODY, ("b@example.org", once)))
        answers.append(client.replies(3)[2])
        client.close()
        if attempt == 1:  # the journal outlives the process
            near.stop()
            near.start()
    assert answers[0] == answers[1] == answers[2]
    ses_id(answers[0][1])
    sent_once(near, 1)


def test_only_the_rest_is_sent(plain):
    near = plain()
    one, two = token(), token()
    client = Dialogue(near.port)
    client.hello()
    near.ses.faults("rcpt <c@*> 1 451 Temporary service failure")
    client.send(*mail(BODY, ("b@example.org", one), ("c@example.org", two)))
    first = client.replies(5)[3:]
    assert [code for code, _ in first] == [250, 451]
    client.send(*mail(BODY, ("b@example.org", one), ("c@example.org", two), ("b@example.org", one)))
    again = client.replies(7)[4:]
    assert again[0] == again[2] == first[0] and again[1][0] == 250
    assert [m["recipients"] for m in sent_once(near, 2)] == [["b@example.org"], ["c@example.org"]]


def test_twins_get_one_answer(plain):
    """The same tokens on two connections, and twice within one, crosswise, at once."""
    near = plain()
    near.ses.faults("dot * stall 1")
    one, two = ("b@example.org", token()), ("c@example.org", token())
    clients = [Dialogue(near.port), Dialogue(near.port)]
    for client, order in zip(clients, ([one, two], [two, one, two])):
        client.hello()
        client.send(*mail(BODY, *order))
    first, second = clients[0].replies(5)[3:], clients[1].replies(7)[4:]
    assert {code for code, _ in first + second} == {250}
    assert first[0] == second[1] and first[1] == second[0] == second[2]
    assert sorted(sum((m["recipients"] for m in near.ses.messages), [])) == [
        "b@example.org", "c@example.org"]


def test_a_token_is_its_clients_own(listener, ses):
    """E14: B brings A's token: it is another token."""
    far = ses()
    near = listener(far.url)
    near.clients({"a": "pa", "b": "pb"})
    near.stop()
    near.start()
    once = token()
    for name, password in (("a", "pa"), ("b", "pb"), ("a", "pa")):
        client = Dialogue(near.port, "tls")
        assert client.login(name, password)[0] == 235
        client.send(*mail(BODY, ("b@example.org", once)))
        assert client.replies(3)[2][0] == 250
    assert len(far.messages) == 2
    assert [row[0] for row in journal(near, "select client from once order by 1")] == ["a", "b"]


@pytest.mark.parametrize("policy, code, copies", [("resend", 250, 2), ("hold", 451, 1)])
def test_in_doubt(plain, policy, code, copies):
    near = plain(in_doubt=policy)
    near.ses.faults("dot 1 close-before-reply")
    once = token()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    reply = client.replies(3)[2]
    assert reply[0] == 451 and "in doubt" in reply[1] and reply[1].endswith("class=later")
    assert journal(near, "select state, doubts from in_doubt") == [("sending", 0)]
    client.send(*mail(BODY, ("b@example.org", once)))
    reply = client.replies(3)[2]
    assert reply[0] == code
    assert policy != "hold" or reply[1].endswith("class=held")
    sent_once(near, copies)
    assert journal(near, "select state, doubts from in_doubt") == [
        ("sent", 1) if policy == "resend" else ("sending", 0)]


def test_killed_while_ses_has_it(plain, wait_for):
    near = plain()
    near.ses.faults("dot 1 stall 20")
    once = token()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    near.ses.wait(1)
    near.kill()
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    assert client.replies(3)[2][0] == 250
    assert journal(near, "select state, doubts from once") == [("sent", 1)]
    sent_once(near, 2)


def test_two_listeners_never_share_a_journal(plain, listener):
    near = plain()
    other = listener(near.ses.url, kinds=("plain",), password=None, start=False,
                     journal=near.directory / "journal.db")
    from harness import run
    done = run(other.argv(), deadline=60)
    assert done.returncode == 75 and b"another cenmail-listen is using it" in done.stderr


def test_a_foreign_journal_is_left_alone(listener):
    near = listener("smtp://127.0.0.1:9", kinds=("plain",), password=None, start=False)
    with sqlite3.connect(near.directory / "journal.db") as db:
        db.execute("create table theirs(x)")
    before = (near.directory / "journal.db").read_bytes()
    from harness import run
    done = run(near.argv(), deadline=60)
    assert done.returncode == 78 and b"journal.db" in done.stderr, done.stderr
    assert (near.directory / "journal.db").read_bytes() == before


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


# --- hostile clients ---

def test_outside_allow_sees_no_more_than_a_refusal(listener, ses):
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


def test_many_connects_and_resets_leave_it_well(listener, ses):
    import socket
    import struct
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

    from harness import wait_for
    wait_for(well)
    assert near.stop() == 0


def test_a_client_that_goes_while_answers_are_owed(plain, wait_for):
    near = plain()
    near.ses.faults("dot 1 stall 1")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", token())), *mail(BODY, ("c@example.org", token())))
    near.ses.wait(2)
    client.close()
    wait_for(lambda: journal(near, "select count(*) from once where state='sent'") == [(2,)])
    assert near.stop() == 0


def test_half_closed_clients_get_their_answers(plain):
    import socket
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


def test_more_than_is_taken_in_flight_waits(plain):
    """A client without any window: it is not read from, and nothing is refused."""
    near = plain()
    client = Dialogue(near.port, deadline=120)
    client.hello()
    lines = [line for i in range(600) for line in mail(BODY, (f"b{i}@example.org", token()))]
    feeder = threading.Thread(target=client.send, args=lines)
    feeder.start()
    assert {code for code, _ in client.replies(1800)} == {250}
    feeder.join()
    sent_once(near, 600)
