"""Names of relays, by a resolver that answers late or never: it is asked in a thread, so it holds up no
other road, no new mail, and no end. The flusher has an /etc/resolv.conf of its own, in a mount namespace,
and a name server of ours at an address of this machine that nobody else has."""

import os
import random
import socket
import threading
import time

import pytest
from harness import not_here

MAIL = "To: {0}\nFrom: sender@example.com\nSubject: s\n\nbody {0}\n"


class NameServer:
    """127.x.y.z:53. answer_after: seconds; None: never. Every name is 127.0.0.1."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
        self.socket.bind((self.address, 53))
        self.answer_after, self.asked, self.timers = None, [], []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, who = self.socket.recvfrom(512)
            except OSError:
                return
            if not query:
                return
            self.asked.append(time.monotonic())
            if self.answer_after is not None:
                timer = threading.Timer(self.answer_after, self._answer, (query, who))
                self.timers.append(timer)
                timer.start()

    def _answer(self, query, who):
        end = query.index(0, 12) + 5
        question, wants = query[12:end], query[end - 4:end - 2]
        found = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if wants == b"\0\1" else b""
        self.socket.sendto(query[:2] + b"\x81\x80\0\1" + bytes([0, bool(found)]) + b"\0\0\0\0" +
                           question + found, who)

    def close(self):
        for timer in self.timers:
            timer.cancel()
            timer.join()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.address, 53))
        self.socket.close()


@pytest.fixture
def names(queue):
    """The name server that the flushers of the queue ask from now on."""
    if os.getuid() != 0:
        not_here("a name server of our own needs root")
    server = NameServer()
    resolv, switch = queue.directory / "resolv.conf", queue.directory / "nsswitch.conf"
    # More patient than the flusher is: what bounds the wait is its own.
    resolv.write_text(f"nameserver {server.address}\noptions timeout:25 attempts:4\n")
    switch.write_text("hosts: files dns\n")
    queue.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                    f"mount --bind {resolv} /etc/resolv.conf; mount --bind {switch} /etc/nsswitch.conf; "
                    'exec "$@"', "sh"]
    yield server
    server.close()


@pytest.fixture
def two_roads(queue, ses, names):
    """SES for all but *@named.example, which has a name: (SES, name server)."""
    far = ses(tls="none", user=None)
    queue.write(route=f"*@named.example smtp://relay.example:{far.port}")
    queue.relay(far.url)
    return far, names


def got(far):
    return sorted(r for m in far.messages for r in m["recipients"])


def test_one_that_never_answers_holds_up_nothing(queue, two_roads, wait_for):
    """Where there is another relay the road waits ten seconds for the name; other roads not at all."""
    far, server = two_roads
    queue.write(linger="60s", route=[f"*@named.example smtp://relay.example:{far.port}",
                                     f"*@named.example smtp://127.0.0.1:{far.port}"])
    queue.submit(MAIL.format("a@named.example"))
    began = time.monotonic()
    flusher = queue.flusher()
    wait_for(lambda: server.asked, what="a question")
    delays = []
    for i in range(5):
        at = time.monotonic()
        queue.submit(MAIL.format(f"b{i}@good.example"))
        far.wait(1 + i, deadline=5)
        delays.append(time.monotonic() - at)
        time.sleep(0.2)  # spread over the time that the question waits
    assert time.monotonic() - began < 9, "all of it while the first question waits"
    assert flusher.line(lambda line: "can't resolve relay.example: no answer after 10" in line)
    far.wait(6, deadline=5)
    took = time.monotonic() - began
    at = time.monotonic()
    assert flusher.stop() == 0
    ended = time.monotonic() - at
    print(f"others in {max(delays):.3f} s at most; by the other relay in {took:.1f} s; "
          f"the end {ended:.3f} s after SIGTERM")
    assert max(delays) < 2 and 10 < took < 14 and ended < 2
    assert queue.states() == {"sent": 6} and got(far)[0] == "a@named.example"


def test_one_that_never_answers_holds_up_no_end(queue, two_roads, wait_for):
    """Nor the next flusher, who asks as well; the thread that waits for the answer dies with the program."""
    _, server = two_roads
    queue.submit(MAIL.format("a@named.example"))
    for linger in ("60s", "0"):
        queue.write(linger=linger)
        asked = len(server.asked)
        flusher = queue.flusher()
        wait_for(lambda n=asked: len(server.asked) > n, what="a question")
        at = time.monotonic()
        assert flusher.stop() == 0
        assert time.monotonic() - at < 2
    assert queue.states() == {"queued": 1}


@pytest.mark.parametrize("late", [0, 2])
def test_one_that_answers_late(queue, two_roads, late):
    far, server = two_roads
    server.answer_after = late
    queue.submit(MAIL.format("a@named.example"))
    queue.submit(MAIL.format("a@good.example"))
    done = queue.flush()
    assert done.sent == 2 and late <= done.seconds < late + 3
    assert got(far) == ["a@good.example", "a@named.example"]
    assert far.messages[0]["recipients"] == ["a@good.example"] or late == 0
