"""How fast mail leaves, and what stands in the way of new mail."""

import re
import time

import corpus
from harness import run


def test_no_more_is_in_flight_than_ses_takes_in_a_second(road):
    """SES's rate is the limit: what is in flight stands in line at the listener, and a new message
    behind it. With a fixed window of 100 the line would be 100/25 s."""
    way = road(listener_options={"rate": "25/s"})
    corpus.submit_all(way.queue, [corpus.Plain(i) for i in range(200)])
    done = way.queue.flush()
    assert done.sent == 200 and done.connections == 1
    replies = [row["reply"] for row in way.queue.attempts]
    waits = [float(re.search(r"wait=([\d.]+)", reply)[1]) for reply in replies]
    print("seconds in line:", waits[::10])
    assert max(waits[-80:]) < 2, waits
    assert 6 < done.seconds < 12, "and SES is kept busy all the time"


def test_a_shell_whose_commit_takes_long_is_seen_soon(road, wait_for):
    """A bare shell writes the WAL, which is what wakes the flusher; where its sync is slow its change
    can be seen only later, and there is no second event."""
    way = road(linger="60s")
    queue = way.queue
    queue.submit(corpus.Plain(1).given)
    queue.sql("update recipient set state='held'")
    flusher = queue.flusher()
    queue.submit(corpus.Plain(2).given)
    way.ses.wait(1)
    wait_for(lambda: queue.states() == {"held": 1, "sent": 1}, what="the verdict")
    done = run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync,fsync:delay_enter=900000",
                "sqlite3", "-batch", "-cmd", ".timeout 10000", queue.database,
                "update recipient set state='queued' where state='held'"])
    assert done.returncode == 0, done.stderr.decode()
    committed = time.monotonic()
    way.ses.wait(2, deadline=20)
    assert time.monotonic() - committed < 4, "it waited for the look that comes in any case"
    assert flusher.stop() == 0
