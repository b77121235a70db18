"""Several relays and several routes: failover, the way back to the first, and that a flusher knows
what the ones before it have learnt."""

import contextlib
import re
import socket
import sqlite3
import time

import pytest
from test_hand_over import is_ready

MAIL = "To: {0}\nFrom: sender@example.com\nSubject: s\n\nbody {0}\n"
YEAR = 365 * 86400 * 1000


def put(queue, *addresses):
    for address in addresses:
        queue.submit(MAIL.format(address))


def now_ms():
    return int(time.time() * 1000)


def got(ses):
    return sorted(r for m in ses.messages for r in m["recipients"])


@pytest.fixture
def closed_port():
    """A port at which nobody listens, and nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def black_hole():
    """A port that takes no connection and refuses none: its backlog is full."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        knocking = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
            knocking.append(one)
        yield hole.getsockname()[1]
        for one in knocking:
            one.close()


def sending(listener):
    """Rows that its journal has under way."""
    with contextlib.closing(sqlite3.connect(listener.directory / "journal.db")) as db:
        return db.execute("select count(*) from once where state='sending'").fetchone()[0]


def relays(queue):
    """relay -> its row of what is known."""
    return {row["relay"]: row for row in queue.sql("select * from road")}


def test_a_black_holed_relay_is_not_asked_by_every_flusher(queue, ses, black_hole):
    far = ses()
    queue.write(retry_max="1h")
    queue.relay(f"lmtp://127.0.0.1:{black_hole}", far.url)
    put(queue, "a@example.net")
    first = queue.flush()
    assert first.sent == 1 and 9 < first.seconds < 20
    hole = relays(queue)[f"lmtp://127.0.0.1:{black_hole}"]
    assert hole["down_since"] and "timed out" in hole["reason"]
    queue.as_program(f"update road set resume_at={now_ms() + 60000} where down_since")
    put(queue, "b@example.net")
    second = queue.flush()
    assert second.sent == 1 and second.connections == 1 and second.seconds < 5


def test_asking_whether_the_first_is_well_holds_up_no_mail(queue, ses, black_hole, wait_for):
    far = ses()
    queue.write(linger="60s")
    queue.relay(f"lmtp://127.0.0.1:{black_hole}", far.url)
    put(queue, "a@example.net")
    flusher = queue.flusher()
    far.wait(1)
    wait_for(lambda: queue.states() == {"sent": 1}, what="the verdict")
    began = time.monotonic()
    for i in range(8):
        put(queue, f"b{i}@example.net")
        far.wait(2 + i)
        time.sleep(0.3)  # long enough that the hole is asked meanwhile: after 1 s, then 2
    assert time.monotonic() - began < 6
    assert flusher.stop() == 0


def test_back_to_the_first_when_it_is_well_again(queue, listener, ses, wait_for):
    one, other = ses(), ses()
    first, second = listener(one.url), listener(other.url)
    first.stop()
    queue.write(linger="60s")
    queue.relay(first.url(), second.url())
    put(queue, "a@example.net")
    flusher = queue.flusher()
    other.wait(1)
    first.start()
    in_use = f"lmtps://127.0.0.1:{first.port}"
    wait_for(lambda: relays(queue)[in_use]["in_use"] == 1, what="the way back")
    put(queue, "b@example.net")
    one.wait(1)
    wait_for(lambda: queue.states() == {"sent": 2}, what="the verdicts")
    wait_for(lambda: relays(queue)[in_use]["down_since"] is None, what="that it is known as well")
    assert flusher.stop() == 0
    assert (got(one), got(other)) == (["b@example.net"], ["a@example.net"])


def test_a_listener_whose_ses_is_gone_is_left_for_the_next(queue, listener, ses, closed_port):
    """class=road in an answer is a fault of that relay, though its connection is well."""
    far = ses()
    first, second = listener(f"smtp://127.0.0.1:{closed_port}"), listener(far.url)
    queue.relay(first.url(), second.url())
    put(queue, "a@example.net", "b@example.net")
    assert queue.flush().sent == 2
    assert "SES unreachable" in relays(queue)[f"lmtps://127.0.0.1:{first.port}"]["reason"]


