"""Many callers at once, alone and beside a flusher at work: none lost, none kept waiting."""

import concurrent.futures
import time

import corpus
import pytest

CALLERS, EACH = 8, 125
PATIENCE = 5.0  # seconds for one call; on a machine so busy that all are slow, a multiple of that


def call_all(queue):
    """CALLERS at once, each one call after the other; how long each call took."""
    def caller(number):
        times = []
        for i in range(EACH):
            message = corpus.plain(number * EACH + i)
            began = time.monotonic()
            queue.submit(message)
            times.append(time.monotonic() - began)
        return times

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        return [t for times in pool.map(caller, range(CALLERS)) for t in times]


def report(times):
    times = sorted(times)
    return (f"{len(times)} calls: median {times[len(times) // 2] * 1000:.1f} ms, "
            f"p99 {times[len(times) * 99 // 100] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms")


def nobody_waited(times):
    """None is kept waiting while others are served."""
    patience = max(PATIENCE, 4 * sorted(times)[len(times) // 2])
    assert max(times) < patience, report(times)


def test_the_check_can_fail():
    nobody_waited([4.0] * 1000 + [7.0])
    with pytest.raises(AssertionError):
        nobody_waited([0.1] * 1000 + [6.0])


def test_eight_callers_at_once(queue):
    times = call_all(queue)
    print(report(times))
    total = CALLERS * EACH
    assert queue.states() == {"queued": total}
    assert queue.value("select count(distinct address) from recipient") == total
    assert queue.value("select count(distinct once) from recipient") == total
    queue.whole()
    nobody_waited(times)


@pytest.mark.parametrize("connections", [1])
def test_eight_callers_beside_a_flusher(road, wait_for, connections):
    way = road(linger="600s", connections=connections)
    flusher = way.queue.flusher()
    times = call_all(way.queue)
    print(report(times))
    total = CALLERS * EACH
    way.ses.wait(total)
    wait_for(lambda: way.queue.states() == {"sent": total}, what="the verdicts")
    assert flusher.stop() == 0
    ids = [corpus.message_id(way.ses.content(m)) for m in way.ses.messages]
    assert len(ids) == len(set(ids)) == total
    way.queue.whole()
    nobody_waited(times)
