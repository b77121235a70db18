"""Programs written by others, at both ends of the hop: Postfix's smtp-sink and aiosmtpd take mail
from the flusher; smtp-source and swaks bring it to the listener. (Who calls sendmail:
test_callers.py.)"""

import os
import re
import shutil
import subprocess

import corpus
import pytest
from harness import run, wait_for
from parts import CLIENT, CLIENT_PASSWORD
from peers import Peer, accepts, free_port

# --- the flusher's peers ---

def smtp_sink(spawn, sink, port, *flags, **more):
    """Started, and listening."""
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    program = spawn("smtp-sink", [sink.program("usr/sbin/smtp-sink"), *user, *flags,
                                  f"127.0.0.1:{port}", "100"], env=sink.env, **more)
    wait_for(lambda: accepts(port) or program.process.poll() is not None, what="smtp-sink")
    assert program.process.poll() is None, program.log


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_smtp_sink(queue, spawn, tmp_path, lmtp):
    sink, port = Peer("postfix"), free_port()
    its_own = tmp_path / "sink"  # it gives up root, and then reaches its directory as `.` alone
    its_own.mkdir()
    its_own.chmod(0o777)
    smtp_sink(spawn, sink, port, *(["-L"] if lmtp else []), "-h", "sink.example.com", "-D", "dump",
              cwd=its_own)
    queue.relay(f"{'lmtp' if lmtp else 'smtp'}://127.0.0.1:{port}")
    messages = [corpus.Message(i, 3000) for i in range(100)]
    corpus.submit_all(queue, messages)
    done = queue.flush()
    assert queue.states() == {"sent": 100}, done.log[-3000:]
    assert done.connections == 1
    text = (its_own / "dump").read_bytes()
    assert len(re.findall(rb"^X-Mail-Args: ", text, re.M)) == 100
    for message in messages:
        assert text.count(message.id.encode()) == 1


@pytest.mark.parametrize("flags,states", [
    (["-q", "."], {"queued": 3}),             # hangs up at the dot
    (["-B", "550 5.1.1 no such user", "-f", "rcpt"], {"failed": 3}),
    (["-f", "rcpt"], {"queued": 3}),          # with 500, which says nothing about a message
    (["-r", "mail"], {"queued": 3}),          # refuses for now
    (["-Q", "rcpt"], {"queued": 3}),          # 421 and hangs up
    (["-p"], {"sent": 3}), (["-e"], {"sent": 3}),  # no PIPELINING; HELO alone
], ids=lambda v: v[-1] if isinstance(v, list) else "")
def test_smtp_sink_misbehaves(queue, spawn, flags, states):
    sink, port = Peer("postfix"), free_port()
    smtp_sink(spawn, sink, port, *flags)
    queue.relay(f"smtp://127.0.0.1:{port}")
    corpus.submit_all(queue, [corpus.Message(i, 1000) for i in range(3)])
    done = queue.flush()
    assert done.code == 0 and queue.states() == states, done.log[-3000:]
    queue.whole()


def aiosmtpd_controller(lmtp, handler):
    """Started; its port is in .port."""
    controller = pytest.importorskip("aiosmtpd.controller")
    protocol = pytest.importorskip("aiosmtpd.lmtp").LMTP if lmtp else \
        pytest.importorskip("aiosmtpd.smtp").SMTP

    class Controller(controller.Controller):
        def factory(self):
            return protocol(self.handler, decode_data=False)

    one = Controller(handler, hostname="127.0.0.1", port=free_port())
    one.start()
    return one


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_aiosmtpd(queue, lmtp):
    class Handler:
        got = []

        async def handle_DATA(self, server, session, envelope):
            self.got.append(envelope)
            return "250 Ok"

    handler = Handler()
    handler.got = []
    peer = aiosmtpd_controller(lmtp, handler)
    try:
        queue.relay(f"{'lmtp' if lmtp else 'smtp'}://127.0.0.1:{peer.port}")
        messages = [corpus.Message(i, 3000) for i in range(30)]
        corpus.submit_all(queue, messages)
        done = queue.flush()
        assert queue.states() == {"sent": 30}, done.log[-3000:]
    finally:
        peer.stop()
    want = {m.id: m for m in messages}
    for envelope in handler.got:
        message = want.pop(corpus.message_id(envelope.content))
        assert corpus.below_received(envelope.content) == message.expected
        assert (envelope.mail_from, envelope.rcpt_tos) == (message.sender, [message.recipient])
    assert not want


# --- the listener's clients ---

@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_smtp_source(listener, ses, lmtp):
    far = ses()
    near = listener(far.url, kinds=("plain",), password=None)
    source = Peer("postfix")
    done = subprocess.run(
        [source.program("usr/sbin/smtp-source"), *(["-L"] if lmtp else []), "-s", "3", "-m", "60",
         "-l", "4000", "-f", "app@example.com", "-t", "kunde@example.net",
         f"127.0.0.1:{near.port}"], env=source.env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert len(far.messages) == 60
    assert all(m["recipients"] == ["kunde@example.net"] and m["bare"] == 0 for m in far.messages)
    assert far.stop()["pipelined"] == 0


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_smtp_source_in_many_sessions(listener, ses, lmtp):
    """More of them than there are connections to SES: they wait for each other, none is refused."""
    far = ses(latency=5)
    near = listener(far.url, kinds=("plain",), password=None, upstream_connections="8")
    source = Peer("postfix")
    done = subprocess.run(
        [source.program("usr/sbin/smtp-source"), *(["-L"] if lmtp else []), "-s", "80", "-m", "800",
         "-l", "2000", "-f", "app@example.com", "-t", "kunde@example.net",
         f"127.0.0.1:{near.port}"], env=source.env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert len(far.messages) == 800
    counters = far.stop()
    assert counters["pipelined"] == 0 and counters["most_open"] <= 8
    assert near.stop() == 0


def swaks(near, *more):
    return run(["swaks", "--server", "127.0.0.1", "--port", str(near.port), "--from",
                "app@example.com", "--to", "kunde@example.net", "--timeout", "20", *more],
               env={**os.environ, "HOME": "/nonexistent"})


needs_swaks = pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")


@needs_swaks
@pytest.mark.parametrize("protocol", ["ESMTP", "LMTP"])
@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_swaks(listener, ses, kind, protocol):
    far = ses()
    near = listener(far.url, kinds=(kind,))
    done = swaks(near, "--tls" if kind == "starttls" else "--tls-on-connect", "--auth", "PLAIN",
                 "--auth-user", CLIENT, "--auth-password", CLIENT_PASSWORD, "--protocol", protocol)
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, text
    message, = far.messages
    assert message["id"] in text  # SES's own answer


@needs_swaks
@pytest.mark.parametrize("more,code,exit_code", [
    (["--tls"], "530", None),                     # AUTH is required
    ([], "530", None),                            # TLS is required
    (["--tls", "--auth", "PLAIN", "--auth-user", CLIENT, "--auth-password", "wrong"], "535", 28),
])
def test_swaks_is_refused(listener, ses, more, code, exit_code):
    far = ses()
    near = listener(far.url, kinds=("starttls",))
    done = swaks(near, *more)
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == exit_code if exit_code else done.returncode != 0, text
    assert re.search(rf"<[-~*]*\*+ {code}", text), text
    assert far.messages == []
