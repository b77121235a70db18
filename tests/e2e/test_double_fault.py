"""The flusher is killed with mail in flight, and the relay that has it is gone as well when the next one
starts: what may have been taken is not sent elsewhere uncounted (F2, F5; DESIGN: a recipient in doubt
goes back to the same journal)."""

import contextlib
import os
import sqlite3
import time

import pytest
from harness import wait_for
from hostile import Hostile, Trick

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody\n"


def got(ses):
    return sorted(r for m in ses.messages for r in m["recipients"])


def sending(listener):
    """Rows that its journal has under way."""
    with contextlib.closing(sqlite3.connect(listener.directory / "journal.db")) as db:
        return db.execute("select count(*) from once where state='sending'").fetchone()[0]


def flight(queue):
    return queue.database.parent / "flight"


def later(queue):
    """As after a while."""
    queue.as_program("update road set resume_at=0", "update recipient set next_try=0")


@pytest.fixture
def two(queue, listener, ses):
    """A queue whose second relay is in use; one SES behind both."""
    far = ses(latency=500)
    first, second = listener(far.url), listener(far.url)
    first.stop()
    queue.write(retry_max="1s")
    queue.relay(first.url(), second.url())
    return queue, first, second, far


def kill_in_flight(queue, second, far, count):
    flusher = queue.flusher()
    wait_for(lambda: sending(second) == count, what="the second having it")
    flusher.kill()
    far.wait(count)


def test_the_relay_in_use_is_down_too(two):
    queue, first, second, far = two
    queue.submit(MAIL.format("a@example.net"))
    kill_in_flight(queue, second, far, 1)
    second.stop()
    first.start()
    queue.submit(MAIL.format("b@example.net"))
    later(queue)
    log = queue.flush().log
    assert "ended with 1 recipients in flight" in log
    far.wait(2)
    assert got(far) == ["a@example.net", "b@example.net"], "who was not in flight does not wait"
    row, = queue.mailq
    assert row["recipient"] == "a@example.net" and "in doubt: waits" in row["last_reply"]
    tries = [(r["recipient"], r["maybe_sent"]) for r in queue.attempts]
    assert ("a@example.net", 1) in tries and ("b@example.net", 1) not in tries
    second.start()
    later(queue)
    queue.as_program("update recipient set next_try=0")
    wait_for(lambda: queue.flush() and queue.states() == {"sent": 2}, what="the second's answer")
    assert got(far) == ["a@example.net", "b@example.net"], "and its journal knew it"


def test_near_the_horizon_it_goes_elsewhere_and_is_counted(two):
    queue, first, second, far = two
    queue.submit(MAIL.format("a@example.net"))
    kill_in_flight(queue, second, far, 1)
    second.stop()
    first.start()
    later(queue)
    queue.flush()
    queue.as_program(f"update recipient set doubt_until={int(time.time() * 1000)}")
    later(queue)
    assert queue.flush().sent == 1
    assert got(far) == ["a@example.net"] * 2
    assert sum(r["maybe_sent"] for r in queue.attempts) == 1


def test_changed_by_hand_meanwhile(two):
    """Held is still in doubt; to another address it is another mail."""
    queue, first, second, far = two
    queue.submit(MAIL.format("a@example.net, b@example.net"))
    flusher = queue.flusher()
    wait_for(lambda: sending(second) == 2, what="the second having it")
    flusher.kill()
    second.stop()
    queue.sql("update recipient set state='held' where address like 'a%'")
    queue.sql("update recipient set address='c@example.net' where address like 'b%'")
    first.start()
    later(queue)
    queue.flush()
    assert {r["address"]: r["doubt_journal"] != "" for r in queue.sql("select * from recipient")} == \
        {"a@example.net": True, "c@example.net": False}


def test_to_a_peer_without_a_journal_it_is_counted(queue):
    """It comes twice, as from every sender that is killed there: never hidden."""
    far = Hostile("step", trick=lambda step, who: Trick(then="silence", takes=True)
                  if step == "content" else None)
    queue.relay(far.url())
    queue.submit(MAIL.format("a@example.net"))
    flusher = queue.flusher()
    wait_for(lambda: far.taken, what="the content")
    flusher.kill()
    far.trick = lambda step, who: None
    assert queue.flush().sent == 1
    assert far.count("a@example.net") == 2
    assert [r["maybe_sent"] for r in queue.attempts] == [1, 0]
    far.close()


def test_nothing_is_left_of_a_run_that_ends_well(queue, ses):
    far = ses()
    far.faults("rcpt <b@*> 1 451 4.7.1 later")
    queue.relay(far.url)
    queue.submit(MAIL.format("a@example.net, b@example.net"))
    queue.flush()
    assert flight(queue).stat().st_size == 0 and flight(queue).stat().st_mode & 0o777 == 0o600
    queue.flush()
    assert not any(r["maybe_sent"] for r in queue.attempts)


@pytest.mark.parametrize("left", [
    b"x", os.urandom(20000), bytes(9000), b"\x31\x6c\x66\x63" + b"\xff" * 5000])
def test_a_file_that_is_none_of_ours_stops_no_mail(queue, ses, left):
    far = ses()
    queue.relay(far.url)
    queue.submit(MAIL.format("a@example.net"))
    flight(queue).write_bytes(left)
    assert queue.flush().sent == 1
    assert not any(r["maybe_sent"] for r in queue.attempts)


def test_an_old_place_does_no_harm(two):
    """Killed between the verdict and the place's end: what has its verdict keeps it."""
    queue, first, second, far = two
    queue.submit(MAIL.format("a@example.net"))
    kill_in_flight(queue, second, far, 1)
    left = flight(queue).read_bytes()
    assert queue.flush().sent == 1
    flight(queue).write_bytes(left)
    queue.flush()
    assert queue.states() == {"sent": 1} and [r["maybe_sent"] for r in queue.attempts] == [1, 0]


def test_the_check_can_fail(two):
    """Without the file the next flusher knows of nothing, and it comes twice uncounted."""
    queue, first, second, far = two
    queue.submit(MAIL.format("a@example.net"))
    kill_in_flight(queue, second, far, 1)
    second.stop()
    flight(queue).unlink()
    first.start()
    later(queue)
    assert queue.flush().sent == 1
    assert got(far) == ["a@example.net"] * 2 and not any(r["maybe_sent"] for r in queue.attempts)
