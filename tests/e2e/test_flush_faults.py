"""The flusher when something is in its way: it neither spins, nor stalls, nor forgets a verdict."""

import contextlib
import fcntl
import os
import signal
import socket
import sqlite3
import time

import pytest
from hostile import Hostile, Trick

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"
SPIN = 0.1  # of a processor, of which waiting takes nothing, and a busy machine may give us little


def put(queue, count):
    for i in range(count):
        queue.submit(MAIL.format(f"r{i}@example.net", i))


def many_recipients(queue, count):
    """One message to `count` recipients, without as many calls of sendmail."""
    queue.submit(MAIL.format("r0@example.net", 0))
    queue.as_program("with recursive n(i) as (select 1 union all select i+1 from n where i<"
                     f"{count - 1}) insert into recipient(message,address,once,next_try,since)"
                     " select 1,'r'||i||'@example.net',randomblob(16),0,0 from n")


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(program, seconds=1.0):
    """The part of a processor that it takes."""
    before = processor_seconds(program.pid)
    time.sleep(seconds)
    assert program.process.poll() is None, program.log
    return (processor_seconds(program.pid) - before) / seconds


@pytest.fixture
def short_patience():
    """short_patience(at): an LMTP relay that answers LHLO well and then closes: at once, or at MAIL."""
    made = []

    def make(at):
        offer = b"250-here\r\n250 PIPELINING\r\n"
        end = {"ehlo1": Trick(offer, then="close"), "mail": Trick(then="close")}[at]
        made.append(Hostile("group", trick=lambda step, _: end if step == at else None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def lmtp(far):
    return f"lmtp://127.0.0.1:{far.port}"


def test_a_relay_that_never_greets_is_a_fault_within_a_flushers_life(queue):
    """RFC 5321 would have it wait five minutes, and a flusher lives for one: nobody would ever learn
    why nothing goes."""
    queue.write(linger="2s")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queue.relay(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        put(queue, 1)
        run = queue.flush()
    assert "timed out while waiting for the greeting" in run.log
    assert queue.value("select count(*) from outage") == 1


# --- it waits, and does not spin ---


def test_no_spin_while_much_waits_for_a_slow_road(queue, ses, long_link):
    """More in hand than is soon sent, past the time at which it looks for more."""
    far = ses(latency=200)
    link = long_link(far.port)
    queue.write(linger="60s")
    queue.relay(far.url.replace(str(far.port), str(link.port)))
    many_recipients(queue, 1000)
    flusher = queue.flusher()
    far.wait(1)
    link.toggle()
    time.sleep(10.5)
    assert load(flusher) < SPIN


def test_no_spin_after_sigterm(queue, ses, long_link):
    """What is in flight may take its time."""
    far = ses(latency=100)
    link = long_link(far.port)
    queue.relay(far.url.replace(str(far.port), str(link.port)))
    put(queue, 5)
    flusher = queue.flusher()
    far.wait(1)
    link.toggle()
    flusher.signal(signal.SIGTERM)
    assert load(flusher) < SPIN
    link.toggle()
    assert flusher.wait() == 0
    assert queue.states()["sent"] == len(far.messages) < 5


def test_no_spin_while_the_road_is_paused(queue, ses):
    """The quota is used up, others wait, and the connection idles: it is closed, not polled."""
    far = ses()
    queue.write(linger="60s")
    queue.relay(far.url)
    put(queue, 2)
    far.faults("dot * 454 Throttling failure: Daily message quota exceeded")
    flusher = queue.flusher()
    flusher.line(lambda line: "quota exceeded" in line)
    time.sleep(5.2)
    assert load(flusher) < SPIN


def test_who_closes_idle_connections_is_not_asked_again_at_once(queue, short_patience):
    relay = short_patience("ehlo1")
    queue.write(linger="30s")
    queue.relay(lmtp(relay))
    queue.flusher()
    time.sleep(1.5)
    assert 1 <= len(relay.sessions) <= 2


def test_backoff_grows_while_no_message_is_answered(queue, short_patience):
    """A peer that greets well and then closes is a fault of the road like any other (D14)."""
    relays = [short_patience("mail"), short_patience("mail")]
    queue.write(linger="30s", retry_min="1s", retry_max="1s")
    queue.relay(*map(lmtp, relays))
    put(queue, 20)
    queue.flusher()
    time.sleep(4)
    assert 2 <= sum(len(r.sessions) for r in relays) <= 6, "at 0, 1 and 3 s, two each"
    assert queue.states() == {"queued": 20}


# --- it goes on, and does not stall ---


def test_more_due_than_is_taken_in_hand(queue, ses):
    """With linger 0 it goes when nothing is due, and not before."""
    far = ses()
    queue.relay(far.url)
    many_recipients(queue, 2600)
    assert queue.flush().sent == 2600
    assert queue.states() == {"sent": 2600}


# --- verdicts ---


@contextlib.contextmanager
def lock_held(queue):
    with open(queue.database.parent / "queue.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def transaction_open(queue):
    db = sqlite3.connect(queue.database, isolation_level=None, timeout=10)
    db.execute("begin immediate")
    yield
    db.execute("rollback")
    db.close()


@pytest.mark.parametrize("obstacle", [lock_held, transaction_open])
def test_verdicts_wait_for_a_queue_that_can_not_be_written(queue, ses, obstacle):
    """SES keeps no journal: a verdict that is forgotten is mail that comes twice."""
    far = ses(latency=50)
    queue.write(lock_wait="1s")
    queue.relay(far.url)
    put(queue, 6)
    flusher = queue.flusher()
    far.wait(2)
    with obstacle(queue):
        flusher.line(lambda line: "verdicts wait" in line)
        taken = len(far.messages)
        time.sleep(1)
        assert len(far.messages) == taken < 6, "nothing new is sent meanwhile"
    assert flusher.wait() == 0
    assert queue.states() == {"sent": 6}
    assert sorted(r for m in far.messages for r in m["recipients"]) == \
        [f"r{i}@example.net" for i in range(6)]
    assert len(queue.attempts) == 6


def test_who_holds_the_lock_is_named(queue, ses):
    """C10, of the flusher."""
    far = ses(latency=50)
    queue.write(lock_wait="1s")
    queue.relay(far.url)
    put(queue, 3)
    flusher = queue.flusher()
    far.wait(1)
    with lock_held(queue):
        flusher.line(lambda line: f"process {os.getpid()} (" in line and "verdicts wait" in line)
    assert flusher.wait() == 0


def ask_journal(listener, query):
    with contextlib.closing(sqlite3.connect(listener.directory / "journal.db")) as db:
        return db.execute(query).fetchone()[0]


def journal_of(listener):
    return ask_journal(listener, "select id from journal")


def put_in_doubt(queue, journal):
    """As a lost connection leaves it."""
    queue.as_program(f"update recipient set doubt_journal='{journal}',"
                     f" doubt_until={int((time.time() + 86400) * 1000)}")


def test_a_connection_lost_after_the_content_is_in_doubt_until_answered(road, wait_for):
    way = road(link={}, ses_options={"latency": 1500})
    put(way.queue, 1)
    flusher = way.queue.flusher()
    doubt = "select doubt_journal from recipient where doubt_until > ?"
    wait_for(lambda: ask_journal(way.listener, "select count(*) from once where state='sending'"))
    way.link.cut()
    journal = wait_for(lambda: way.queue.value(doubt, time.time() * 1000), what="the doubt")
    assert journal == journal_of(way.listener)
    assert flusher.wait() == 0
    assert way.queue.flush().sent == 1 and len(way.ses.messages) == 1
    assert [row["maybe_sent"] for row in way.queue.attempts] == [1, 0]
    assert way.queue.value("select doubt_journal||doubt_until from recipient") == "0"


def test_in_doubt_at_the_second_relay_while_the_first_is_well(queue, listener, ses):
    """The relay whose journal may know it is looked for: it would wait for weeks else."""
    far = ses()
    first, second = listener(far.url), listener(far.url)
    queue.relay(first.url(), second.url())
    put(queue, 2)
    put_in_doubt(queue, journal_of(second))
    assert queue.flush().sent == 2
    assert {row["relay"] for row in queue.attempts} == {f"lmtps://127.0.0.1:{second.port}"}


def test_in_doubt_at_a_journal_that_no_relay_has(queue, listener, ses):
    """It waits, and the relays are not asked in turns for ever."""
    far = ses()
    queue.relay(listener(far.url).url(), listener(far.url).url())
    put(queue, 2)
    put_in_doubt(queue, "0" * 32)
    run = queue.flush()
    assert queue.states() == {"queued": 2} and not far.messages
    assert run.connections == 2


@pytest.mark.skipif("CENMAIL_SOAK" not in os.environ, reason="50 s: make soak")
def test_a_big_message_outlives_its_flusher(road):
    """Cut at the end of each flusher's life it would begin anew for ever."""
    way = road(link={"kbit": 4000}, linger="1s")
    way.queue.submit(MAIL.format("r@example.net", "x" * 79 + "\n") + ("y" * 79 + "\n") * 300_000)
    run = way.queue.flush()
    assert (run.sent, run.connections) == (1, 1)
    assert run.seconds > 35


@pytest.mark.skipif("CENMAIL_SOAK" not in os.environ, reason="35 s: make soak")
def test_a_slow_answer_outlives_its_flusher(queue, ses):
    """RFC 5321 gives it ten minutes: a peer without a journal, cut before, would get it twice."""
    far = ses(latency=33000)
    queue.write(linger="1s")
    queue.relay(far.url)
    put(queue, 1)
    run = queue.flush()
    assert run.sent == 1 and run.seconds > 32
    assert queue.flush().sent == 0 and len(far.messages) == 1


# --- by hand, and by signal ---


@pytest.mark.parametrize("change, sent_to", [
    ("update recipient set state='held' where message=4", []),
    ("delete from message where id=4", []),
    ("update recipient set address='other@example.net' where message=4", ["other@example.net"]),
])
def test_a_change_by_hand_before_its_turn_counts(queue, ses, change, sent_to):
    """In the flusher's hand is not in flight."""
    far = ses(latency=200)
    queue.relay(far.url)
    put(queue, 4)
    flusher = queue.flusher()
    far.wait(1)
    queue.sql(change)
    assert flusher.wait() == 0
    assert [r for m in far.messages for r in m["recipients"]] == \
        ["r0@example.net", "r1@example.net", "r2@example.net", *sent_to]


def test_a_closed_terminal_is_a_stop_in_good_order(queue, ses):
    queue.write(linger="60s")
    queue.relay(ses().url)
    put(queue, 1)
    flusher = queue.flusher()
    flusher.line(lambda line: "status=sent" in line)
    flusher.signal(signal.SIGHUP)
    assert flusher.wait() == 0
