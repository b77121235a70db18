"""`smtp` and `lmtp`: TLS when it is offered, and where it does not work none; the other schemes never."""

import pytest
from hostile import Hostile, Trick

MAIL = "To: a@example.net\nFrom: sender@example.com\nSubject: s\n\nbody\n"


@pytest.fixture
def broken_tls():
    """broken_tls(after_hello): a relay that offers STARTTLS, and whose TLS is none."""
    made = []

    def make(after_hello):
        made.append(Hostile("step", offers=["STARTTLS"], trick=lambda step, _: Trick(
            after_hello, then="close") if step == "tls" else None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def verbs(far):
    return [line.split(" ")[0] for line in far.said]


@pytest.mark.parametrize("after_hello", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_tls_that_does_not_work_is_left(queue, broken_tls, after_hello):
    far = broken_tls(after_hello)
    queue.relay(far.url())
    queue.submit(MAIL)
    queue.submit(MAIL)
    run = queue.flush()
    assert run.sent == len(far.taken) == 2 and run.connections == 2
    assert verbs(far)[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert run.log.count("mail goes in the clear") == 1
    assert queue.value("select count(*) from attempt where code=0") == 0, "no message's try"


def test_d8_where_it_has_to_be_it_is_not_left(queue, broken_tls):
    far = broken_tls(b"")
    queue.relay(f"smtp+starttls://127.0.0.1:{far.port}")
    queue.submit(MAIL)
    assert queue.flush().sent == len(far.taken) == 0
    assert set(verbs(far)) == {"EHLO", "STARTTLS"}
