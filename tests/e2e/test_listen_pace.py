"""SES's limits: the rate, the day's quota, the number of connections; and whose turn it is."""

import collections
import re
import threading
import time

from dialogue import BODY, Dialogue, journal, mail, sent_once, token
from harness import wait_for


def recipients(*names):
    return [(f"{name}@example.org", token()) for name in names]


def test_a_message_of_many_goes_at_once_and_others_wait(plain):
    """The rate counts recipients, over all connections."""
    near = plain(rate="10/s")
    one, two = Dialogue(near.port), Dialogue(near.port)
    one.hello(), two.hello()
    began = time.monotonic()
    one.send(*mail(BODY, *recipients(*range(30))))
    assert {code for code, _ in one.replies(61)} == {250}
    assert time.monotonic() - began < 1.5
    two.send(*mail(BODY, *recipients("b")))
    assert two.replies(3)[2][0] == 250
    assert 1.8 < time.monotonic() - began < 6


def test_what_would_wait_too_long_is_told_when(plain):
    near = plain(rate="0.05/s")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients(*range(20))))
    assert {code for code, _ in client.replies(41)} == {250}
    client.send(*mail(BODY, *recipients("b")))
    code, text = client.replies(3)[2]
    assert code == 451
    assert re.search(r"^4\.3\.2 cenmail: the sending rate is used up class=pace retry=\d+$", text), text
    sent_once(near, 1)


def test_that_ses_is_away_is_told_before_whose_turn_it_is(plain):
    near = plain(rate="0.05/s")
    client = Dialogue(near.port)
    client.hello()

    def answer(*names):
        client.send(*mail(BODY, *recipients(*names)))
        return client.replies(1 + 2 * len(names))[-1]

    assert answer(*range(20))[0] == 250
    assert "class=pace" in answer("b")[1]
    near.ses.program.kill()
    wait_for(lambda: "class=road" in answer("b")[1], what="SES's absence to be told")


def test_ses_own_limit_is_found_and_everything_gets_there(plain):
    """SES takes 20 a second, and nobody told us: no message is refused, none is in doubt."""
    near = plain({"rate": 20}, upstream_connections=4)
    client = Dialogue(near.port)
    client.hello()
    count = 60
    client.send(*[line for i in range(count) for line in mail(BODY, *recipients(i))])
    assert {code for code, _ in client.replies(3 * count)} == {250}
    sent_once(near, count)
    assert near.ses.stop()["throttled"] > 0
    near.stop()
    assert journal(near, "select count(*) from in_doubt") == [(0,)]
    assert journal(near, "select sent, throttled>0 from hourly") == [(count, 1)]


def test_throttling_halves_the_rate(plain):
    near = plain(rate="20/s")
    near.ses.faults("dot 1 454 Throttling failure: Maximum sending rate exceeded")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients("first")))
    assert client.replies(3)[2][0] == 250
    began = time.monotonic()
    for i in range(25):  # nineteen of them would go at once
        client.send(*mail(BODY, *recipients(i)))
        assert client.replies(3)[2][0] == 250
    assert time.monotonic() - began > 1.5


def test_killed_in_the_pause_nothing_is_in_doubt(plain):
    """SES throttles, and while that is waited out the process dies."""
    near = plain()
    near.ses.faults("dot * 454 Throttling failure: Maximum sending rate exceeded")
    client = Dialogue(near.port)
    client.hello()
    once = token()
    client.send(*mail(BODY, ("b@example.org", once)))
    wait_for(lambda: journal(near, "select 1 from once where state='failed'"))
    near.kill()
    near.ses.faults()
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    assert client.replies(3)[2][0] == 250
    assert "in doubt" not in near.program.log
    assert journal(near, "select state, doubts from once") == [("sent", 0)]


def test_a_throttled_message_is_not_held_for_ever(plain):
    near = plain()
    near.ses.faults("dot * 454 Throttling failure: Maximum sending rate exceeded")
    client = Dialogue(near.port)
    client.hello()
    began = time.monotonic()
    client.send(*mail(BODY, *recipients("b")))
    code, text = client.replies(3)[2]
    assert code == 451 and text.endswith(" class=pace retry=5"), text
    assert "4.3.2 cenmail: SES: 454 Throttling failure: Maximum sending rate exceeded" in text
    assert time.monotonic() - began < 12


def test_a_stop_does_not_wait_for_a_turn(plain):
    near = plain(rate="0.05/s")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients("a")))
    assert client.replies(3)[2][0] == 250
    client.send(*mail(BODY, *recipients("b")), "NOOP")
    assert [code for code, _ in client.replies(2)] == [250, 250]  # of MAIL and RCPT
    began = time.monotonic()
    near.program.signal(15)
    code, text = client.reply()
    assert code == 451 and text.startswith("4.3.2 cenmail: ") and "class=pace" in text, text
    assert near.program.wait(20) == 0
    assert time.monotonic() - began < 5


def test_too_many_connections(plain):
    """SES lets in two: no message is refused for that, and the third is not tried all the time."""
    near = plain({"max_connections": 2, "latency": 20}, upstream_connections=6)
    client = Dialogue(near.port)
    client.hello()
    count = 60
    client.send(*[line for i in range(count) for line in mail(BODY, *recipients(i))])
    assert {code for code, _ in client.replies(3 * count)} == {250}
    sent_once(near, count)
    counters = near.ses.stop()
    assert counters["connections"] <= 8, counters
    assert "SES takes no more connections class=pace" in near.program.log


def bring(near, name, count, order):
    client = Dialogue(near.port, "tls")
    assert client.login(name, "secret")[0] == 235
    client.send(*[line for i in range(count)
                  for line in mail(BODY, *recipients(f"{name}{i}"), sender=f"{name}@example.com")])
    for _ in range(count):
        assert client.replies(3)[2][0] == 250
        order.append(name)


def test_clients_take_turns(listener, ses):
    """One brings a long queue, the other some messages a little later: it does not wait for the end
    of the first's, and both get the same share while both have something."""
    far = ses(latency=10)
    near = listener(far.url, upstream_connections=2)
    near.clients({"long": "secret", "short": "secret"})
    near.stop()
    near.start()
    order = []
    long = threading.Thread(target=bring, args=(near, "long", 60, order))
    long.start()
    far.wait(8)
    short = threading.Thread(target=bring, args=(near, "short", 15, order))
    short.start()
    long.join(), short.join()
    senders = [m["sender"].split("@")[0] for m in far.messages]
    assert collections.Counter(senders) == {"long": 60, "short": 15}
    first, last = senders.index("short"), len(senders) - 1 - senders[::-1].index("short")
    beside = senders[first:last + 1].count("long")
    assert last < 60 and 10 <= beside <= 22, (first, last, beside)


def test_the_quota_outlives_a_kill(plain):
    near = plain(quota="3")
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients("a", "b", "c")))
    assert {code for code, _ in client.replies(7)} == {250}
    near.kill()
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients("d")))
    code, text = client.replies(3)[2]
    assert code == 452 and text == "4.3.1 cenmail: daily quota class=pace retry=3600"