def test_after_a_kill_the_relay_in_use_is_asked(queue, listener, ses, wait_for):
    """F2: what was in flight is known to the second's journal alone; the first is well meanwhile."""
    far = ses(latency=1000)
    first, second = listener(far.url), listener(far.url)
    first.stop()
    queue.relay(first.url(), second.url())
    put(queue, "a@example.net")
    flusher = queue.flusher()
    wait_for(lambda: relays(queue).get(f"lmtps://127.0.0.1:{second.port}", {"in_use": 0})["in_use"],
             what="the relay in use, stored")
    wait_for(lambda: sending(second) == 1, what="the second having it")
    flusher.kill()
    first.start()
    queue.as_program("update road set resume_at=0")
    far.wait(1)
    assert queue.flush().sent == 1
    assert got(far) == ["a@example.net"]


def test_after_a_kill_the_one_that_stood_by_asks_the_relay_in_use(queue, listener, ses, wait_for):
    """F2: it has connected to the first, which is well again, before it knows what the one before it
    was using."""
    far = ses(latency=2500)
    first, second = listener(far.url), listener(far.url)
    first.stop()
    queue.write(linger="60s")
    queue.relay(first.url(), second.url())
    put(queue, "a@example.net")
    flusher = queue.flusher()
    second.program.line(lambda line: "client=" in line)
    wait_for(lambda: relays(queue)[f"lmtps://127.0.0.1:{second.port}"]["in_use"],
             what="the relay in use, stored")
    first.start()
    after = queue.flusher()
    wait_for(lambda: is_ready(queue), what="the next flusher being ready")
    hole = relays(queue)[f"lmtps://127.0.0.1:{first.port}"]
    wait_for(lambda: now_ms() > hole["resume_at"], what="the first's turn")
    assert not far.messages, "it is on its way"
    flusher.kill()
    wait_for(lambda: queue.states() == {"sent": 1}, what="the verdict")
    wait_for(lambda: relays(queue)[f"lmtps://127.0.0.1:{first.port}"]["in_use"],
             what="the way back to the first")
    assert after.stop() == 0
    assert got(far) == ["a@example.net"]


def test_a_quota_pause_is_remembered(queue, ses):
    """D12: the daily quota pauses long, and longer than a flusher lives."""
    far = ses()
    queue.relay(far.url)
    put(queue, "a@example.net")
    far.faults("dot * 454 Throttling failure: Daily message quota exceeded")
    assert queue.flush().sent == 0
    row, = queue.sql("select * from road")
    assert 3500_000 < row["resume_at"] - now_ms() <= 3600_000
    assert row["down_since"] is None and "quota" in row["reason"]
    assert not queue.sql("select * from outage"), "a pause is no outage"
    far.faults()
    assert queue.flush().connections == 0
    queue.sql("delete from road")  # by hand: try now
    assert queue.flush().sent == 1


def test_a_quota_that_is_used_up_at_the_first_leaves_the_second(queue, ses):
    one, other = ses(), ses()
    queue.relay(one.url, other.url)
    one.faults("dot * 454 Throttling failure: Daily message quota exceeded")
    put(queue, "a@example.net", "b@example.net")
    assert queue.flush().sent == 2
    assert len(other.messages) == 2


@pytest.mark.parametrize("ahead, sent", [(1800_000, 0), (YEAR, 1), (-YEAR, 1)])
def test_a_clock_that_was_set_back_closes_no_road(queue, ses, ahead, sent):
    """C12: no pause is longer than an hour, so one that seems so is of another clock."""
    far = ses()
    queue.relay(far.url)
    put(queue, "a@example.net")
    relay = far.url.split()[0]
    queue.as_program("insert into road(road,relay,resume_at) "
                     f"values('','{relay}',{now_ms() + ahead})")
    assert queue.flush().sent == sent


def test_an_outage_is_a_row_and_one_line_an_hour(queue, listener, ses):
    far = ses()
    near = listener(far.url)
    near.stop()
    queue.relay(near.url())
    put(queue, "a@example.net")
    first = queue.flush()
    assert "warning: lmtps://" in first.log
    row, = queue.sql("select * from outage")
    assert (row["road"], row["ended"]) == ("", None) and abs(row["began"] - now_ms()) < 60_000
    assert "warning: lmtps://" not in queue.flush().log, "known, and not said by every flusher"
    queue.as_program(f"update outage set began={now_ms() - 3 * 3600_000 - 1000}")
    assert re.search(r"no relay has worked for 3 hours: lmtps://\S+: connect: .*refused",
                     queue.flush().log)
    assert "no relay has worked" not in queue.flush().log
    near.start()
    assert queue.flush().sent == 1
    row, = queue.sql("select * from outage")
    assert abs(row["ended"] - now_ms()) < 60_000
    assert queue.value("select count(*) from road where down_since") == 0


