"""Peers without a journal, by DATA or in lock step: connections and how they are shared out, limits
of a peer's own, and messages that a peer can't stand."""

import select
import signal
import socket
import time

import corpus
import pytest
from dialogue import Dialogue
from hostile import OFFERS, Hostile, Trick
from peers import Peer, free_port
from test_peers import smtp_sink

MAIL = "To: {0}@example.net\nFrom: sender@example.com\nSubject: s\n\nbody {0}\n"


def put(queue, names, sender="good@example.com"):
    for name in names:
        queue.submit(MAIL.format(name), "-t", "-i", "-f", sender)


CROWDED = b"421 Too many concurrent SMTP connections\r\n"
MANY = b"421 4.7.0 too many messages in this connection\r\n"


class Limited(Hostile):
    """An SMTP server with limits of its own. per_connection: messages that one takes, then MAIL gets 421,
    or with `silent` the connection just ends; mailmax: LIMITS MAILMAX; most: connections at once, others
    get 421 at the greeting, or at another step (`crowded_at`)."""

    def __init__(self, pipelining=True, per_connection=None, silent=False, mailmax=None, most=None,
                 crowded_at="greeting", trick=None):
        self.per_connection, self.silent, self.most = per_connection, silent, most
        self.crowded_at = crowded_at
        kind = "group" if pipelining else "step"
        limits = [f"LIMITS MAILMAX={mailmax}"] if mailmax else []
        super().__init__(kind, trick=trick, offers=[*OFFERS[kind], *limits])

    def play(self, step, who, session):
        if step == self.crowded_at and self.is_crowded(session):
            return Trick(CROWDED, then="close")
        if step == "mail" and session.took == self.per_connection:
            return Trick(b"" if self.silent else MANY, then="close")
        return super().play(step, who, session)

    def is_crowded(self, session):
        return self.most is not None and session.beside >= self.most

    @property
    def per(self):
        """What each connection that was let in has taken."""
        return [one.took for one in self.sessions if not self.is_crowded(one)]

    @property
    def recipients(self):
        return [one.recipient for one in self.taken]


@pytest.fixture
def peer():
    """peer(…): a running Limited."""
    made = []

    def make(**limits):
        made.append(Limited(**limits))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tries(queue):
    return queue.value("select max(tries) from recipient")


# --- what one connection carries ---

@pytest.mark.parametrize("silent", [False, True], ids=["421", "silent"])
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
def test_a_peer_that_ends_each_connection_after_a_few_messages(queue, peer, pipelining, silent):
    """No message pays for it, and nobody waits: neither a try nor a pause, no fault of the road."""
    far = peer(pipelining=pipelining, per_connection=3, silent=silent)
    queue.write(retry_min="1h", retry_max="1h")
    queue.relay(far.url())
    put(queue, [f"r{i}" for i in range(20)])
    done = queue.flush()
    assert done.sent == 20 and done.seconds < 5, done.log
    assert tries(queue) == 1
    assert far.per == [3] * 6 + [2]
    assert not queue.sql("select * from outage") and "warning" not in done.log


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lockstep"])
def test_mailmax_is_obeyed(queue, peer, pipelining):
    """RFC 9422: a new connection after so many, without being told."""
    far = peer(pipelining=pipelining, mailmax=4)
    queue.relay(far.url())
    put(queue, [f"r{i}" for i in range(10)])
    done = queue.flush()
    assert done.sent == 10 and done.seconds < 5, done.log
    assert far.per == [4, 4, 2] and tries(queue) == 1


# --- how many connections ---

@pytest.mark.parametrize("at", ["greeting", "mail"])
def test_too_many_connections_are_no_fault_of_a_message(queue, peer, at):
    far = peer(pipelining=False, most=2, crowded_at=at)
    queue.write(retry_min="1h", retry_max="1h")
    queue.relay(f"{far.url()} connections=6")
    put(queue, [f"r{i}" for i in range(60)])
    done = queue.flush()
    assert done.sent == 60 and done.seconds < 8, done.log
    assert tries(queue) == 1 and not queue.sql("select * from outage")
    assert len(far.sessions) - len(far.per) <= 4, "those that were refused"
    assert min(far.per[:2]) > 10, "the two share the messages"


def test_ses_that_has_too_many_connections(queue, ses):
    far = ses(max_connections=2, latency=20)
    queue.write(retry_min="1h", retry_max="1h", connections="5")
    queue.relay(far.url)
    put(queue, [f"r{i}" for i in range(30)])
    done = queue.flush()
    assert done.sent == 30 and tries(queue) == 1, done.log
    assert far.stop()["connections"] <= 5, "and those that were refused are not tried again"


def test_lock_step_is_faster_with_more_connections(queue, spawn, long_link):
    """Four round trips a message: one connection comes to 5 a second, ten to 50."""
    sink, port = Peer("postfix"), free_port()
    smtp_sink(spawn, sink, port, "-p")
    link = long_link(port, delay_ms=25)
    queue.relay(f"smtp://127.0.0.1:{link.port} connections=10")
    corpus.submit_all(queue, [corpus.Message(i, 2000) for i in range(100)])
    done = queue.flush()
    assert done.sent == 100 and done.connections == 10, done.log
    print("seconds:", done.seconds)
    assert done.seconds < 100 * 4 * 0.050 / 2, "two seconds, where one connection needs twenty"


def round_trip(link):
    """Of a command, in the middle: a proxy on a busy machine adds to its delay."""
    one = Dialogue(link.port)
    one.hello("EHLO")
    times = []
    for _ in range(5):
        began = time.monotonic()
        assert one.say("NOOP")[0] == 250
        times.append(time.monotonic() - began)
    one.close()
    return sorted(times)[2]


