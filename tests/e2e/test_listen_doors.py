"""Who is let in, as what, how often; and that SIGHUP changes it without cutting a session."""

import re
import signal
import threading
import time

import pytest
from dialogue import BODY, Dialogue, mail, sent_once, token
from parts import CLIENT, CLIENT_PASSWORD, write_secret

NAMES = {CLIENT: CLIENT_PASSWORD, "osaka": "another secret"}


def clients(near, names, senders=None):
    """The file of clients, with the senders that a name may have."""
    near.clients(names)
    path = near.directory / "clients"
    lines = [line + (f":{senders[line.split(':')[0]]}" if senders and line.split(":")[0] in senders
                     else "") for line in path.read_text().splitlines()]
    write_secret(path, "".join(line + "\n" for line in lines))


def hangup(near, **settings):
    """SIGHUP with these settings changed; the line that tells how it went."""
    since = len(near.program.lines)
    near.write(**settings)
    near.program.signal(signal.SIGHUP)
    return near.program.line(lambda line: re.search(r"\]: (reloaded|reload failed.*)", line),
                             since=since).group(1)


def named(near, name=CLIENT, password=CLIENT_PASSWORD, kind="tls"):
    client = Dialogue(near.ports[kind], kind)
    assert client.login(name, password)[0] == 235
    return client


def send(client, *recipients, **more):
    """The code and text of the content's answer, or of the first refusal."""
    client.send(*mail(BODY, *(recipients or ("b@example.org",)), **more))
    replies = client.replies(2 + len(recipients or "x"))
    return next((r for r in replies if r[0] >= 400), replies[-1])


# --- senders ---

def test_a_client_sends_as_it_may(listener, ses):
    far = ses()
    near = listener(far.url, start=False)
    clients(near, NAMES, {"osaka": "app@example.com,*@osaka.example.com"})
    near.start()
    client = named(near, "osaka", NAMES["osaka"])
    for sender in ("app@example.com", "any.thing@OSAKA.example.com"):
        assert send(client, sender=sender)[0] == 250
    assert send(client, sender="ceo@example.com") == (
        550, "5.7.1 cenmail: client may not send as <ceo@example.com> class=never")
    assert send(client, sender="")[0] == 550
    assert send(client, sender="app@example.com")[0] == 250  # and the session goes on
    assert send(named(near), sender="ceo@example.com")[0] == 250
    sent_once(near_with(near, far), 4)


def near_with(near, far):
    near.ses = far
    return near


# --- SIGHUP ---

def test_reload_changes_the_terms_and_cuts_nothing(listener, ses, certs):
    far = ses()
    near = listener(far.url, kinds=("tls", "starttls"), rate="0/s")
    old = named(near)
    assert send(old)[0] == 250
    half = named(near)
    half.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", f"BDAT {len(BODY)} LAST")
    assert [code for code, _ in half.replies(2)] == [250, 250]
    clients(near, {**NAMES, "new": "new secret"}, {CLIENT: "a@example.com"})
    assert hangup(near, certificate=certs.other.cert, key=certs.other.key,
                  header="X-Relay two", message_size="2M") == "reloaded"
    half.send(BODY.encode())
    assert half.reply()[0] == 250           # what was under way goes on
    assert send(old)[0] == 250              # the session too, on the new terms
    assert send(old, sender="other@example.com")[0] == 550
    assert b"X-Relay: two" in far.content(far.messages[-1])
    assert b"X-Relay" not in far.content(far.messages[-2])
    fresh = named(near, "new", "new secret")
    assert fresh.sock.getpeercert(binary_form=True) == der(certs.other.cert)
    assert old.sock.getpeercert(binary_form=True) == der(certs.good.cert)
    assert fresh.hello()["SIZE"] == str(2 << 20)
    assert near.stop() == 0


