"""Mail servers of others as clients of the listener, with their own queues and their own ideas of SMTP
and LMTP: Postfix's two transports, Exim (which uses CHUNKING), OpenSMTPD; and msmtp, that sends while
its caller waits. All log in over TLS; what they can't do, OpenSMTPD's LMTP, is in the clear."""

import collections

import corpus
import mta
import peers
import pytest
from dialogue import journal
from harness import run, wait_for
from parts import CLIENT, CLIENT_PASSWORD, write_secret

WAYS = [("Postfix", how, kind) for how in ("smtp", "lmtp") for kind in ("starttls", "tls")] + \
    [("Exim", "smtp", "starttls"), ("Exim", "smtp", "tls"), ("Exim", "lmtp", "starttls"),
     ("OpenSmtpd", "smtp", "starttls"), ("OpenSmtpd", "smtp", "tls"), ("OpenSmtpd", "lmtp", "plain")]
SIZES = [700, 3000, 3000, 20000, 300000]
WITH = {("smtp", False): b"ESMTP", ("smtp", True): b"ESMTPSA", ("lmtp", False): b"LMTP",
        ("lmtp", True): b"LMTPSA"}


def message(serial, size=2000):
    """One of the corpus, with the line ends that a pipe has."""
    one = corpus.Message(serial, size)
    one.given = one.expected.replace(b"\r\n", b"\n")
    return one


def body(content):
    return content.split(b"\r\n\r\n", 1)[1]


@pytest.fixture
def client(request, listener, ses, programs):
    """A mail server that sends to a listener (.near) before SES (.ses)."""
    name, how, kind = request.param
    far = ses()
    near = listener(far.url, kinds=(kind,), password=None if kind == "plain" else CLIENT_PASSWORD)
    one = getattr(mta, name)(near, how, kind)
    one.ses = far
    programs += [one.holder] + ([one.daemon] if one.daemon else [])
    yield one
    one.close()


def by(ways):
    return pytest.mark.parametrize("client", ways, indirect=True, ids="-".join)


@by(WAYS)
def test_its_mail_goes_through_octet_for_octet(client):
    """8-bit, dots, long lines; several recipients; logged in under its name."""
    given = [message(serial, size) for serial, size in enumerate(SIZES)]
    for one in given[:-1]:
        client.submit(one)
    many = [f"kunde{n}@example.net" for n in range(20)]
    client.submit(given[-1], *many)
    client.poke()
    wait_for(lambda: sum(len(m["recipients"]) for m in client.ses.messages) >= len(SIZES) - 1 + 20,
             what="all at SES")
    want = {one.id: one for one in given}
    to = collections.defaultdict(list)
    for got in client.ses.messages:
        content = client.ses.content(got)
        one = want[corpus.message_id(content)]
        to[one.id] += got["recipients"]
        assert body(content) == body(one.expected) and got["sender"] == one.sender
        assert got["bare"] == 0
        assert b"with " + WITH[client.how, client.kind != "plain"] + b" id" in content
    assert {k: sorted(v) for k, v in to.items()} == {
        one.id: sorted(many) if one is given[-1] else [one.recipient] for one in given}
    assert client.near.stop() == 0
    who = CLIENT if client.near.password else "[127.0.0.1]"
    assert journal(client.near, "select client, sent, failed from clients") == [
        (who, len(SIZES) - 1 + 20, 0)]


@by(WAYS[::2] + WAYS[-1:])
def test_what_can_not_be_sent_now_it_keeps(client):
    """SES says later, and the listener is away: it comes in the end, once. A recipient that SES
    refuses for good is nobody else's concern under LMTP, and is not tried again."""
    one, two = message(1), message(2)
    client.ses.faults("dot 1 451 Temporary service failure", "rcpt <bad@*> * 553 <bad@example.net> "
                      "address unknown")
    client.submit(one)
    client.poke()
    client.near.program.line(lambda line: "status=deferred (451" in line)
    assert client.near.stop() == 0
    client.submit(two, "good@example.net", "bad@example.net")
    client.poke()
    client.near.start()

    def done():
        client.poke()
        return len(client.ses.messages) >= (2 if client.how == "lmtp" else 1) and \
            "status=bounced (553" in client.near.program.log

    wait_for(done, 60, "the rest at SES")
    got = sorted(m["recipients"] for m in client.ses.messages)
    if type(client).__name__ == "OpenSmtpd":  # seen: what had its 250 beside a 553, again 5 s later
        got = [list(to) for to in sorted({tuple(to) for to in got})]
    assert got == ([["good@example.net"]] if client.how == "lmtp" else []) + [[one.recipient]]
    bounced = [line for line in client.near.program.lines if "status=bounced (553" in line]
    assert len(bounced) == 1 + (client.how == "smtp"), bounced


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_msmtp(listener, ses, certs, tmp_path, kind):
    far = ses()
    near = listener(far.url, kinds=(kind,))
    root = peers.tree(peers.fetch_mtas) / "msmtp"
    libraries = {"LD_LIBRARY_PATH": str(next((root / "usr/lib").glob("*-linux-gnu")))}
    one = message(3)
    for password, code in ((CLIENT_PASSWORD, 0), ("wrong", 77)):  # EX_NOPERM
        conf = write_secret(tmp_path / "msmtprc", f"""
account default
host localhost
port {near.port}
tls on
tls_starttls {'on' if kind == 'starttls' else 'off'}
tls_trust_file {certs.good.cert}
auth plain
user {CLIENT}
password "{password}"
""")
        done = run([root / "usr/bin/msmtp", "-C", conf, "-f", one.sender, one.recipient], one.given,
                   env=libraries)
        assert done.returncode == code, done.stderr.decode()
    got, = far.messages
    assert corpus.below_received(far.content(got)) == one.expected
