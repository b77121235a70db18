"""C12: the clock a year back, ten years on, stepping: no mass expiry, no mail that is stuck past the
longest interval, and ids that are unique. Programs get a clock of their own by fault/clock.so."""

import os
import re
import struct

import parts
import pytest
from harness import build_dir, run, wait_for

pytestmark = pytest.mark.skipif(bool(os.environ.get("CENMAIL_SAN")),
                                reason="a sanitizer has to be loaded first")
DAY = 86400
CLOCKS = {"right": 0, "ten years on": 3650 * DAY, "a year back": -365 * DAY}
MAIL = "To: {0}\nFrom: sender@example.com\nSubject: s\n\nbody {0}\n"


def set_clock(queue, ahead):
    """Of programs with at(queue), also of those that run."""
    with open(queue.directory / "clock", "r+b" if (queue.directory / "clock").exists() else "wb") as clock:
        clock.write(struct.pack("=q", ahead))


def at(queue):
    return {**queue.env, "CLOCK_FILE": str(queue.directory / "clock"),
            "LD_PRELOAD": str(build_dir() / "fault/clock.so")}


def submit(queue, address, clock):
    set_clock(queue, clock)
    done = run([build_dir() / "fault/sendmail", "-t", "-i"], MAIL.format(address).encode(),
               env=at(queue))
    assert done.returncode == 0, done.stderr


def flush(queue, clock, *args):
    set_clock(queue, clock)
    done = run([build_dir() / "cenmail-flush", "-v", *args], env=at(queue))
    assert done.returncode == 0, done.stderr
    return parts.Flushed(0, (done.stdout + done.stderr).decode())


def arrived(far):
    return sorted(r for m in far.messages for r in m["recipients"])


def test_c12_senders_of_different_clocks(queue, ses):
    """All is sent by one flusher with the right clock, numbers are in the order of their submission,
    and no listing or log has a time that is none."""
    far = ses(tls="none", user=None)
    queue.relay(far.url)
    names = [f"{name.replace(' ', '-')}{i}@example.net" for i in range(3) for name in CLOCKS]
    for i, name in enumerate(names):
        submit(queue, name, list(CLOCKS.values())[i % 3])
    assert [r["address"] for r in queue.sql("select address from recipient order by id")] == names
    apart = queue.value("select max(submitted)-min(submitted) from message") / 1000
    assert apart > (10 + 1) * 364 * DAY, "they have their own clocks"
    for row in queue.mailq:
        assert re.fullmatch(r"\d+:\d\d:\d\d", row["age"]), row["age"]
    assert queue.sendmail("-bp").stdout.count(b"root@shanghai") == 9
    done = queue.flush()
    assert done.sent == 9 and arrived(far) == sorted(names)
    assert "delay=-" not in done.log and "/-" not in done.log, done.log
    assert queue.value("select min(min(queued, connect, hop, ses)) from delivered") >= 0


@pytest.mark.parametrize("clock", ["ten years on", "a year back"])
def test_c12_a_flusher_with_a_wrong_clock(queue, ses, clock):
    """What it puts off is neither given up nor late when the clock is right again: due at once, or by
    the time that was set before. What waits for its time under the right clock waits, or is tried."""
    far = ses(tls="none", user=None)
    queue.write(retry_min="20m", retry_max="1h")
    queue.relay(far.url)
    for i in range(3):
        submit(queue, f"r{i}@example.net", 0)
    far.faults("mail * 451 4.3.0 not now")
    first = flush(queue, CLOCKS[clock])
    assert first.deferred == 3 and first.failed == 0
    second = flush(queue, CLOCKS["right"])
    assert second.deferred == 3 and second.failed == 0, "due at once, and put off again"
    assert flush(queue, CLOCKS["right"]).messages == 0, "for its usual time now"
    far.faults()
    last = flush(queue, CLOCKS["ten years on"])
    assert last.sent == 3 and arrived(far) == [f"r{i}@example.net" for i in range(3)]
    flush(queue, CLOCKS["a year back"])
    assert queue.states() == {"sent": 3}


@pytest.mark.parametrize("step", [4000, -365 * DAY])
def test_c12_a_clock_that_steps_under_a_flusher(queue, ses, programs, step):
    """It looks again after ten seconds at the latest, whatever it had counted on."""
    far = ses(tls="none", user=None)
    queue.write(linger="60s", retry_min="1h", retry_max="1h")
    queue.relay(far.url)
    submit(queue, "r@example.net", 0)
    far.faults("mail * 451 4.3.0 not now")
    flusher = parts.Program("cenmail-flush", [build_dir() / "cenmail-flush"], env=at(queue))
    programs.append(flusher)
    flusher.line(lambda line: "status=deferred" in line)
    wait_for(lambda: queue.value("select tries from recipient") == 1)
    far.faults()
    set_clock(queue, step)
    far.wait(1, 20)
    assert flusher.stop() == 0
    assert queue.states() == {"sent": 1}


@pytest.mark.parametrize("ahead, sent", [(3500, 0), (3700, 1), (3650 * DAY, 1)])
def test_c12_further_ahead_than_the_longest_pause_is_of_another_clock(queue, ses, ahead, sent):
    queue.write(retry_max="1h")
    queue.relay(ses(tls="none", user=None).url)
    submit(queue, "r@example.net", ahead)
    assert flush(queue, CLOCKS["right"]).sent == sent