def der(path):
    import ssl
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_a_bad_configuration_changes_nothing(listener, ses, certs, tmp_path):
    far = ses()
    near = listener(far.url)
    client = named(near)
    good = dict(near.settings)
    for bad, why in (({"certificate": tmp_path / "none.crt"}, "none.crt"),
                     ({"key": certs.other.key}, "does not belong"),
                     ({"rate": "fast"}, "rate"), ({"nonsense": "1"}, "nonsense"),
                     ({"clients": tmp_path / "none"}, "none")):
        said = hangup(near, **bad)
        assert said.startswith("reload failed, all stays as it was: ") and why in said
        near.settings = dict(good)
    assert send(client)[0] == 250
    assert send(named(near))[0] == 250
    assert hangup(near) == "reloaded"
    assert hangup(near, upstream_connections="3") == "reloaded"
    assert "upstream_connections: a change of it takes a restart" in near.program.log


def test_a_reload_takes_tls_from_no_socket(listener, ses):
    """`listen` takes a restart: until then a socket speaks what it spoke, on new terms as well."""
    near = listener(ses().url, kinds=("tls", "starttls"), password=None)
    sockets = dict(near.ports)
    near.kinds = ("plain",)
    for settings, said in (({}, "reloaded"),
                           ({"certificate": None, "key": None}, "needed until a restart")):
        assert said in hangup(near, **settings)
        for kind, port in sockets.items():
            client = Dialogue(port, kind)
            client.hello()
            assert send(client)[0] == 250
    assert "listen: a change of it takes a restart" in near.program.log
    assert near.stop() == 0


def test_who_is_no_longer_known_is_not_served(listener, ses):
    far = ses()
    near = listener(far.url, start=False)
    clients(near, NAMES)
    near.start()
    gone, changed, stays = (named(near, "osaka", NAMES["osaka"]), named(near), named(near))
    clients(near, {CLIENT: "changed"})
    assert hangup(near) == "reloaded"
    for client in (gone, changed, stays):
        assert client.say("MAIL FROM:<a@example.com>") == (
            421, "4.7.0 cenmail: you are no longer let in as you were class=road")
        assert client.ended()
    assert send(named(near, CLIENT, "changed"))[0] == 250
    near.settings["allow"] = "192.0.2.0/24"
    client = named(near, CLIENT, "changed")
    assert hangup(near) == "reloaded"
    assert client.say("MAIL FROM:<a@example.com>")[0] == 421
    with pytest.raises((OSError, EOFError)):
        Dialogue(near.port, "tls")
    assert len(far.messages) == 1


def test_reload_under_load(listener, ses, certs):
    """Messages all the time, a reload every few: no answer but 250."""
    far = ses()
    near = listener(far.url)
    codes, stop = [], threading.Event()

    def bring():
        while not stop.is_set():
            client = named(near)
            for _ in range(5):
                codes.append(send(client, ("b@example.org", token()))[0])
            client.close()

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        pair = (certs.good, certs.other)[turn % 2]
        assert hangup(near, certificate=pair.cert, key=pair.key, rate=f"{1000 + turn}/s") == \
            "reloaded"
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) == {250} and len(codes) == len(far.messages)


def test_the_rate_is_reloaded(listener, ses):
    far = ses()
    near = listener(far.url, rate="0.5/s")
    client = named(near)
    assert send(client)[0] == 250
    assert hangup(near, rate="1000/s", quota="3") == "reloaded"
    began = time.monotonic()
    assert [send(client)[0] for _ in range(3)][:2] == [250, 250]
    assert time.monotonic() - began < 10
    code, text = send(client)
    assert code == 452 and "daily quota class=pace" in text


# --- guessing ---

