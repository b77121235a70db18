"""From one cron minute's flusher to the next: no message is lost or doubled, and none has to wait for
a connection that is made only then."""

import contextlib
import fcntl
import os
import re
import threading
import time

import corpus
from harness import wait_for

SECONDS = 6  # in which the cost of waiting is counted


def is_ready(queue):
    """The next flusher waits, and has its connections: its lock may be shared, and not had alone."""
    with open(queue.database.parent / "next.lock", "rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            pass
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


def is_taken(queue, name):
    with open(queue.database.parent / name, "rb") as tried:
        try:
            fcntl.flock(tried, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


def delays(queue):
    return [row[0] / 1000 for row in queue.sql(
        "select a.at-m.submitted from attempt a join message m on m.id=a.message order by a.id")]


def test_the_next_one_has_its_connection_before_its_turn(road):
    """Over 400 ms of round trip a connection takes two seconds, a message half of one."""
    way = road(link={"delay_ms": 200}, linger="60s")
    queue = way.queue
    first = queue.flusher()
    queue.submit(corpus.Plain(1).given)
    way.ses.wait(1)
    second = queue.flusher()
    wait_for(lambda: is_ready(queue), 20, "the second flusher being ready")
    queue.submit(corpus.Plain(2).given)
    way.ses.wait(2)
    assert first.stop() == 0
    queue.submit(corpus.Plain(3).given)
    way.ses.wait(3)
    wait_for(lambda: queue.states() == {"sent": 3}, what="the verdict")
    assert delays(queue)[2] < 1.3, delays(queue)
    assert second.stop() == 0
    assert "1 connections" in second.log, "and it is that connection that was used"


def test_minute_after_minute_new_mail_meets_a_flusher(road):
    """cron with a minute of three seconds, and a message every tenth of one."""
    way = road(link={"delay_ms": 45}, linger="3s")
    queue = way.queue
    began, sent, started = time.monotonic(), 0, []
    while (now := time.monotonic() - began) < 10:
        if now >= 3 * len(started):
            started.append(queue.flusher())
        queue.submit(corpus.Plain(sent).given)
        sent += 1
        time.sleep(max(0, began + sent / 10 - time.monotonic()))
    way.ses.wait(sent)
    assert [one.wait(20) for one in started[:-1]] == [0] * (len(started) - 1)
    assert started[-1].stop() == 0
    assert queue.states() == {"sent": sent} and len(way.ses.messages) == sent
    slow = sorted(delays(queue)[10:])  # the first of all has to connect
    print("seconds, the slowest:", slow[-5:])
    assert slow[-1] < 0.45, slow[-10:]  # a connection alone takes as long


def cost(pid):
    """Wake-ups so far; KB of its own and its part of what it shares."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        woken = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return woken, int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1])


def test_waiting_costs_next_to_nothing(road):
    """A flusher that lingers with nothing to send looks now and then, and no more."""
    way = road(linger="60s")
    flusher = way.queue.flusher()
    way.queue.submit(corpus.Plain(1).given)
    wait_for(lambda: way.queue.states() == {"sent": 1}, what="the verdict")
    time.sleep(1)  # what follows a verdict: checkpoint, notices
    woken, _ = cost(flusher.pid)
    time.sleep(SECONDS)
    more, pss = cost(flusher.pid)
    print(f"{(more - woken) * 60 / SECONDS:.0f} wake-ups a minute, PSS {pss} KB")
    assert more - woken <= SECONDS, "one a second"
    assert "san" in os.environ.get("CENMAIL_BUILD", "") or pss < 16_000
    assert flusher.stop() == 0


def test_a_changed_configuration_is_in_force_with_the_next_one(road, ses):
    """The flusher that runs has read it as root, and can't again: it goes as soon as there is one that
    has the new one."""
    way = road(linger="60s")
    queue, other = way.queue, ses()
    first = queue.flusher()
    queue.submit(corpus.Plain(1).given)
    way.ses.wait(1)
    queue.relay(other.url)
    second = queue.flusher()
    assert first.wait(20) == 0
    queue.submit(corpus.Plain(2).given)
    other.wait(1)
    third = queue.flusher()  # nothing has changed since: it only waits
    wait_for(lambda: is_ready(queue), 20, "the third flusher being ready")
    queue.submit(corpus.Plain(3).given)
    other.wait(2)
    assert second.process.poll() is None and third.process.poll() is None
    assert second.stop() == 0 and third.stop() == 0


def test_a_look_at_the_lock_sends_nobody_away(road):
    """The flusher that runs takes the next one's lock for a moment, to see whether there is one. Who
    came in that moment went, and there was no flusher until the next minute."""
    queue = road(linger="60s").queue
    first = queue.flusher()
    wait_for(lambda: is_taken(queue, "flush.lock"), what="its turn")
    over = threading.Event()

    def look():  # two thirds of the time
        while not over.wait(0.001):
            with open(queue.database.parent / "next.lock", "rb") as tried:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(tried, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    time.sleep(0.002)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(6):
            after = queue.flusher()
            wait_for(lambda: is_ready(queue) or after.process.poll() is not None, what="the next one")
            assert after.process.poll() is None, after.log
            assert after.stop() == 0
    finally:
        over.set()
        looking.join()
    assert first.stop() == 0
