"""Every answer that SES is documented, or has been seen, to give: what the listener's client hears
of it, and what it is counted as. And the ways of SES: its password, its sessions of TLS."""

import os

import pytest
from dialogue import BODY, Dialogue, mail, token
from harness import build_dir, not_here, run
from parts import write_secret

ANSWERS = [  # step, SES's answer, what the client hears of it, and what that is counted as
    ("mail", "501 Invalid MAIL FROM address provided", 501, "Invalid MAIL FROM", "never"),
    ("mail", "553 <a@example.com> Invalid email address", 553, "Invalid email address", "never"),
    ("rcpt", "553 <b@example.org> address unknown", 553, "address unknown", "never"),
    ("dot", "451 Temporary service failure", 451, "Temporary service failure wait=", "later"),
    ("dot", "454 Temporary service failure", 454, "Temporary service failure wait=", "road"),
    ("dot", "454 Throttling failure: Daily message quota exceeded", (451, 452),
     "class=pace retry=3600", "pace"),
    ("dot", "454 Throttling failure: Maximum sending rate exceeded", 451, "class=pace retry=5", "pace"),
    ("dot", "552 Message is too long.", 552, "Message is too long.", "never"),
    ("dot", "554 Access denied: User arn:aws:iam::1:user/x is not authorized to perform "
            "ses:SendRawEmail on resource y", 554, "Access denied", "road"),
    ("dot", "554 Message rejected: Email address is not verified. The following identities failed "
            "the check in region AP-NORTHEAST-1: a@example.com", 554, "not verified", "held"),
    ("dot", "554 Message rejected: Sending paused for this account. For more information, please check "
            "the inbox of the email address associated with your AWS account.", 554, "paused", "road"),
    ("dot", "554 Transaction failed: Recipient count exceeds 50.", 554, "exceeds 50", "never"),
    ("dot", "554 Transaction failed: Duplicate header 'X'.", 554, "Duplicate header", "never"),
    ("dot", "554 Transaction failed: Missing final '@domain'", 554, "Missing final", "never"),
    ("dot", "554 MAIL FROM domain not verified: DNS setup for MAIL FROM domain is invalid.", 554,
     "MAIL FROM domain not verified", "held"),
    ("dot", "451 4.4.2 Timeout waiting for data from client.", 451, "Timeout waiting for data", "later"),
    # 421 would end the client's own conversation, and what is under way in it
    ("dot", "421 Too many concurrent SMTP connections", 451,
     "cenmail: SES: 421 Too many concurrent SMTP connections class=later", "later"),
    ("rcpt", "421 4.3.2 going down", 451, "cenmail: SES: 421 4.3.2 going down class=road", "road"),
    # from DATA on it may be for the message, which must not keep the road from others
    ("mail", "close", 451, "class=road", "road"),
    ("data", "close", 451, "class=later", "later"),
    ("greeting", "421 Too many concurrent SMTP connections", 451, "Too many concurrent", "road"),
    ("auth", "535 Authentication Credentials Invalid", 451, "SES refused our password: 535", "road"),
    ("auth", "535 Account not subscribed to SES", 451, "not subscribed", "road"),
    ("auth", "454 Temporary authentication failure", 451, "454 Temporary authentication failure", "road"),
    ("mail", "530 Authentication required", 530, "Authentication required", "road"),
    ("mail", "530 Must issue a STARTTLS command first", 530, "Must issue a STARTTLS", "road"),
]


@pytest.mark.parametrize("step, said, code, heard, counted", ANSWERS,
                         ids=[f"{a[0]}-{' '.join(a[1].split()[:4])}" for a in ANSWERS])
def test_every_answer_of_ses(plain, tmp_path, step, said, code, heard, counted):
    near = plain(metrics=tmp_path / "figures")
    near.ses.faults(f"{step} * {said}")
    client = Dialogue(near.port)
    client.hello()
    for once in (token(), None):
        client.send(*mail(BODY, ("b@example.org", once) if once else "b@example.org"))
        got, text = client.replies(3)[2]
        assert heard in text, (got, text)
        assert got in (code if isinstance(code, tuple) else (code,)), (got, text)
    assert near.ses.messages == [] and near.stop() == 0
    assert f'answers_total{{class="{counted}"}} 2\n' in (tmp_path / "figures").read_text()


def test_a_connection_that_has_served_is_made_anew(plain):
    """SES takes no more over it, and says so to the next MAIL: no message is put off by that."""
    near = plain(upstream_connections=1)
    client = Dialogue(near.port)
    client.hello()
    for address in "a@example.org", "b@example.org":
        client.send(*mail(BODY, address))
        assert [code for code, _ in client.replies(3)] == [250] * 3
        near.ses.faults("mail 1 421 4.3.0 no more over this connection")
    assert [m["connection"] for m in near.ses.messages] == [1, 2]
    assert near.stop() == 0


def test_a_password_from_an_iam_key(listener, ses):
    far = ses()  # its password is AWS's own example
    write_secret(far.directory / "secret",
                 f"iam eu-central-1 {far.user}:some+secret+key\n")
    near = listener(far.url, kinds=("plain",), password=None)
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    assert client.replies(3)[2][0] == 250
    assert near.stop() == 0 and "some+secret" not in near.program.log
    done = run([build_dir() / "cenmail-listen", "--smtp-password", "eu-central-1"],
               b"some+secret+key\n")
    assert (done.returncode, done.stdout.decode()) == (0, far.password + "\n")
    done = run([build_dir() / "cenmail-listen", "--smtp-password", "eu-central-1"], b"")
    assert done.returncode == 66 and not done.stdout


@pytest.mark.parametrize("tls", ["starttls", "wrapped"])
def test_tls_goes_on_from_the_session_before(listener, ses, tls):
    far = ses(tls=tls)
    near = listener(far.url, kinds=("plain",), password=None, upstream_connections="1")
    client = Dialogue(near.port)
    client.hello()
    for _ in range(3):
        far.faults("quit 1 close", "dot 1 close-before-reply")  # a new connection for each
        client.send(*mail(BODY, "b@example.org"))
        assert client.replies(3)[2][0] == 451
    assert near.stop() == 0
    said = far.stop()
    assert (said["handshakes"], said["resumed"]) == (3, 2)


def test_addresses_are_looked_up_for_each_connection(listener, ses, tmp_path):
    """SES's change all the time. Here the name is in a file of hosts that is the listener's own."""
    if os.getuid() != 0:
        not_here("a file of hosts of its own needs root")
    one = ses()
    other = ses(address="127.0.0.3", port=one.port)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 ses.test\n")
    near = listener(one.url.replace("127.0.0.1", "ses.test"), kinds=("plain",), password=None, prefix=[
        "unshare", "-m", "--propagation", "private", "sh", "-ec",
        'mount --bind "$0" /etc/hosts; exec "$@"', hosts])
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, "b@example.org"))
    assert client.replies(3)[2][0] == 250
    hosts.write_text("127.0.0.3 ses.test\n")
    one.stop()
    client.send(*mail(BODY, "b@example.org"))
    assert client.replies(3)[2][0] == 250
    assert (len(one.messages), len(other.messages)) == (1, 1)
