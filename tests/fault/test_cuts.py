"""The link cut after an exact number of octets, in both directions, by reset, by an orderly end and
by silence: nothing lost, nothing doubled, as the listener's journal knows every token (F1, F5; a
sample here: `make soak` has them all)."""

import collections

import corpus
import pytest
from harness import wait_for

COUNT = 8


def flush_until_sent(queue, deadline=90):
    def all_sent():
        queue.flush()
        return set(queue.states()) == {"sent"}
    wait_for(all_sent, deadline, f"every message being sent, not {queue.states()}")


def check_exactly_once(way, messages):
    counts = collections.Counter(corpus.message_id(way.ses.content(m)) for m in way.ses.messages)
    assert counts == {m.id: 1 for m in messages}
    for arrived in way.ses.messages:
        content = way.ses.content(arrived)
        message = next(m for m in messages if m.id == corpus.message_id(content))
        assert corpus.below_received(content) == message.expected
    assert way.queue.states() == {"sent": len(messages)}
    way.queue.whole()


def cut_road(road, how, size=3000, **more):
    way = road(link={**how, **more})
    messages = [corpus.Message(i, size) for i in range(COUNT)]
    corpus.submit_all(way.queue, messages)
    flush_until_sent(way.queue)
    check_exactly_once(way, messages)
    return way


# Where it hurts: the handshake, AUTH, the first MAIL, in content, after the last content.
UP = [0, 1, 200, 700, 1500, 2600, 5000, 12345, 20000, 27000]
DOWN = [0, 1, 500, 1500, 1900, 2200, 2400, 2600, 2800, 3000, 3200]


@pytest.mark.parametrize("octets", UP)
def test_cut_on_the_way_up(road, octets):
    way = cut_road(road, {"cut_up": octets})
    assert way.link.stop()["cut"] == 1


@pytest.mark.parametrize("octets", DOWN)
def test_cut_on_the_way_down(road, octets):
    cut_road(road, {"cut_down": octets})


@pytest.mark.parametrize("octets", [1500, 9000])
def test_an_orderly_end_is_no_answer(road, octets):
    cut_road(road, {"cut_up": octets}, fin=True)


def test_cut_again_and_again(road):
    """Three connections in a row. A message alone reaches the cut: how many share a connection is
    up to the spread of the retries."""
    way = cut_road(road, {"cut_up": 9000}, size=12000, cuts=3)
    assert way.link.stop()["cut"] == 3


def test_a_reset_at_any_time(road, thousand):
    """By the clock of the traffic and not by a count: a cut at every hundredth message."""
    way = road(link={"delay_ms": 2}, ses_options={"latency": 2})
    thousand.pour(way.queue)
    for at in range(100, 1000, 150):
        flusher = way.queue.flusher()
        way.ses.wait(at)
        way.link.cut()
        flusher.wait(60)
    flush_until_sent(way.queue)
    counts = collections.Counter(corpus.message_id(way.ses.content(m)) for m in way.ses.messages)
    assert counts == {i: 1 for i in thousand.ids}


def test_the_check_can_fail(road):
    """The same message under two tokens arrives twice, and the check sees it."""
    way = road(link={})
    messages = [corpus.Message(1, 1000)]
    corpus.submit_all(way.queue, messages + messages)
    flush_until_sent(way.queue)
    with pytest.raises(AssertionError):
        check_exactly_once(way, messages)
