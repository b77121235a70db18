"""What `cenmail-flush -v` shows on a terminal, by a pseudo-terminal of the test's own, and how it ends
when it is told to."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import build_dir, wait_for

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"


def put(queue, count):
    for i in range(count):
        queue.submit(MAIL.format(f"r{i}@example.net", i))


class Terminal:
    """A flusher with -v on a terminal of so many columns; all that came of it, and when."""

    def __init__(self, queue, columns=100, kind="xterm", **more):
        self.master, slave = pty.openpty()
        self.resize(columns)
        self.output, self.times = b"", []
        self.process = subprocess.Popen(
            [build_dir() / "cenmail-flush", "-C", queue.conf, "-v"], stdin=subprocess.DEVNULL,
            stdout=slave, stderr=more.get("stderr", slave), env={**os.environ, "TERM": kind},
            start_new_session=True)
        os.close(slave)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def _read(self):
        while True:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # the last of the slave's ends is closed
                return
            self.output += piece
            self.times.append((time.monotonic(), piece))

    def drawn(self, since=0):
        """The progress lines, as they were drawn."""
        return [text.decode() for text in re.findall(rb"\r([^\r\n\x1b]+)\x1b\[K", self.output[since:])]

    def wait(self, deadline=30):
        code = self.process.wait(deadline)
        self.reader.join(deadline)
        os.close(self.master)
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def terminal(queue):
    made = []

    def start(**more):
        made.append(Terminal(queue, **more))
        return made[-1]

    yield start
    for one in made:
        one.close()


def screen(output):
    """What stands on a terminal that is wide enough, line by line."""
    lines, column = [""], 0
    for token in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", output.decode()):
        if token == "\r":
            column = 0
        elif token == "\n":
            lines.append("")
        elif token == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + token + lines[-1][column + len(token):]
            column += len(token)
    return lines


def test_the_line_is_rewritten_and_goes(queue, ses, terminal):
    queue.relay(ses(latency=100).url)
    queue.write(log="syslog")
    put(queue, 20)
    shown = terminal()
    assert shown.wait() == 0
    lines = shown.drawn()
    assert any(re.match(r"\[#+\.+\] \d+/20  .*0:\d\d left", line) for line in lines), lines
    assert any("1 in flight" in line for line in lines), lines
    assert any(re.search(r" [\d.]+/s", line) for line in lines), lines
    left = screen(shown.output)
    assert len(left) == 2 and left[0].startswith("flushed 20 messages") and left[1] == ""


def test_no_more_than_ten_a_second(queue, ses, terminal):
    queue.relay(ses(latency=20).url)
    queue.write(log="syslog")
    put(queue, 60)
    shown = terminal()
    assert shown.wait() == 0
    lines = len(shown.drawn())
    took = shown.times[-1][0] - shown.times[0][0]
    assert 3 <= lines <= took * 10 + 3


def test_lines_of_the_log_are_not_torn(queue, ses, terminal):
    queue.relay(ses(latency=30).url)
    put(queue, 20)
    shown = terminal()
    assert shown.wait() == 0
    assert len(shown.drawn()) > 3
    for line in screen(shown.output)[:-1]:
        assert re.match(r"cenmail/\w+\[\d+\]: .*|flushed 20 messages", line), line


def test_it_fits_whatever_the_width(queue, ses, terminal):
    """As the window is resized; the last column stays free, or the line would wrap."""
    queue.relay(ses(latency=100).url)
    queue.write(log="syslog")
    put(queue, 30)
    shown = terminal(columns=120)
    wait_for(lambda: any("left" in line for line in shown.drawn()))
    wide, seen = shown.drawn()[-1], len(shown.output)
    shown.resize(24)
    wait_for(lambda: len(shown.drawn(seen)) >= 3)
    assert shown.wait() == 0
    assert 40 < len(wide) < 120
    narrow = shown.drawn(seen)[1:]
    assert all(0 < len(line) < 24 for line in narrow), narrow
    assert all(re.match(r"\d+/30", line) for line in narrow), narrow


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_no_line_where_it_can_not_be_rewritten(queue, ses, terminal, kind):
    queue.relay(ses().url)
    queue.write(log="syslog")
    put(queue, 2)
    shown = terminal(kind=kind)
    assert shown.wait() == 0
    assert re.fullmatch(rb"flushed 2 messages[^\r\n\x1b]*\r\n", shown.output), shown.output


def test_a_road_that_is_down_is_said_and_not_guessed_at(queue, terminal):
    queue.relay("lmtp://127.0.0.1:1")
    queue.write(log="syslog", linger="60s")
    put(queue, 3)
    shown = terminal()
    wait_for(lambda: any("road down, again in 0:" in line for line in shown.drawn()))
    shown.process.send_signal(signal.SIGTERM)
    assert shown.wait() == 0
    assert not any("left" in line for line in shown.drawn())
    assert queue.states() == {"queued": 3}


def test_a_stopped_terminal_stops_no_mail(queue, ses, terminal):
    """^S: what is shown waits, and mail does not."""
    far = ses(latency=20)
    queue.relay(far.url)
    queue.write(log="syslog", linger="60s")
    put(queue, 5)
    shown = terminal()
    wait_for(lambda: shown.drawn())
    os.write(shown.master, b"\x13")
    put(queue, 20)
    far.wait(25)
    os.write(shown.master, b"\x11")
    shown.process.send_signal(signal.SIGTERM)
    assert shown.wait() == 0
    assert queue.states() == {"sent": 25}


def test_it_waits_for_the_one_that_runs(queue, ses, terminal):
    queue.relay(ses().url)
    queue.write(log="syslog", linger="60s")
    first = queue.flusher()
    put(queue, 1)
    wait_for(lambda: queue.states() == {"sent": 1})
    shown = terminal()
    wait_for(lambda: any("waits for the flusher" in line for line in shown.drawn()))
    assert first.stop() == 0
    wait_for(lambda: any("waits 0:" in line or "waits 1:00" in line for line in shown.drawn()))
    shown.process.send_signal(signal.SIGINT)
    assert shown.wait() == 0


# --- told to end ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_settled(queue, ses, number):
    far = ses(latency=300)
    queue.relay(far.url)
    queue.write(linger="60s")
    put(queue, 5)
    flusher = queue.flusher()
    far.wait(1)
    flusher.signal(number)
    assert flusher.wait() == 0
    assert queue.states() == {"sent": len(far.messages), "queued": 5 - len(far.messages)}
    assert [row["code"] for row in queue.attempts] == [250] * len(far.messages), "nothing was cut off"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(queue, ses, long_link, number):
    """What may have been taken is noted; nothing waits for the half minute that one signal gives."""
    far = ses(latency=100)
    link = long_link(far.port)
    queue.relay(far.url.replace(str(far.port), str(link.port)))
    queue.write(linger="60s")
    put(queue, 3)
    flusher = queue.flusher()
    far.wait(1)
    link.toggle()
    flusher.signal(number)
    time.sleep(1)
    assert flusher.process.poll() is None
    began = time.monotonic()
    flusher.signal(number)
    assert flusher.wait() == 0
    assert time.monotonic() - began < 3
    assert sum(queue.states().values()) == 3 and "failed" not in queue.states()
    queue.whole()
