"""What clients that mean harm can make the listener hold, and for how long: section E of the cases,
over the wire; the state machine by itself is in tests/unit/test_wire_server*.c."""

import base64
import contextlib
import os
import pathlib
import re
import resource
import socket
import ssl
import struct
import subprocess
import threading

import pytest
from dialogue import BODY, Dialogue, mail, sent_once, token

SANITIZED = bool(os.environ.get("CENMAIL_SAN")) or \
    any(name in os.environ.get("CENMAIL_BUILD", "") for name in ("asan", "tsan"))
ELSEWHERE = "127.0.0.2"


def memory(near, what="Pss"):
    """KB of the process: Pss (shared pages by share), or Pss_Anon (its own alone)."""
    text = pathlib.Path(f"/proc/{near.program.pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{what}: +(\d+) kB", text, re.M).group(1))


def works(near, kind="plain", source=ELSEWHERE):
    """A message comes through."""
    client = Dialogue(near.ports[kind], kind, source=source)
    if near.password:
        assert client.login("shanghai", near.password)[0] == 235
    else:
        client.hello()
    client.send(*mail(BODY, ("b@example.org", token())))
    assert [code for code, _ in client.replies(3)] == [250] * 3
    client.close()
    return True


def test_ten_thousand_connects_leave_memory_flat(plain, wait_for):
    """E5: closed at once, reset, or after a word; some at the same time."""
    near = plain(sessions_max="64")
    count = 10000 if not SANITIZED else 1000
    sizes = []

    def connect(n):
        sock = socket.create_connection(("127.0.0.1", near.port), timeout=30)
        if n % 4 == 1:
            sock.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
        if n % 4 == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return sock

    held = []
    for n in range(count):
        held.append(connect(n))
        if len(held) > 40:
            held.pop(0).close()
        if n in (count * 2 // 5, count - 1):
            for sock in held:
                sock.close()
            held.clear()
            wait_for(lambda: works(near))
            sizes.append(memory(near, "Pss_Anon"))
    wait_for(lambda: threads(near) < 16)
    if not SANITIZED:
        assert sizes[1] < sizes[0] + 1024, sizes  # 170 octets for each
    assert len(os.listdir(f"/proc/{near.program.pid}/fd")) < 40
    assert near.stop() == 0


def test_ten_thousand_that_stay_leave_memory_flat(plain, wait_for):
    """E5: all of them open at a time, idle or in the middle of a word; most were told 421. Another
    address is served beside them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10000 if not SANITIZED else 1000, files[1] - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    near = plain(sessions_max="64", client_sessions="60")
    idle, there = memory(near, "Pss_Anon"), []
    try:
        for n in range(count):
            there.append(socket.create_connection(("127.0.0.1", near.port), timeout=30))
            if n % 2:
                with contextlib.suppress(OSError):
                    there[-1].send(b"EHLO x\r\nMAIL FR")
        wait_for(lambda: near.program.log.count("client_sessions") >= count - 60, what="421 to most")
        assert works(near)
        crowded = memory(near, "Pss_Anon")
        assert len(os.listdir(f"/proc/{near.program.pid}/fd")) < 300
        print(f"anonymous memory: {idle} KB idle, {crowded} KB beside {count} connections")
        assert SANITIZED or crowded < idle + 60 * 64 + 1024
    finally:
        for sock in there:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    wait_for(lambda: threads(near) < 16)
    assert near.stop() == 0


def threads(near):
    return len(os.listdir(f"/proc/{near.program.pid}/task"))


def test_memory_idle_and_under_two_hundred_sessions(listener, ses):
    """At most 6 MB idle, 60 MB with 200 sessions under TLS, each with a message."""
    near = listener(ses().url, client_sessions="200")
    idle = memory(near)
    clients = []
    for _ in range(200):
        client = Dialogue(near.port, "tls")
        assert client.login("shanghai", near.password)[0] == 235
        clients.append(client)
    for client in clients:
        client.send(*mail(BODY + "x" * 70 + "\r\n" * 300, ("b@example.org", token())))
    for client in clients:
        assert client.replies(3)[2][0] == 250
    busy = memory(near)
    print(f"PSS: {idle} KB idle, {busy} KB with 200 sessions")
    if not SANITIZED:
        assert idle <= 6 * 1024 and busy <= 60 * 1024
    assert Dialogue(near.port, greeting=False, source=ELSEWHERE).ended()  # sessions_max


def test_sessions_leave_the_workers_their_descriptors(listener, ses):
    """E5: few descriptors. Sessions end where the way to SES would; those that are there can send."""
    near = listener(ses().url, kinds=("plain",), password=None, client_sessions="200",
                    prefix=["prlimit", "--nofile=120:120"])
    near.program.line(lambda line: "not for sessions_max" in line)
    there = []
    while (one := Dialogue(near.port)).greeting[0] == 220:
        there.append(one)
    assert one.greeting[0] == 421 and 3 < len(there) < 30
    for one in there:
        one.hello()
        one.send(*mail(BODY, "b@example.org"))
        assert one.replies(3)[2][0] == 250
    assert near.stop() == 0


def test_slow_clients_leave_room_for_others(listener, ses):
    """E4: in the handshake, before a command, within one, in content: as many as one may have.
    Others are served all the same; their deadlines are in tests/unit/test_listen_session.c."""
    near = listener(ses().url, kinds=("plain", "tls"), password=None, client_sessions="12",
                    sessions_max="16")
    slow = []
    for n in range(12):
        if n % 4 == 0:
            one = socket.create_connection(("127.0.0.1", near.ports["tls"]))
            one.send(b"\x16\x03\x01")
        else:
            one = Dialogue(near.ports["plain"])
            one.send((b"", b"EH", b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n"
                      b"RCPT TO:<b@example.org>\r\nDATA\r\nSubj")[n % 4 - 1])
        slow.append(one)
    assert Dialogue(near.ports["plain"]).greeting[0] == 421
    for _ in range(3):
        assert works(near) and works(near, "tls")
    for one in slow:
        one.close()
    assert near.stop() == 0


@pytest.mark.parametrize("lines, codes, ends", [
    # E6: lines, content and SIZE beyond what there is
    ([b"NOOP " + b"x" * 505], [250], False),
    ([b"NOOP " + b"x" * 2060], [500], False),
    ([b"NOOP " + b"x" * (1 << 20)], [500], False),
    ([b"x" * (5 << 20)], [421], True),
    ([b"MAIL FROM:<a@example.com> SIZE=99999999"], [552], False),
    ([b"MAIL FROM:<a@example.com> SIZE=1", b"RCPT TO:<b@example.org>", b"BDAT 200000 LAST",
      b"x" * 199998], [250, 250, 552], False),
    # E7: chunks
    ([b"BDAT 5", b"abc"], [503], False),
    ([b"BDAT 99999999999999999999 LAST"], [501], True),
    ([b"BDAT -1 LAST"], [501], True),
    ([b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>", b"BDAT 0", b"DATA", b"RSET"],
     [250, 250, 250, 503, 250], False),
    ([b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>"] +
     [b"BDAT 0"] * 1100, None, True),
    # E12: loops
    ([b"NOOP"] * 1100, None, True),
    ([b"RSET"] * 1100, None, True),
    ([b"VRFY a"] * 1100, None, True),
    ([b"MAIL FROM:<a@example.com>"] + [b"RCPT TO:<b@example.org>"] * 3000, None, True),
    ([b"WHAT"] * 30, None, True),
])
def test_what_is_too_much_is_refused(plain, lines, codes, ends):
    near = plain(message_size="100K")
    client = Dialogue(near.port)
    client.hello("EHLO")
    feeder = threading.Thread(target=swallow, args=(client, b"".join(x + b"\r\n" for x in lines)))
    feeder.start()
    said = []
    while codes is None or len(said) < len(codes):
        try:
            said.append(client.reply()[0])
        except (EOFError, ConnectionError):
            break
        if said[-1] == 421 and codes is None:
            break
    if codes is None:
        assert said[-1] == 421 or len(said) > 1000, said[-3:]
    else:
        assert said == codes
    if ends:
        client.sock.settimeout(30)
        assert client.ended() or not client.data
    else:
        assert client.say("NOOP")[0] == 250
    client.close()
    feeder.join()
    assert works(near)
    sent_once(near, 1)


def swallow(client, data):
    try:
        client.sock.sendall(data)
    except OSError:
        pass  # it has been cut off, as it should


@pytest.mark.parametrize("said", [
    "AUTH PLAIN !!!", "AUTH PLAIN A", "AUTH PLAIN AG==x", "AUTH PLAIN =", "AUTH PLAIN " + "A" * 4000,
    "AUTH PLAIN " + base64.b64encode(b"\0\0shanghai\0\0x").decode(),
    "AUTH PLAIN " + base64.b64encode(b"shanghai\0x").decode(),
    "AUTH PLAIN " + base64.b64encode(b"osaka\0shanghai\0correct horse battery staple").decode(),
    "AUTH PLAIN\r\n*", "AUTH LOGIN", "AUTH", "AUTH CRAM-MD5"])
def test_no_way_of_logging_in_but_the_right_one(listener, ses, said):
    """E9: bad base64, NULs where there are none, another authzid, cancelled; then the right one,
    a second time, and within a transaction."""
    far = ses()
    near = listener(far.url)
    client = Dialogue(near.port, "tls")
    client.hello()
    client.send(said)
    code = client.reply()[0]
    code = client.reply()[0] if code == 334 else code
    assert 500 <= code < 560, code
    assert client.say("MAIL FROM:<a@example.com>")[0] == 530
    assert client.login("shanghai", near.password)[0] == 235
    assert client.say("AUTH PLAIN AGEAYg==")[0] == 503
    assert client.say("MAIL FROM:<a@example.com>")[0] == 250
    assert client.say("AUTH PLAIN AGEAYg==")[0] == 503
    client.close()
    huge = Dialogue(near.port, "tls")
    huge.hello()
    swallow(huge, b"AUTH PLAIN " + b"A" * (1 << 20) + b"\r\n")
    assert huge.reply()[0] == 500
    assert near.stop() == 0 and not far.messages


ANYTHING_GOES = """openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
"""


def test_tls_that_is_cut_or_renegotiated(listener, ses, tmp_path):
    """E11: no close_notify inside the content: not accepted. Renegotiation: refused; and old versions,
    by the listener itself: the system's own policy is to let them in."""
    far = ses()
    (tmp_path / "openssl.cnf").write_text(ANYTHING_GOES)
    near = listener(far.url, kinds=("tls",), password=None,
                    env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")})
    client = Dialogue(near.port, "tls")
    client.hello()
    client.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA")
    assert client.replies(3)[2][0] == 354
    client.send(BODY)
    socket.socket(fileno=client.sock.detach()).close()  # the bare end of the connection
    near.program.line(lambda line: "lost connection from" in line)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{near.port}", "-tls1_2", "-crlf"],
        input=b"R\n", capture_output=True, timeout=30, check=False)
    assert b"no renegotiation" in done.stderr + done.stdout, done.stderr
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(socket.create_connection(("127.0.0.1", near.port)))
    assert works(near, "tls") and near.stop() == 0
    assert len(far.messages) == 1


FLYING = 256 << 20  # octets of content that all sessions together have in flight, at most


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is no measure")
def test_what_is_in_flight_has_a_ceiling_in_all(plain, wait_for):
    """E5: SES stalls, and 40 sessions bring more than there is room for: they are not read from, and
    memory stands still. Then SES is gone, each message has its answer, and memory comes back."""
    near = plain(client_messages="10000", client_sessions="50", sessions_max="60")
    near.ses.faults("dot * stall 100")
    content, each, sessions = BODY + ("x" * 76 + "\r\n") * 3200, 40, 40
    assert each * sessions * len(content) > FLYING * 5 // 4
    data = b"".join(x if isinstance(x, bytes) else x.encode() + b"\r\n"
                    for x in mail(content, "b@example.org") * each)
    clients, feeders = [Dialogue(near.port, deadline=120) for _ in range(sessions)], []
    for client in clients:
        client.hello()
        feeders.append(threading.Thread(target=swallow, args=(client, data)))
        feeders[-1].start()
    room = FLYING // len(content)
    wait_for(lambda: near.program.log.count("size=249") >= room, 60, "the ceiling")
    seen = [0]

    def stands_still():
        seen.append(near.program.log.count("size=249"))
        return len(seen) > 12 and seen[-1] == seen[-10]

    wait_for(stands_still)
    high = memory(near, "Pss_Anon")
    assert seen[-1] <= room + sessions
    near.ses.program.kill()
    for client in clients:
        assert {code for code, _ in client.replies(3 * each)} == {250, 451}
    for feeder in feeders:
        feeder.join()
    assert high < 320 * 1024
    wait_for(lambda: memory(near, "Pss_Anon") < high // 10, what="memory to come back")
    print(f"anonymous memory: {high} KB at the ceiling, {memory(near, 'Pss_Anon')} KB after")
    assert near.stop() == 0


@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants its own terabytes")
@pytest.mark.parametrize("limit, said", [
    ("--as=60000000", "a thread for a session: |no memory for|out of memory"),
    ("--nofile=40", "refused connection .*: sessions_max"), ("--data=12000000", "out of memory")])
def test_memory_threads_or_descriptors_run_out(plain, wait_for, limit, said):
    """E5: more sessions than there is memory, or stacks for threads, or descriptors: they are told, or
    wait, or are cut off; what was there goes on, and when they are gone all is well."""
    near = plain(prefix=["prlimit", limit], sessions_max="1000", client_sessions="1000")
    first = Dialogue(near.port)
    first.hello()
    more = [Dialogue(near.port, greeting=False, deadline=5) for _ in range(300)]
    for client in more:
        swallow(client, b"".join(x if isinstance(x, bytes) else x.encode() + b"\r\n" for x in [
            "LHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "BDAT 200000 LAST",
            b"x" * 199_000]))
    near.program.line(lambda line: re.search(said, line))
    for client in more:
        client.close()
    first.send(*mail(BODY, ("b@example.org", token())))
    assert [code for code, _ in first.replies(3)][:1] == [250]
    wait_for(lambda: works(near))
    assert near.stop() == 0
