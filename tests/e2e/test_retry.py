"""What becomes of a message that is not taken: put off, held, given up, or not its fault at all."""

import os

import pytest

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"
DAY = 86_400_000


def put(queue, count, *args):
    for i in range(count):
        queue.submit(MAIL.format(f"r{i}@example.net", i), *(["-t", "-i", *args] if args else []))


def age(queue, days, tries):
    """As after so many days of trying in vain."""
    queue.as_program(f"update recipient set since=since-{days * DAY}, tries={tries}, version=version+1")


def test_what_the_operator_has_to_mend(queue, ses):
    """It ages and settles nothing, stops the road, and is an error in the log; and once."""
    far = ses()
    queue.write(linger="60s", operator_reply="451 out of credit")
    queue.relay(far.url)
    put(queue, 3)
    age(queue, 60, 999)
    far.faults("dot 1 451 Sorry, you are Out of Credit")
    flusher = queue.flusher()
    flusher.line(lambda line: "refuses the account, and mail waits" in line)
    flusher.stop()
    assert queue.states() == {"queued": 3} and not far.messages
    assert queue.value("select max(tries) from recipient") == 999
    assert flusher.log.count("refuses the account") == 1
    queue.sql("delete from road")  # mended: asked again at once
    assert queue.flush("--once").sent == 3


def test_given_up_after_its_lifetime(queue, ses):
    """By an answer about itself, after it was tried for so long; the last answer is kept."""
    far = ses()
    queue.write(retry_min="1m", retry_max="1h")
    queue.relay(far.url)
    put(queue, 1)
    age(queue, 6, 40)
    far.faults("dot * 451 not today")
    assert queue.flush().deferred == 1, "six days old, but not tried for as long"
    queue.sql("update recipient set state='queued'")
    age(queue, 0, 140)
    assert queue.flush().failed == 1
    assert queue.sql("select * from undeliverable")[0]["reply"] == "451 not today"


def test_recipients_of_one_message_come_due_together(queue, ses):
    far = ses()
    queue.relay(far.url)
    queue.submit(MAIL.format("a@x.example, b@x.example, c@x.example", 0))
    far.faults("dot 1 451 not today")
    queue.flush("--once")
    assert queue.value("select count(distinct next_try) from recipient") == 1
    assert len({m["id"] for m in far.messages}) <= 1


def test_hours_in_which_its_road_was_down_are_not_charged(queue, ses):
    """Of its own road, and up to lifetime_max; a notice has a lifetime of its own."""
    far = ses()
    queue.write(retry_min="1m", retry_max="1h", bounce_lifetime="1d", linger="0")
    queue.relay(far.url)
    put(queue, 4)
    age(queue, 6, 200)
    queue.as_program("update message set notice=1 where id=2",
                     f"update recipient set since=since-{15 * DAY} where message=3",
                     f"update recipient set since=since-{15 * DAY}, tries=3 where message=4",
                     "insert into outage(road,began,ended) select '', since-1000, since"
                     f"+{DAY * 3 // 2} from recipient where message=1",
                     f"insert into outage(road,began,ended) select '*@other', since, since+{5 * DAY}"
                     " from recipient where message=2",
                     f"insert into outage(road,began,ended) select '', since, since+{13 * DAY}"
                     " from recipient where message=3")
    far.faults("dot * 451 not today")
    run = queue.flush("--once")
    assert (run.deferred, run.failed) == (2, 2)
    assert [r[0] for r in queue.sql("select state from recipient order by message")] == \
        ["queued", "failed", "failed", "queued"]


@pytest.mark.skipif("san" in os.environ.get("CENMAIL_BUILD", ""), reason="a sanitizer needs more")
def test_c14_a_message_for_which_there_is_no_memory_waits(queue, ses):
    """The others are sent, and the run ends well."""
    far = ses()
    queue.relay(far.url)
    put(queue, 1)
    queue.submit(MAIL.format("big@example.net", "x") + ("y" * 79 + "\n") * 400_000)
    queue.submit(MAIL.format("last@example.net", "x"))
    queue.prefix = ["prlimit", "--as=45000000"]
    run = queue.flush("--once")
    assert run.code == 0 and run.sent == 2, run.log
    assert "out of memory for a message" in run.log
    queue.prefix = []
    queue.sql("update recipient set state='queued' where state='queued'")
    assert queue.flush("--once").sent == 1


def test_d14_messages_on_which_the_server_closes_stop_no_other(queue, ses, wait_for):
    """Several of them; alone in flight once they are known, and the others go."""
    far = ses()
    queue.write(linger="60s", retry_min="1s", retry_max="1s")
    queue.relay(far.url)
    for i in range(12):
        queue.submit(MAIL.format(f"r{i}@example.net", i), "-t", "-i", "-f",
                     f"{'bad' if i % 4 == 0 else 'good'}@example.com")
    far.faults("dot <bad@*> * close")
    flusher = queue.flusher()
    wait_for(lambda: queue.states().get("sent") == 9, deadline=40)
    queue.submit(MAIL.format("new@example.net", 99), "-t", "-i", "-f", "good@example.com")
    wait_for(lambda: queue.states() == {"sent": 10, "queued": 3}, deadline=40)
    flusher.stop()
    assert not any(m["sender"].startswith("bad") for m in far.messages)
