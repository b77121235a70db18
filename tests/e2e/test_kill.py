"""kill -9 in the middle of 1,000 messages, and again: none lost, and none doubled but in the one
window that every SMTP sender has, between SES and its client: those are counted, never hidden."""

import collections
import re

import corpus
import pytest

KILLS = (150, 400, 700)


def arrivals(ses):
    return collections.Counter(corpus.message_id(ses.content(m)) for m in ses.messages)


def check_none_lost(way, thousand, run):
    states = way.queue.states()
    assert states == {"sent": len(thousand.ids)}, f"{states}\n{run.log[-2000:]}"
    lost = set(thousand.ids) - set(arrivals(way.ses))
    assert not lost, f"{len(lost)} lost: {sorted(lost)[:5]}"
    way.queue.whole()


def doubled(ses):
    return {i: n for i, n in arrivals(ses).items() if n > 1}


def flush_until_sent(way, wait_for, deadline=120):
    """Flusher after flusher, as cron starts them: what was put off comes due meanwhile."""
    last = []

    def all_sent():
        last[:] = [way.queue.flush()]
        return set(way.queue.states()) == {"sent"}

    wait_for(all_sent, deadline, "every message being sent")
    return last[0]


def test_the_flusher_is_killed(road, thousand, wait_for):
    """Between flusher and listener nothing is doubled: the journal knows the tokens."""
    way = road(ses_options={"latency": 3}, link={"delay_ms": 5})
    thousand.pour(way.queue)
    for at in KILLS:
        flusher = way.queue.flusher()
        way.ses.wait(at)
        assert flusher.kill() == -9
    run = flush_until_sent(way, wait_for)
    check_none_lost(way, thousand, run)
    assert doubled(way.ses) == {}
    assert way.ses.stop()["pipelined"] == 0


def in_doubt(listener):
    """How often the listener said that a message was in doubt."""
    return len(re.findall(r"in doubt", listener.program.log))


def test_the_listener_is_killed(road, thousand, wait_for):
    """Its journal says `sending` for what it had handed to SES: those few may come twice."""
    workers = 4
    way = road(ses_options={"latency": 3}, listener_options={"upstream_connections": workers})
    thousand.pour(way.queue)
    may_double = 0
    for at in KILLS:
        flusher = way.queue.flusher()
        way.ses.wait(at)
        assert way.listener.kill() == -9
        flusher.wait(60)
        may_double += workers
        way.listener.start()
    run = flush_until_sent(way, wait_for)
    check_none_lost(way, thousand, run)
    twice = doubled(way.ses)
    assert all(n == 2 for n in twice.values()), twice
    assert len(twice) <= may_double, twice
    way.listener.stop()
    assert len(twice) <= journal_doubts(way), "a double that nobody counted"


def journal_doubts(way):
    """In doubt by the attempts in Shanghai or by the listener's own words."""
    return max(in_doubt(way.listener), way.queue.value(
        "select count(distinct recipient) from attempt where maybe_sent"))


def test_ses_answer_lost_is_counted(road, wait_for):
    """SES took it and its connection died before the answer: in doubt, sent again, counted."""
    way = road()
    way.ses.faults("dot 1 close-before-reply")
    message = corpus.Message(1, 1000)
    way.queue.submit(message.given)
    flush_until_sent(way, wait_for, 60)
    assert arrivals(way.ses) == {message.id: 2}
    way.listener.stop()
    assert journal_doubts(way) >= 1
    assert way.queue.value("select max(maybe_sent) from attempt") == 1 or in_doubt(way.listener)


def test_in_doubt_hold_sends_nothing_twice(road):
    """Held for the operator, who looks and says that it was sent, or to send it again."""
    way = road(listener_options={"in_doubt": "hold"})
    way.ses.faults("dot 1 close-before-reply")
    message = corpus.Message(1, 1000)
    way.queue.submit(message.given)
    for _ in range(3):
        way.queue.flush()
        way.queue.sql("update recipient set state='queued' where state='queued'")  # try now
    assert arrivals(way.ses) == {message.id: 1}
    assert way.queue.states() == {"held": 1}
    assert "doubt" in way.queue.mailq[0]["last_reply"]


def test_what_is_held_in_doubt_can_be_set_sent_by_hand(road):
    way = road(listener_options={"in_doubt": "hold"})
    way.ses.faults("dot 1 close-before-reply")
    way.queue.submit(corpus.Message(1, 1000).given)
    for _ in range(2):
        way.queue.flush()
        way.queue.sql("update recipient set state='queued' where state='queued'")
    assert way.queue.states() == {"held": 1}
    way.queue.sql("update recipient set state='sent'")
    assert way.queue.states() == {"sent": 1}


@pytest.mark.parametrize("fault", ["dot 1 close", "dot 1 reset", "mail 1 421 going down",
                                   "data 1 close", "rcpt 1 close", "greeting 1 421 too many",
                                   "ehlo 1 close", "auth 1 454 Temporary authentication failure",
                                   "starttls 1 454 TLS not available", "connect 1 reset",
                                   "dot 1 cut 5", "dot 1 451 Temporary service failure"])
def test_ses_falters_once(road, wait_for, fault):
    """Every message comes through; what SES had no answer for may be there twice, all else once."""
    way = road()
    way.ses.faults(fault)
    messages = [corpus.Message(i, 1000) for i in range(5)]
    corpus.submit_all(way.queue, messages)
    flush_until_sent(way, wait_for, 60)
    got = arrivals(way.ses)
    assert set(got) == {m.id for m in messages}
    taken_untold = fault == "dot 1 cut 5"
    assert sum(got.values()) == len(messages) + taken_untold
    assert way.ses.stop()["faults"] >= 1
    way.queue.whole()


def test_a_graceful_stop_cuts_no_transaction(road, thousand, wait_for):
    way = road(ses_options={"latency": 20})
    thousand.pour(way.queue)
    flusher = way.queue.flusher()
    way.ses.wait(100)
    assert way.listener.stop() == 0
    flusher.wait(60)
    assert way.queue.states()["sent"] == len(way.ses.messages) < 1000
    assert set(way.queue.states()) == {"sent", "queued"}
    way.listener.start()
    check_none_lost(way, thousand, flush_until_sent(way, wait_for))
    assert doubled(way.ses) == {}
    assert in_doubt(way.listener) == 0


def test_the_flusher_stops_at_sigterm(road, thousand):
    """It takes nothing new, settles what is in flight, and goes."""
    way = road(ses_options={"latency": 20}, linger="60s")
    thousand.pour(way.queue)
    flusher = way.queue.flusher()
    way.ses.wait(100)
    assert flusher.stop() == 0
    sent = way.queue.states()["sent"]
    assert sent == len(way.ses.messages) < 1000
    assert way.queue.value("select count(*) from recipient where doubt_journal<>''") == 0
