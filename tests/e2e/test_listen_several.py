"""F8: several listeners, a journal each, behind one address; and a journal that has forgotten too
early. Nothing is lost, and what comes twice is counted."""

import collections

import corpus
import pytest
from balancer import Balancer
from dialogue import journal
from harness import run, wait_for


def arrived(ses):
    return collections.Counter(corpus.message_id(ses.content(m)) for m in ses.messages)


@pytest.fixture
def pair(listener, ses, queue):
    """Two listeners (.near) before one SES (.ses), behind one address (.front) that a queue knows."""
    far = ses()
    near = [listener(far.url, kinds=("plain",), password=None) for _ in range(2)]
    front = Balancer([one.port for one in near])
    queue.relay(f"lmtp://127.0.0.1:{front.port}")
    queue.near, queue.ses, queue.front = near, far, front
    yield queue
    front.close()


def test_f8_two_behind_one_address(pair):
    """The answer to one message is lost with the connection, and the next one goes to the other
    listener: what is in doubt waits for its own journal while the rest flows, and is sent once."""
    pair.ses.faults("dot <app1@*> 1 stall 1")
    doubtful = corpus.Message(1, 1000)
    pair.submit(doubtful.given, "-t", "-i", "-f", doubtful.sender)
    flusher = pair.flusher()
    pair.ses.wait(1)
    pair.front.cut()
    flusher.stop()
    others = [corpus.Message(n, 1000) for n in range(2, 12)]
    corpus.submit_all(pair, others)

    def all_sent():
        pair.sql("update recipient set next_try=0 where state='queued'")
        pair.flush()
        return pair.states() == {"sent": 11}

    wait_for(all_sent, 60, "all of it")
    assert set(pair.front.connections) == {one.port for one in pair.near}
    assert arrived(pair.ses) == {m.id: 1 for m in [doubtful, *others]}


def in_doubt(queue, message, cut):
    """A message that SES has, with its answer lost on the way back to the flusher."""
    queue.ses.faults("dot * stall 1")
    queue.submit(message.given, "-t", "-i", "-f", message.sender)
    flusher = queue.flusher()
    queue.ses.wait(1)
    cut()
    flusher.stop()
    queue.ses.faults()
    assert queue.states() == {"queued": 1}
    assert queue.value("select doubt_journal from recipient")


def test_f8_one_of_two_is_gone_for_good(pair):
    """What is in doubt there waits for it until its journal's time is over; then the other one sends it,
    and the second copy is counted."""
    message = corpus.Message(1, 1000)
    in_doubt(pair, message, pair.near[0].kill)
    for _ in range(3):
        pair.sql("update recipient set next_try=0")
        pair.flush()
    assert pair.states() == {"queued": 1} and arrived(pair.ses) == {message.id: 1}
    pair.as_program("update recipient set doubt_until=1")

    def sent():
        pair.sql("update recipient set next_try=0 where state='queued'")
        pair.flush()
        return pair.states() == {"sent": 1}

    wait_for(sent, 60, "the other one to send it")
    assert arrived(pair.ses) == {message.id: 2}
    assert pair.value("select count(*) from attempts where maybe_sent") >= 1


def test_f8_a_journal_that_forgot_too_early(road):
    """Rows that were deleted behind the listener's back: the copy that follows is counted by the flusher,
    who had no answer to the first."""
    way = road(link={})
    way.queue.ses = way.ses
    message = corpus.Message(1, 1000)
    in_doubt(way.queue, message, way.link.cut)
    wait_for(lambda: journal(way.listener, "select state from once") == [("sent",)])
    way.listener.stop()
    done = run(["sqlite3", way.listener.directory / "journal.db", ".dbconfig enable_trigger off",
                "delete from once"])
    assert done.returncode == 0, done.stderr
    way.listener.start()
    way.queue.sql("update recipient set next_try=0")
    way.queue.flush()
    assert way.queue.states() == {"sent": 1} and arrived(way.ses) == {message.id: 2}
    assert way.queue.value("select count(*) from attempts where maybe_sent") >= 1