def test_the_outage_of_a_route_that_is_taken_out_is_over(queue, ses, closed_port):
    """And of the others, and of mail that is held, nothing is forgotten."""
    far = ses()
    queue.write(route=[f"*@a.example lmtp://127.0.0.1:{closed_port}",
                       f"*@b.example lmtp://127.0.0.1:{closed_port}"])
    queue.relay(far.url)
    put(queue, "x@a.example", "x@b.example")
    queue.flush()
    queue.as_program("insert into outage(began,road) values(1,'held mail')")
    assert queue.value("select count(*) from outages where ended is null") == 3
    queue.write(route=f"*@a.example lmtp://127.0.0.1:{closed_port}")
    assert queue.flush().sent == 1
    assert [tuple(r) for r in queue.sql("select road, ended is null from outages order by road")] \
        == [("*@a.example", 1), ("*@b.example", 0), ("held mail", 1)]
    assert {r["road"] for r in queue.sql("select * from roads")} == {"*@a.example"}


def test_a_route_of_several_relays(queue, ses, closed_port):
    """The same pattern on further lines adds relays, in order; the other routes take no notice."""
    one, other = ses(), ses()
    queue.write(route=[f"*@qq.com lmtp://127.0.0.1:{closed_port}", f"*@QQ.com {other.url}"])
    queue.relay(one.url)
    put(queue, "a@example.net", "b@qq.com")
    assert queue.flush().sent == 2
    assert (got(one), got(other)) == (["a@example.net"], ["b@qq.com"])
    assert {row["road"] for row in queue.sql("select road from road")} == {"*@qq.com"}


def test_a_road_that_is_down_stops_no_other(queue, ses, closed_port):
    far = ses()
    queue.write(route=f"*@qq.com lmtp://127.0.0.1:{closed_port}")
    queue.relay(far.url)
    put(queue, "a@example.net", "b@qq.com", "c@example.net")
    assert queue.flush().sent == 2
    assert [row["road"] for row in queue.sql("select road from outage")] == ["*@qq.com"]


def test_what_is_in_doubt_at_a_relay_that_is_gone_is_let_go_by_hand(queue, listener, ses):
    """The way that cenmail-flush(8) shows."""
    far = ses()
    queue.relay(listener(far.url).url())
    put(queue, "a@example.net")
    queue.as_program(f"update recipient set doubt_journal='gone', doubt_until={now_ms() + 86400_000}")
    assert queue.flush().sent == 0 and "in doubt: waits" in queue.mailq[0]["last_reply"]
    queue.sql("update recipient set state='sent' where id=1")
    queue.sql("update recipient set state='queued' where id=1")
    assert queue.flush().sent == 1 and got(far) == ["a@example.net"]


def test_what_is_in_doubt_turns_the_road_now_and_then(queue, listener, ses, wait_for):
    """Its journal may be another relay's, and so that one is asked; but of a day-old message not each
    minute, as all that is in flight has to be answered first."""
    far = ses()
    one, other = listener(far.url), listener(far.url)
    queue.write(linger="60s", retry_min="1s", retry_max="1h")
    queue.relay(one.url(), other.url())
    put(queue, "a@example.net")
    queue.as_program(f"update recipient set doubt_journal='gone', doubt_until={now_ms() + YEAR}",
                     "update message set submitted=submitted-86400000")
    flusher = queue.flusher()
    other.program.line(lambda line: "client=" in line)
    wait_for(lambda: queue.value("select last_reply from recipient"), what="that it waits")
    waits = queue.value("select next_try from recipient") - now_ms()
    assert 3500_000 < waits <= 3600_000
    put(queue, "b@example.net")
    far.wait(1)
    assert flusher.stop() == 0
    assert got(far) == ["b@example.net"]
