"""How fast a relay is given mail: `rate`, what its throttling teaches, and that a flusher goes on
where the one before it was."""

import os
import time

import pytest

MAIL = "To: {0}\nFrom: sender@example.com\nSubject: s\n\nbody\n"


def put(queue, count, domain="example.net"):
    for i in range(count):
        queue.submit(MAIL.format(f"r{i}@{domain}"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_rate_counts_recipients_over_all_connections(queue, ses):
    far = ses(latency=50, rate=20)
    queue.write(rate="18/s", connections="4")
    queue.relay(far.url)
    put(queue, 40)
    queue.submit(MAIL.format(", ".join(f"m{i}@example.net" for i in range(20))))
    done = queue.flush()
    assert done.sent == 60, done.log
    assert 2 <= done.seconds < 20, "eighteen at once, then as SES takes them"
    counters = far.stop()
    assert counters["throttled"] == 0 and 1 < counters["connections"] <= 4


def test_the_next_flusher_has_no_second_of_its_own(queue, ses):
    """A full bucket for each would be twice the rate at every hand-over."""
    far = ses(rate=20)
    queue.relay(f"{far.url} rate=18/s")
    for _ in range(3):
        put(queue, 18)
        assert queue.flush().sent == 18
    assert far.stop()["throttled"] == 0
    queue.relay("smtp://127.0.0.1:1 rate=20/s")  # another relay is another bucket
    assert queue.flush().code == 0


def test_a_road_that_waits_for_its_pace_holds_up_no_other_and_does_not_spin(queue, ses, wait_for):
    slow, quick = ses(), ses()
    queue.write(route=f"*@slow.example {slow.url} rate=60/m", linger="30s", rate="1000/s")
    queue.relay(quick.url)
    put(queue, 100, "slow.example")
    put(queue, 30)
    flusher = queue.flusher()
    quick.wait(30, 10)
    at, since = len(slow.messages), time.monotonic()
    assert at <= 2
    spent = cpu_seconds(flusher.pid)
    slow.wait(at + 3, 10)
    assert time.monotonic() - since > 1.5
    assert cpu_seconds(flusher.pid) - spent < 0.3, "it waits in poll(2)"
    put(queue, 1)
    quick.wait(31, 2)
    assert slow.program.process.poll() is None and flusher.stop() == 0
    assert slow.stop()["connections"] == 1, "kept from one to the next"
    assert queue.states()["sent"] == len(slow.messages) + 31


def test_a_connection_is_not_kept_open_for_a_slow_pace(queue, ses):
    """SES ends one that is silent for 10 s: ours goes before, and the next is opened in time."""
    far = ses()
    queue.relay(f"{far.url} rate=9/m")
    put(queue, 2)
    done = queue.flush()
    assert done.sent == 2 and done.connections == 2 and 6 < done.seconds < 20
    assert far.stop()["idled"] == 0


@pytest.mark.parametrize("rate", [None, "100/s"])
def test_d12_throttling_teaches_the_rate(queue, ses, rate):
    """SES takes 20 a second, and nobody has told us, or we were told wrong: no message pays for it."""
    far = ses(rate=20, latency=20)
    queue.write(connections="4", rate=rate, retry_min="1h", retry_max="1h")
    queue.relay(far.url)
    put(queue, 60)
    done = queue.flush()
    assert done.sent == 60, done.log
    assert done.seconds < 40
    assert queue.value("select max(tries) from recipient") == 1
    row, = queue.sql("select * from roads")
    assert 1 <= row["rate"] < 60
    assert row["next_try"] is None, "slower, but not paused"
    throttled = far.stop()["throttled"]
    print("throttled:", throttled, "learnt:", row["rate"])
    assert 1 <= throttled < 40


def test_what_throttling_has_taught_is_known_to_the_next(queue, ses):
    far = ses(latency=5)
    queue.relay(far.url)
    put(queue, 25)
    far.faults("dot 20+1 454 Throttling failure: Maximum sending rate exceeded")
    first = queue.flush()
    assert first.sent == 25
    row, = queue.sql("select * from road")
    assert 0 < row["rate"] <= 100_000
    queue.as_program("update road set rate=4000, full_at=0")
    put(queue, 8)
    second = queue.flush()
    assert second.sent == 8 and second.seconds > 0.9, "it begins with 4 a second"
    assert queue.value("select rate from road") > 4000, "and creeps up"
    queue.sql("delete from road")
    put(queue, 8)
    assert queue.flush().sent == 8
    assert queue.value("select rate from road") is None, "forgotten by hand"
