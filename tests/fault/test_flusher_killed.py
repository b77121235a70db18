"""F2: kill -9 of the flusher at every system call (a sample here, all in `make soak`), with the
listener and its journal: the same messages at SES, none lost, none doubled."""

import collections
import os
import subprocess

import corpus
import kill_points
import pytest
from harness import build_dir, wait_for

COUNT = 4
EACH = 16


def traced(queue):
    return [build_dir() / "cenmail-flush", "-C", queue.conf, "-v", "--once"]


def by_call(queue, argv, nth):
    """The flusher, killed as it enters its nth system call; 0: never. How many it entered."""
    done = subprocess.run([build_dir() / "tools/kill-at", str(nth), str(os.getuid()), *argv],
                          capture_output=True, timeout=60, check=False, env=queue.env)
    words = done.stdout.decode().splitlines()[-1].split()
    assert len(words) == 3, done
    return int(words[0]), words[1]


def settle_all(queue):
    def all_sent():
        queue.flush("--once")
        return set(queue.states()) == {"sent"}
    wait_for(all_sent, 60, f"every message being sent, not {queue.states()}")


def arrivals(ses, since):
    return collections.Counter(
        corpus.message_id(ses.content(m)) for m in ses.messages[since:])


def round_of(way, serial, nth):
    """New messages, a flusher that is killed at that call, and then one that is not."""
    messages = [corpus.Message(serial * COUNT + i, 2000) for i in range(COUNT)]
    corpus.submit_all(way.queue, messages)
    before = len(way.ses.messages)
    calls, end = by_call(way.queue, traced(way.queue), nth)
    settle_all(way.queue)
    assert arrivals(way.ses, before) == {m.id: 1 for m in messages}, f"at call {nth} of {calls}"
    way.queue.whole()
    return calls, end


def test_f2_killed_at_every_system_call(road):
    way = road()
    calls, end = round_of(way, 0, 0)
    assert end == "exit" and calls > 100
    points = kill_points.sample(list(range(1, calls + 1)), EACH, "flusher with a listener")
    ends = [round_of(way, serial, nth)[1] for serial, nth in enumerate(points, 1)]
    assert ends.count("signal") >= len(points) - 2
    assert way.queue.value("select count(*) from recipient where doubt_journal<>''") == 0


def test_f2_the_check_can_fail(road):
    """A recipient that lost its token comes twice, and the check sees it."""
    way = road()
    messages = [corpus.Message(1, 1000)]
    corpus.submit_all(way.queue, messages)
    settle_all(way.queue)
    corpus.submit_all(way.queue, messages)
    settle_all(way.queue)
    with pytest.raises(AssertionError):
        assert arrivals(way.ses, 0) == {m.id: 1 for m in messages}
