"""Tables `road` and `outage`, which anybody with a shell can write: no value in them stops mail for longer
than the longest pause, an hour, and none keeps a flusher that should go."""

import re
import time

import pytest

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody\n"
MINUTE = 60_000
BIG = 2**63 - 1

# {soon}: 59 minutes ahead, {far}: two hours, {old}: a day ago; ms.
ROADS = [
    "rate=-1", "rate='fast'", "rate=1", f"rate={2**31 - 1}", f"rate={2**31}", f"rate={BIG}", "rate=1e300",
    "rate=x'00'", "rate=0.5", "rate='Inf'", "full_at=-1", f"full_at={BIG}", "full_at='x'",
    f"rate={2**31 - 1},full_at={{soon}}", "rate=1000000,full_at={soon}", "rate=1000000,full_at={far}",
    "resume_at=-5", "resume_at='x'", f"resume_at={BIG}", "resume_at={far}", f"resume_at={-BIG}",
    "resume_at={soon},down_since=1", "resume_at={soon},down_since={far}", "resume_at={soon},down_since={old}",
    "down_since=-1", "down_since='x'", f"down_since={BIG}", "down_since=1", "in_use=7", "in_use='x'",
    f"in_use={-BIG}", "reason=hex(zeroblob(100000))", "reason=x'00ff'", "reason=char(27)||'[31m'||char(10)",
    "relay=x'00'", "relay=hex(zeroblob(100000))", "relay=''", "road=hex(zeroblob(100000))", "road=x'ff'",
]
OUTAGES = [
    "began=-1", "began='x'", f"began={BIG}", f"began={-BIG}", "began=1e300", "began={far}", "began=1",
    "hours=-1", f"hours={BIG}", "hours='x'", "reason=hex(zeroblob(100000))", "reason=x'00ff'",
    "ended='x'", f"ended={-BIG}", f"told={BIG}", "told='x'", "road=x'ff'",
]


class Tables:
    def __init__(self, queue, far):
        self.queue, self.far = queue, far
        self.relay = far.url.split()[0]
        queue.relay(far.url)

    def put(self, table, values):
        """One row of this relay's road, with those values."""
        now = int(time.time() * 1000)
        values = values.format(soon=now + 59 * MINUTE, far=now + 120 * MINUTE, old=now - 1440 * MINUTE)
        what = f"(road,relay,in_use) values('','{self.relay}',1)" if table == "road" \
            else f"(road,began) values('',{now - MINUTE})"
        self.queue.as_program("delete from road", "delete from outage", f"insert into {table}{what}",
                              f"update {table} set {values}")

    def flush(self, values):
        """Two messages, by a flusher that ends when it has sent them."""
        for i in range(2):
            self.queue.submit(MAIL.format(f"r{i}@example.net"))
        done = self.queue.flush("--once", deadline=20)
        assert done.code == 0 and done.sent == 2 and done.seconds < 5, (values, done.log)
        assert "\x1b" not in done.log


@pytest.fixture
def tables(queue, ses):
    return Tables(queue, ses(tls="none", user=None))


def test_no_value_of_a_road_stops_mail(tables):
    for values in ROADS:
        tables.put("road", values)
        tables.flush(values)


def test_no_value_of_an_outage_stops_mail(tables):
    for values in OUTAGES:
        tables.put("outage", values)
        tables.flush(values)


def test_nor_gives_up_what_was_not_tried(tables):
    """With such an outage in the sum a message that is put off is put off, and no more."""
    queue, far = tables.queue, tables.far
    far.faults("dot * 451 not today")
    queue.submit(MAIL.format("a@example.net"))
    for values in OUTAGES:
        tables.put("outage", values)
        queue.as_program(f"update recipient set since=since-{6 * 1440 * MINUTE},tries=4,next_try=0")
        done = queue.flush("--once", deadline=20)
        assert (done.code, done.deferred) == (0, 1), (values, done.log)


def test_what_a_relay_asked_for_is_heeded(tables):
    """The one pause that a row can make: the rule above would else be kept by heeding none."""
    queue = tables.queue
    tables.put("road", "resume_at={soon}")
    queue.submit(MAIL.format("a@example.net"))
    assert queue.run_flush("--once").returncode == 0
    assert queue.states() == {"queued": 1} and not tables.far.messages
    shown, = queue.sql("select next_try from roads")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown["next_try"])


def test_nor_is_an_outage_read_so_that_it_can_not_end(tables):
    """A relay that refuses beside such rows, and is well again."""
    queue, relays = tables.queue, tables.queue.relays
    for values in OUTAGES:
        queue.relay("lmtp://127.0.0.1:1")
        tables.put("outage", values)
        queue.submit(MAIL.format("a@example.net"))
        assert queue.run_flush("--once", deadline=20).returncode == 0, values
        queue.relay(*relays)
        assert queue.flush("--once", deadline=20).sent == 1, values
        assert queue.value("select count(*) from outage where road='' and ended is null") == 0, values
