"""Under cron nothing is printed, when all is well and when the road is down, or cron would mail it
through us; and no fault of the road ages or bounces mail (D7)."""

import pytest
from hostile import Hostile, Trick

MAIL = "To: r@example.net\nFrom: sender@example.com\nSubject: s\n\nbody\n"


def quiet_run(queue):
    queue.write(log="syslog")
    queue.submit(MAIL)
    done = queue.run_flush()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_all_is_well(queue, ses):
    queue.relay(ses().url)
    quiet_run(queue)
    assert queue.states() == {"sent": 1}


@pytest.mark.parametrize("step, say", [
    ("greeting", b""), ("greeting", b"421 4.3.2 too many\r\n"), ("greeting", b"554 5.7.1 go away\r\n"),
    ("greeting", b"\x16\x03\x01\x00garbage\r\n"), ("greeting", b"220-no end\r\n" * 50),
    ("greeting", b"220 \x00\r\n"), ("ehlo1", b""), ("ehlo1", b"421 4.3.2 stopping\r\n"),
    ("ehlo1", b"451 4.3.0 no\r\n"), ("ehlo1", b"554 5.3.0 no\r\n"), ("ehlo1", b"250 ok\n250 bare\n"),
    ("mail", b""), ("mail", b"421 4.3.2 stopping\r\n"), ("mail", b"503 5.5.1 order\r\n"),
    ("mail", b"250 ok\r\n250 ok\r\n"), ("mail", b"rubbish\r\n")], ids=lambda a: repr(a[-20:]))
@pytest.mark.parametrize("scheme", ["lmtp", "smtp"])
def test_a_peer_that_fails(queue, scheme, step, say):
    played = []

    def trick(at, _):
        played.append(at)
        return Trick(say, then="close") if at == step else None

    far = Hostile("group", trick=trick)
    queue.relay(f"{scheme}://127.0.0.1:{far.port}")
    quiet_run(queue)
    far.close()
    assert queue.states() == {"queued": 1} and step in played and not far.taken


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
