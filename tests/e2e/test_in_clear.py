"""`smtp` and `lmtp`: TLS when it is offered, and where it does not work none; the other schemes never."""

import contextlib
import socket
import threading

import pytest

MAIL = "To: a@example.net\nFrom: sender@example.com\nSubject: s\n\nbody\n"


class BrokenTls:
    """An SMTP relay that offers STARTTLS, and whose TLS is none."""

    def __init__(self, after_220):
        self.after_220, self.said, self.sent = after_220, [], 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                with contextlib.suppress(OSError), peer, peer.makefile("rwb", 0) as stream:
                    self._talk(stream)

    def _talk(self, stream):
        stream.write(b"220 here\r\n")
        while verb := stream.readline().split(b" ")[0].strip().upper():
            self.said.append(verb.decode())
            stream.write({b"EHLO": b"250-here\r\n250 STARTTLS\r\n", b"DATA": b"354 go\r\n"}.get(
                verb, b"250 ok\r\n"))
            if verb == b"STARTTLS":
                stream.read(100)
                stream.write(self.after_220)
                return
            if verb == b"DATA":
                while stream.readline() not in (b".\r\n", b""):
                    pass
                self.sent += 1
                stream.write(b"250 Ok\r\n")
            if verb == b"QUIT":
                return


@pytest.fixture
def broken_tls():
    made = []

    def make(after_220):
        made.append(BrokenTls(after_220))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


@pytest.mark.parametrize("after_220", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_tls_that_does_not_work_is_left(queue, broken_tls, after_220):
    far = broken_tls(after_220)
    queue.relay(f"smtp://127.0.0.1:{far.port}")
    queue.submit(MAIL)
    queue.submit(MAIL)
    run = queue.flush()
    assert run.sent == far.sent == 2 and run.connections == 2
    assert far.said[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert run.log.count("mail goes in the clear") == 1
    assert queue.value("select count(*) from attempt where code=0") == 0, "no message's try"


def test_d8_where_it_has_to_be_it_is_not_left(queue, broken_tls):
    far = broken_tls(b"")
    queue.relay(f"smtp+starttls://127.0.0.1:{far.port}")
    queue.submit(MAIL)
    assert queue.flush().sent == far.sent == 0
    assert set(far.said) == {"EHLO", "STARTTLS"}
