"""F2, F5, F10: kill -9 of the flusher at every system call (a sample here, all in `make soak`), with the
listener and its journal: the same messages at SES, none lost, none doubled."""

import collections
import contextlib
import os
import signal
import sqlite3
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


def recipients_got(ses):
    return sorted(r for message in ses.messages for r in message["recipients"])


def sending(way):
    """The listener's journal has something under way."""
    with contextlib.closing(sqlite3.connect(way.listener.directory / "journal.db")) as db:
        return db.execute("select count(*) from once where state='sending'").fetchone()[0]


def test_f10_some_recipients_accepted_then_the_cut(road):
    """One of three is put off, then the link is cut before the answers are through: only that one is
    sent again, and the others' answers are repeated (F5: SES's 250 was lost on the link)."""
    way = road(link={}, ses_options={"latency": 700})
    way.ses.faults("rcpt <b@*> 1 451 4.7.1 later")
    way.queue.submit("To: a@example.net, b@example.net, c@example.net\nFrom: s@example.com\n\nbody\n")
    flusher = way.queue.flusher("--once")
    wait_for(lambda: sending(way))
    way.link.cut()
    flusher.wait()
    settle_all(way.queue)
    assert recipients_got(way.ses) == ["a@example.net", "b@example.net", "c@example.net"]


def test_f5_ses_is_slower_than_the_flusher_is_patient(road):
    """It ends before SES has answered, by a second SIGTERM; the next one asks, and gets SES's answer."""
    way = road(ses_options={"latency": 1500})
    corpus.submit_all(way.queue, [corpus.Message(1, 1000)])
    flusher = way.queue.flusher()
    wait_for(lambda: sending(way))
    flusher.signal(signal.SIGTERM)
    flusher.signal(signal.SIGINT)
    assert flusher.wait(5) == 0
    assert way.queue.states() == {"queued": 1} and not way.ses.messages
    settle_all(way.queue)
    assert len(way.ses.messages) == 1
    assert [row["maybe_sent"] for row in way.queue.attempts] == [1, 0]