def test_one_round_trip_a_message_by_data(queue, spawn, long_link):
    """RFC 2920: a message's content, and RSET, MAIL, RCPT and DATA of the next, are one flight."""
    sink, port = Peer("postfix"), free_port()
    smtp_sink(spawn, sink, port)
    link = long_link(port, delay_ms=25)
    queue.relay(f"smtp://127.0.0.1:{link.port}")
    corpus.submit_all(queue, [corpus.Message(i, 2000) for i in range(40)])
    one_trip = round_trip(link)
    done = queue.flush()
    assert done.sent == 40 and done.connections == 1, done.log
    trips = done.seconds / one_trip
    print("round trips:", trips, "of", one_trip)
    assert trips < 40 * 1.15 + 7, "and those of the connection's beginning and end"


def test_connections_are_kept_for_a_while_and_used_again(queue, peer, wait_for):
    """For five seconds, as SES ends one after ten; what comes later goes by a new one."""
    far = peer(pipelining=False)
    queue.write(linger="60s", connections="3")
    queue.relay(far.url())
    put(queue, [f"a{i}" for i in range(9)])
    flusher = queue.flusher()
    wait_for(lambda: queue.states() == {"sent": 9}, what="the first")
    made = len(far.per)
    put(queue, ["b"])
    wait_for(lambda: queue.states() == {"sent": 10}, what="one over a connection that is there")
    assert len(far.per) == made <= 3
    wait_for(lambda: far.open == 0, 10, "the end of idle ones")
    put(queue, ["c"])
    wait_for(lambda: queue.states() == {"sent": 11}, what="one over a new connection")
    assert len(far.per) == made + 1
    assert flusher.stop() == 0


# --- D14 ---

def stalls_and_closes(at):
    """At that step of the dialogue, for the messages of those two senders."""
    of = {"stalls@example.com": Trick(then="silence"), "closes@example.com": Trick(then="close")}
    return lambda step, who: of.get(who) if step == at else None


def stop_at_once(flusher, wait_for):
    """By a second signal, which may be one with the first."""
    def gone():
        flusher.signal(signal.SIGTERM)
        return flusher.process.poll() is not None
    wait_for(gone, 20, "its end")


@pytest.mark.parametrize("at", ["mail", "data", "content"])
def test_d14_in_its_hard_form(queue, peer, wait_for, at):
    """One message on which the server always closes, one on which it always stalls, among 50: the
    others are delivered within seconds, and so is what comes later."""
    far = peer(trick=stalls_and_closes(at))
    queue.write(linger="60s")
    queue.relay(far.url())
    put(queue, [f"a{i}" for i in range(10)])
    put(queue, ["stalls"], "stalls@example.com")
    put(queue, [f"b{i}" for i in range(20)])
    put(queue, ["closes"], "closes@example.com")
    put(queue, [f"c{i}" for i in range(20)])
    began = time.monotonic()
    flusher = queue.flusher()
    wait_for(lambda: queue.states().get("sent") == 50, 40, "the others")
    print("seconds:", time.monotonic() - began)
    put(queue, ["late"])
    wait_for(lambda: queue.states().get("sent") == 51, 15, "one that comes later")
    assert queue.value("select max(tries) from recipient where state='sent'") == 1
    assert queue.value("select count(*) from outage where ended is null") == 0
    assert len(far.recipients) == len(set(far.recipients)) == 51
    began = time.monotonic()
    flusher.signal(signal.SIGTERM)
    if at == "content":  # it may have been taken: half a minute, or a second signal
        stop_at_once(flusher, wait_for)
    assert flusher.wait() == 0
    assert time.monotonic() - began < 15, "what can't have been taken is not waited for"
    assert queue.states() == {"sent": 51, "queued": 2}


def dies_of(words):
    """As a server whose process falls over what it reads, whatever it owes an answer to."""
    def play(step, who, session):
        if step != "content":
            return None
        ahead = session.data + who.encode()
        if select.select([session.raw], [], [], 0.1)[0]:  # what is pipelined behind
            ahead += session.raw.recv(65536, socket.MSG_PEEK)
        return Trick(then="close") if words in ahead else None
    return play


def test_d14_suspects_go_alone(queue, peer):
    """D14: of messages on which a connection has ended each is tried with no other behind it or before it:
    one at whose first octets the server dies takes no innocent one down."""
    far = peer()
    far.play = dies_of(b"bad@")
    queue.relay(far.url())
    for name in ("a", "bad", "b", "c"):
        put(queue, [name], f"{name}@example.com")
    queue.as_program("update recipient set tries=1, last_code=0, flow=1, next_try=id")
    assert queue.flush("--once").sent == 3
    assert far.recipients == [f"{name}@example.net" for name in "abc"]
    assert queue.value("select max(tries) from recipient where state='sent'") == 2


def test_d14_what_has_stalled_holds_up_nobody_at_the_end_of_a_flusher(queue, peer, wait_for):
    """Its content is out, so it is waited for, by a flusher that goes on serving the others."""
    far = peer(trick=stalls_and_closes("content"))
    queue.write(linger="6s")
    queue.relay(far.url())
    put(queue, ["stalls"], "stalls@example.com")
    began = time.monotonic()
    flushers = [queue.flusher(), queue.flusher()]
    wait_for(lambda: time.monotonic() - began > 9, 20, "the end of the first one's life")
    put(queue, ["late"])
    wait_for(lambda: queue.states().get("sent") == 1, 15, "one that comes then")
    for flusher in flushers:
        assert flusher.process.poll() is None, "one serves, the other waits for it"
        stop_at_once(flusher, wait_for)
        assert flusher.wait() == 0
    assert queue.states() == {"sent": 1, "queued": 1}