def test_guessing_is_slowed(listener, ses):
    """E10: the same answers for names that are and that are not; after many nothing is heard."""
    far = ses()
    near = listener(far.url)

    def guess(name, count, said):
        for _ in range(count):
            client = Dialogue(near.port, "tls")
            client.hello()
            began = time.monotonic()
            said.append((client.login(name, "wrong"), time.monotonic() - began))
            client.close()

    lists = [[] for _ in range(10)]
    threads = [threading.Thread(target=guess, args=((CLIENT, "nobody")[i % 2], 3, said))
               for i, said in enumerate(lists)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [one for said in lists for one, _ in said]
    assert set(answers) == {
        (535, "5.7.8 Authentication credentials invalid"),
        (454, "4.7.0 cenmail: too many failed logins class=road retry=60")}
    assert answers.count((535, "5.7.8 Authentication credentials invalid")) <= 21
    assert min(seconds for said in lists for _, seconds in said) > 0.9
    # from this address not even the right one is looked at now
    client = Dialogue(near.port, "tls")
    assert client.login(CLIENT, CLIENT_PASSWORD)[0] == 454
    assert "SASL PLAIN authentication failed: too many of late" in near.program.log


def test_guessing_at_a_name_is_slowed_from_anywhere(listener, ses):
    """E10: each from another address, so that none has guessed often: one try in two seconds, and the
    owner of the name, from where he logged in last, does not wait for them."""
    near = listener(ses().url)
    named(near).close()
    took = {}

    def login(number, password="wrong"):
        client = Dialogue(near.port, "tls", source=f"127.0.1.{number}" if number else "127.0.0.1")
        client.hello()
        began = time.monotonic()
        code = client.login(CLIENT, password)[0]
        took[number] = (code, time.monotonic() - began)
        client.close()

    def at_once(numbers):
        threads = [threading.Thread(target=login, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        return threads

    for thread in at_once(range(1, 7)):  # as many as cost nothing but their own second
        thread.join()
    waiting = at_once(range(7, 10))
    login(0, CLIENT_PASSWORD)
    for thread in waiting:
        thread.join()
    code, seconds = took.pop(0)
    assert code == 235 and seconds < 1.9
    assert {code for code, _ in took.values()} == {535}
    slow = sorted(took[number][1] for number in range(7, 10))
    assert slow[1] > 2.9 and slow[2] > 4.9, took


def test_a_hundred_logins_in_parallel(listener, ses):
    """E9"""
    far = ses()
    near = listener(far.url)
    codes = []

    def login():
        client = Dialogue(near.port, "tls")
        client.hello()
        codes.append(client.login(CLIENT, CLIENT_PASSWORD)[0])
        codes.append(send(client, ("b@example.org", token()))[0])
        client.close()

    threads = [threading.Thread(target=login) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [235] * 100 + [250] * 100
    assert len(far.messages) == 100 and near.stop() == 0


# --- of one client ---

def test_client_sessions(listener, ses, wait_for):
    far = ses()
    near = listener(far.url, client_sessions="3", kinds=("tls", "starttls"), start=False)
    clients(near, NAMES)
    near.start()
    held = [named(near) for _ in range(3)]
    client = Dialogue(near.port, "tls")
    assert client.login(CLIENT, CLIENT_PASSWORD) == (
        421, "4.3.2 cenmail: too many sessions of yours class=road retry=30")
    assert client.ended()
    other = named(near, "osaka", NAMES["osaka"])  # of another's nothing is taken
    held.pop().close()

    def again():
        one = Dialogue(near.port, "tls")
        code = one.login(CLIENT, CLIENT_PASSWORD)[0]
        if code == 235:
            held.append(one)
        return code == 235

    wait_for(again)
    # those that have not said who they are count by address
    unnamed = [Dialogue(near.ports["starttls"], greeting=False) for _ in range(3)]
    assert [one.reply()[0] for one in unnamed] == [220] * 3
    assert Dialogue(near.ports["starttls"]).greeting == (
        421, "4.3.2 cenmail: too many sessions of yours class=road retry=30")
    assert send(other)[0] == 250 and send(held[0])[0] == 250


def test_client_messages(listener, ses):
    """Beyond it a client's sessions are not read from; nothing is refused, and all comes through."""
    far = ses()
    far.faults("dot * stall 0.4")
    near = listener(far.url, kinds=("plain",), password=None, client_messages="4")
    sessions = [Dialogue(near.port) for _ in range(3)]
    for session in sessions:
        session.hello()
    for i, session in enumerate(sessions):
        session.send(*(line for k in range(6)
                       for line in mail(BODY, (f"b{i}.{k}@example.org", token()))))
    for session in sessions:
        assert {code for code, _ in session.replies(18)} == {250}
    times = sorted(m["time"] for m in sent_once(near_with(near, far), 18))
    # 4, and one for each session that has none; never 10, as many as there are connections
    assert 4 <= sum(t < times[0] + 300 for t in times) <= 6
