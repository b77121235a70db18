"""A road that is down for a quarter of an hour and more, minute by minute: the flusher's clock skips what
nothing happens in (tests/tools/preload/skip-time.c), and nothing in the queue is made older."""

import fcntl
import os
import struct

import pytest
from harness import build_dir
from test_notices import MAIL, SENDER, notices, read

pytestmark = pytest.mark.skipif(bool(os.environ.get("CENMAIL_SAN")),
                                reason="a sanitizer wants to be loaded first")
MINUTE = 60_000
SLOW = "rcpt <*@slow.example> * 451 4.2.1 come back later"
DOWN = "connect * close"


class Time:
    """Of the flushers of one queue, that run one after the other."""

    def __init__(self, queue, far):
        self.queue, self.far = queue, far
        self.file = queue.directory / "skipped"
        self.file.write_bytes(bytes(8))
        queue.prefix = ["env", f"LD_PRELOAD={build_dir() / 'fault/skip-time.so'}", f"SKIP_TIME={self.file}",
                        "SKIP_TIME_AFTER=100"]
        queue.relay(far.url)

    @property
    def skipped(self):
        return struct.unpack("=q", self.file.read_bytes())[0]

    def submit(self, *addresses):
        """sendmail is linked statically, and has the machine's clock: what it wrote is of that."""
        mark = self.queue.value("select coalesce(max(id),0) from message")
        for address in addresses:
            self.queue.submit(MAIL.format(address), "-t", "-i", "-f", "app@example.com")
        self.queue.as_program(
            f"update recipient set since=since+{self.skipped},next_try=next_try+{self.skipped}"
            f" where message>{mark}",
            f"update message set submitted=submitted+{self.skipped} where id>{mark}")

    def run(self, minutes, each=5):
        before = self.skipped
        self.queue.write(linger=f"{each}m")
        with open(self.queue.database.parent / "next.lock", "ab") as ready:
            fcntl.flock(ready, fcntl.LOCK_SH)  # as the next one: else each would wait for it in vain
            for _ in range(0, minutes, each):
                assert self.queue.flush().code == 0
        assert self.skipped - before > (minutes - 1) * MINUTE

    def row(self, address):
        return self.queue.sql("select * from recipient where address=?", address)[0]


@pytest.fixture
def over_time(queue, ses):
    queue.write(bounce_sender=SENDER, retry_min="1m", retry_max="2m")
    return Time(queue, ses(tls="none", user=None))


def told(far):
    """(action, recipient) of all that senders were told."""
    return [(r["Action"], r["Final-Recipient"].split()[1]) for _, m in notices(far) for r in read(m)[2]]


def test_fifteen_minutes_are_not_charged_and_one_warning_is_sent(over_time):
    """Nobody is warned while the road is down, and afterwards none of what could be delivered then."""
    queue, far = over_time.queue, over_time.far
    queue.write(lifetime="10m", warn_after="10m")
    far.faults(SLOW)
    over_time.submit("a@slow.example")
    over_time.run(1, each=1)
    tries = over_time.row("a@slow.example")["tries"]
    assert tries in (1, 2)
    far.faults(DOWN)
    over_time.submit("b@good.example")
    over_time.run(15)
    assert queue.states() == {"queued": 2} and over_time.row("a@slow.example")["tries"] == tries
    assert queue.value("select count(*) from message where notice") == 0
    far.faults(SLOW)
    over_time.run(2, each=2)
    outage, = queue.sql("select ended-began as ms from outage")
    assert 15 * MINUTE <= outage["ms"] < 17 * MINUTE
    assert over_time.row("b@good.example")["state"] == "sent"
    assert over_time.row("a@slow.example")["state"] == "queued"
    assert told(far) == [("delayed", "a@slow.example")]
    over_time.run(14, each=14)
    row = over_time.row("a@slow.example")
    assert row["state"] == "failed" and row["last_reply"] == "451 4.2.1 come back later"
    charged = row["settled"] - row["since"] - outage["ms"]
    assert 10 * MINUTE <= charged < 14 * MINUTE, "its lifetime, and what is left of one pause"
    assert told(far) == [("delayed", "a@slow.example"), ("failed", "a@slow.example")]
    until = read(notices(far)[0][1])[2][0]["Will-Retry-Until"]
    assert until, "it was said, though the outage made it later"


def test_past_four_lifetimes_the_outage_counts_too(over_time):
    """For one that was tried for a quarter of its lifetime; one that never was is tried that long."""
    queue, far = over_time.queue, over_time.far
    queue.write(lifetime="3m", warn_after="0")
    far.faults(SLOW)
    over_time.submit("a@slow.example")
    over_time.run(1, each=1)
    assert over_time.row("a@slow.example")["tries"] in (1, 2)
    far.faults(DOWN)
    over_time.submit("b@slow.example", "c@good.example")
    over_time.run(12, each=6)
    assert queue.states() == {"queued": 3} and told(far) == []
    far.faults(SLOW)
    before = queue.value("select count(*) from attempts where recipient='a@slow.example' and code=451")
    over_time.run(3, each=3)
    assert {a: over_time.row(a)["state"] for a in ("a@slow.example", "b@slow.example", "c@good.example")} \
        == {"a@slow.example": "failed", "b@slow.example": "failed", "c@good.example": "sent"}
    assert [queue.value("select count(*) from attempts where recipient=? and code=451", who)
            for who in ("a@slow.example", "b@slow.example")] == [before + 1, 2]
    assert sorted(told(far)) == [("failed", "a@slow.example"), ("failed", "b@slow.example")]
