"""C15: two flushers at once, and one that hangs: one sends; a deadline ends it; the next goes on."""

import contextlib
import signal
import socket
import struct
import time

import corpus
import pytest
from harness import Program, build_dir, wait_for
from parts import Queue

KNOCKS = 4


def put(queue, *serials):
    for serial in serials:
        queue.submit(corpus.Plain(serial).given)


def running(flushers):
    return [f for f in flushers if f.process.poll() is None]


def has_sent(flusher):
    return "status=sent" in flusher.log


def arrived(ses):
    return sorted(r for m in ses.messages for r in m["recipients"])


def recipients(*serials):
    return sorted(f"kunde{i}@example.net" for i in serials)


def holds(flusher, lock):
    """Whether it holds that lock of the queue, alone."""
    inode = f":{lock.stat().st_ino} "
    with open("/proc/locks", encoding="ascii") as locks:
        return any("FLOCK" in line and "->" not in line and f" {flusher.pid} " in line
                   and inode in line for line in locks)


def test_c15_two_at_once(road):
    """Of four that cron starts in one moment one sends, one waits for its turn, and two leave it to
    them; and when the first goes, the second goes on where it was."""
    way = road(ses_options={"latency": 30}, linger="60s")
    put(way.queue, *range(20))
    all_four = [way.queue.flusher() for _ in range(4)]
    wait_for(lambda: len(running(all_four)) == 2, 20, "two of four leaving")
    assert [f.wait() for f in all_four if f.process.poll() is not None] == [0, 0]
    lock = way.queue.database.parent / "flush.lock"
    first, second = sorted(running(all_four), key=lambda f: holds(f, lock), reverse=True)
    wait_for(lambda: has_sent(first), what="a verdict")
    assert not has_sent(second)
    put(way.queue, *range(20, 40))
    first.signal(15)
    put(way.queue, *range(40, 60))
    way.ses.wait(60)
    assert first.wait() == 0
    wait_for(lambda: way.queue.states() == {"sent": 60}, what="the verdicts")
    assert has_sent(second) and second.stop() == 0
    assert not any(has_sent(f) for f in all_four if f not in (first, second))
    assert arrived(way.ses) == recipients(*range(60)), "each once"


@contextlib.contextmanager
def no_greeting(port):
    """The kernel takes the connection, and nobody ever says a word."""
    with socket.create_server(("127.0.0.1", port), backlog=16):
        yield


@contextlib.contextmanager
def no_answer(port):
    """Nor does the kernel: the backlog is full, and a SYN is dropped."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
        for _ in range(KNOCKS):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        yield


@pytest.mark.parametrize("hang, linger, within", [
    (no_answer, "2s", 5), (no_greeting, "2s", 5), (no_answer, "0", 15)],
    ids=["no answer", "no greeting", "no answer, and it does not linger"])
def test_c15_one_that_hangs(road, programs, hang, linger, within):
    """The deadline is the end of its life; of one that does not linger the ten seconds for a
    connection, as there is another relay (which is down)."""
    way = road(listener_options={"kinds": ("plain",), "password": None}, linger=linger)
    assert way.listener.program.stop() == 0
    next_one = Queue(way.queue.directory / "next", init=False)
    next_one.relay(way.listener.url())
    next_one.write(queue=way.queue.database, linger="60s")
    if linger == "0":
        way.queue.relay(way.listener.url(), "lmtp://127.0.0.2:1")
    put(way.queue, 1)
    with hang(way.listener.port):
        began = time.monotonic()
        first = way.queue.flusher()
        lock = way.queue.database.parent / "flush.lock"
        wait_for(lambda: holds(first, lock), what="the first one's turn")
        second = next_one.flusher()
        programs.append(second)
        wait_for(lambda: holds(second, lock.with_name("next.lock")),
                 what="the second one's wait")
        third = way.queue.flusher()
        assert third.wait(5) == 0
        put(way.queue, 2)
        assert first.wait(within + 10) == 0
        took = time.monotonic() - began
        assert took < within, (took, first.log)
        assert way.queue.states() == {"queued": 2}
        assert way.queue.value("select max(tries) from recipient") == 0, "no fault of theirs"
        wait_for(lambda: holds(second, lock), what="the second one's turn")
        put(way.queue, 3)
    way.listener.start()
    way.ses.wait(3)
    wait_for(lambda: way.queue.states() == {"sent": 3}, what="the verdicts")
    assert arrived(way.ses) == recipients(1, 2, 3)
    assert second.stop() == 0


def test_one_that_is_frozen_is_named(road, programs):
    """Nothing ends it, so mail waits: whoever stands by says who it is, now and each hour, and -v does
    to others. When it goes on, so does all."""
    way = road(linger="2s")
    queue = way.queue
    first = queue.flusher()
    lock = queue.database.parent / "flush.lock"
    wait_for(lambda: holds(first, lock), what="the first one's turn")
    first.signal(signal.SIGSTOP)
    put(queue, 1)
    skipped = queue.directory / "skipped"
    skipped.write_bytes(bytes(8))
    second = Program("cenmail-flush", [
        "env", f"LD_PRELOAD={build_dir() / 'fault/skip-time.so'}", f"SKIP_TIME={skipped}", "SKIP_TIME_AFTER=1",
        build_dir() / "cenmail-flush", "-C", queue.conf])
    programs.append(second)
    name = f"process {first.pid} (cenmail-flush, stopped)"
    try:
        second.line(lambda line: name in line and "flush.lock" in line)
        assert 300_000 <= struct.unpack("=q", skipped.read_bytes())[0] < 420_000, "after its life, and five minutes"
        wait_for(lambda: struct.unpack("=q", skipped.read_bytes())[0] > 4200_000, 60, "more than an hour")
        assert second.log.count(name) == 2, second.log
        third = queue.flush()
        assert name in third.log and third.code == 0
        assert not way.ses.messages
    finally:
        first.signal(signal.SIGCONT)
    way.ses.wait(1)
    assert first.wait(20) == 0
    wait_for(lambda: queue.states() == {"sent": 1}, what="the verdict")
