"""Under cron nothing is printed, when all is well and when the road is down, or cron would mail it
through us; and no fault of the road ages or bounces mail (D7)."""

import contextlib
import socket
import threading

import pytest

MAIL = "To: r@example.net\nFrom: sender@example.com\nSubject: s\n\nbody\n"


class Says:
    """A peer that says this to whoever comes, reads a line where it has more to say, and closes."""

    def __init__(self, *words):
        self.words = words
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(10)
                    for i, one in enumerate(self.words):
                        if i > 0 and not peer.recv(4096):
                            break
                        peer.sendall(one)


@pytest.fixture
def says():
    made = []

    def start(*words):
        made.append(Says(*words))
        return made[-1]

    yield start
    for one in made:
        one.socket.close()


def quiet_run(queue):
    queue.write(log="syslog")
    queue.submit(MAIL)
    done = queue.run_flush()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


GREETING, EHLO = b"220 here\r\n", b"250-here\r\n250 PIPELINING\r\n"


def test_all_is_well(queue, ses):
    queue.relay(ses().url)
    quiet_run(queue)
    assert queue.states() == {"sent": 1}


@pytest.mark.parametrize("words", [
    [b""], [b"421 4.3.2 too many\r\n"], [b"554 5.7.1 go away\r\n"], [b"\x16\x03\x01\x00garbage\r\n"],
    [b"220-no end\r\n" * 50], [b"220 \x00\r\n"], [GREETING, b""], [GREETING, b"421 4.3.2 stopping\r\n"],
    [GREETING, b"451 4.3.0 no\r\n"], [GREETING, b"554 5.3.0 no\r\n"], [GREETING, b"250 ok\n250 bare\n"],
    [GREETING, EHLO, b"", b""], [GREETING, EHLO, b"421 4.3.2 stopping\r\n"],
    [GREETING, EHLO, b"503 5.5.1 order\r\n"], [GREETING, EHLO, b"250 ok\r\n250 ok\r\n"],
    [GREETING, EHLO, b"rubbish\r\n"]], ids=lambda w: repr(b"|".join(w)[-30:]))
@pytest.mark.parametrize("scheme", ["lmtp", "smtp"])
def test_a_peer_that_fails(queue, says, scheme, words):
    queue.relay(f"{scheme}://127.0.0.1:{says(*words).port}")
    quiet_run(queue)
    assert queue.states() == {"queued": 1}


@pytest.mark.parametrize("relay", ["lmtp://127.0.0.1:1", "lmtp://no-such-host.invalid:24",
                                   "lmtps://127.0.0.1:1 pin=sha256:" + "0" * 64])
def test_a_relay_that_is_not_there(queue, relay):
    queue.relay(relay)
    quiet_run(queue)
    assert queue.states() == {"queued": 1}


@pytest.mark.parametrize("fault", ["pin", "password", "starttls 1 454 no", "auth 1 454 later",
                                   "mail 1 454 Throttling failure: Daily message quota exceeded",
                                   "dot 1 554 Access denied: paused"])
def test_a_relay_that_does_not_let_us(queue, ses, fault):
    far = ses()
    url = far.url
    if fault == "pin":
        url = url.replace(far.certificate.pin, "sha256:" + "0" * 64)
    elif fault == "password":
        (far.directory / "secret").write_text("nobody:wrong\n")
    else:
        far.faults(fault)
    queue.relay(url)
    quiet_run(queue)
    assert queue.states() == {"queued": 1} and not far.messages
