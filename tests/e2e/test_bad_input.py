"""What people get wrong: each case gives its exit code or reply and words that tell what to do,
and nothing is lost or half stored. (sendmail's own arguments: test_sendmail_refuses.py; the listener's
dialogue: test_listen.py.)"""

import re

import corpus
import pytest
from harness import build_dir, run

EX_CONFIG = 78


def stays_queued(queue, *words):
    """One flush: the message is still there, no bounce, no ageing, and the reason is to be read."""
    queue.submit(corpus.Message(1, 1000).given)
    done = queue.flush()
    assert done.code == 0, done.log  # cron would mail what is not
    row, = queue.mailq
    assert row["state"] == "queued" and row["tries"] == 0, dict(row)
    for word in words:
        assert re.search(word, done.log, re.IGNORECASE), f"no {word!r} in:\n{done.log}"
    assert "status=bounced" not in done.log
    queue.whole()
    return done


def then_arrives(queue, ses, relay):
    """The mistake is put right, and the same message goes."""
    queue.relay(relay)
    queue.sql("update recipient set state='queued'")  # try now
    queue.flush()
    assert queue.states() == {"sent": 1}
    assert len(ses.messages) == 1


# --- the flusher and the relay's identity ---

def test_a_certificate_that_is_not_pinned(queue, listener, ses, certs):
    far = ses()
    near = listener(far.url)
    good = near.url()
    bad = good.replace(certs.good.pin, certs.other.pin)
    assert bad != good
    queue.relay(bad)
    stays_queued(queue, r"pin", certs.good.pin.removeprefix("sha256:"))  # the one seen
    assert "authenticated" not in near.program.log
    then_arrives(queue, far, good)


def test_an_expired_certificate(queue, listener, ses, certs):
    """D8, to the flusher; each certificate that is wrong is in test_wire_tls.c."""
    far = ses()
    near = listener(far.url, certificate=certs.expired)
    queue.relay(near.url())
    stays_queued(queue, r"expired", r"2020")
    assert far.messages == []


@pytest.mark.parametrize("which,words", [("wrong_name", "name|match"), ("expired", "expired")])
def test_a_certificate_that_the_ca_file_does_not_cover(queue, listener, ses, certs, which, words):
    far = ses()
    certificate = getattr(certs, which)
    near = listener(far.url, certificate=certificate)
    queue.relay(re.sub(r"pin=\S+", f"ca={certificate.cert}", near.url()))
    stays_queued(queue, words)


def test_a_certificate_of_an_unknown_issuer(queue, listener, ses, certs):
    far = ses()
    near = listener(far.url)
    queue.relay(re.sub(r"pin=\S+", f"ca={certs.other.cert}", near.url()))
    stays_queued(queue, r"self[- ]signed|issuer|verif")
    queue.sql("delete from message")
    queue.relay(re.sub(r"pin=\S+", f"ca={certs.good.cert}", near.url()))
    queue.submit(corpus.Message(2, 1000).given)
    queue.flush()
    assert len(far.messages) == 1


def test_the_listener_refuses_what_ses_shows(queue, listener, ses, certs):
    """The same on the other side: no password and no mail for a false SES; Shanghai keeps it."""
    far = ses()
    near = listener(far.url.replace(certs.good.pin, certs.other.pin))
    queue.relay(near.url())
    stays_queued(queue, r"pin")
    assert far.stop()["authenticated"] == 0


def test_ses_without_starttls(queue, listener, ses, certs, tmp_path):
    far = ses(tls="none")
    secret = tmp_path / "ses1" / "secret"
    near = listener(f"smtp+starttls://127.0.0.1:{far.port} pin={certs.good.pin} secret={secret}")
    queue.relay(near.url())
    stays_queued(queue, r"STARTTLS")
    counters = far.stop()
    assert counters["authenticated"] == counters["auth_refused"] == counters["messages"] == 0


# --- passwords ---

def test_a_wrong_password_at_the_listener(queue, listener, ses):
    far = ses()
    near = listener(far.url)
    secret = near.directory / "relay.secret"
    right = secret.read_text()
    secret.write_text("shanghai:wrong\n")
    queue.relay(near.url())
    done = stays_queued(queue, r"535", r"password|authentication")
    assert "wrong" not in done.log and right.split(":")[1].strip() not in near.program.log
    secret.write_text(right)
    then_arrives(queue, far, near.url())


def test_a_wrong_password_at_ses(queue, listener, ses):
    far = ses()
    secret = far.directory / "secret"
    right = secret.read_text()
    secret.write_text(f"{far.user}:wrong\n")
    near = listener(far.url)
    queue.relay(near.url())
    stays_queued(queue, r"SES refused|535|password")
    assert far.stop()["auth_refused"] >= 1
    assert right.split(":")[1].strip() not in near.program.log


def test_a_secret_that_others_may_read(queue, listener, ses):
    far = ses()
    near = listener(far.url)
    secret = near.directory / "relay.secret"
    secret.chmod(0o644)
    queue.relay(near.url())
    queue.submit(corpus.Message(1, 1000).given)
    done = queue.flush()
    assert done.code == EX_CONFIG
    assert str(secret) in done.log and re.search(r"chmod|readable|others", done.log)
    assert queue.states() == {"queued": 1}
    secret.chmod(0o600)
    then_arrives(queue, far, near.url())


def test_a_secret_that_is_missing(queue, listener, ses):
    near = listener(ses().url)
    (near.directory / "relay.secret").unlink()
    queue.relay(near.url())
    done = queue.flush()
    assert done.code == EX_CONFIG and "relay.secret" in done.log


# --- who may speak to the listener ---

def test_a_peer_outside_allow(queue, listener, ses):
    far = ses()
    near = listener(far.url, allow="192.0.2.0/24")
    queue.relay(near.url())
    stays_queued(queue, r"allow|5\.7\.1|not permitted|denied|554|connection")
    assert "127.0.0.1" in near.program.log
    near.stop()
    near.write(allow="127.0.0.1")
    near.start()
    then_arrives(queue, far, near.url())


def test_nobody_is_let_in_without_allow(queue, listener, ses):
    far = ses()
    near = listener(far.url, allow=None)
    queue.relay(near.url())
    stays_queued(queue)
    assert far.messages == []


# --- no road at all ---

def test_nobody_listens(queue):
    queue.relay("lmtp://127.0.0.1:1")
    done = stays_queued(queue, r"refused", r"dsn=4\.4\.1", r"status=deferred")
    assert done.deferred == 1


def test_a_name_that_does_not_resolve(queue):
    queue.relay("lmtp://relay.invalid:3535")
    stays_queued(queue, r"relay\.invalid", r"status=deferred")


def test_the_second_relay_is_tried(queue, listener, ses):
    far = ses()
    near = listener(far.url)
    queue.relay("lmtp://127.0.0.1:1", near.url())
    queue.submit(corpus.Message(1, 1000).given)
    queue.flush()
    assert queue.states() == {"sent": 1}


# --- configuration ---

BAD_MAIL = [("nonsense 1", r"nonsense"), ("retry_min fast", r"retry_min"),
            ("window 0", r"window"), ("relay http://x", r"relay|scheme"),
            ("relay lmtps://10.0.0.1:3535 pin=sha256:12", r"pin"),
            ("message_size 1T", r"message_size"), ("linger 60s\nlinger 30s", r"linger")]


@pytest.mark.parametrize("line,words", BAD_MAIL)
def test_a_wrong_configuration_of_shanghai(queue, line, words):
    """Both programs that read it refuse it, name file and line, and touch nothing."""
    queue.relay("lmtp://127.0.0.1:1")
    queue.write(linger=None)
    at = len(queue.conf.read_text().splitlines()) + len(line.splitlines())
    queue.conf.write_text(queue.conf.read_text() + line + "\n")
    for done in (queue.sendmail("-t", stdin=corpus.Message(1, 500).given), queue.run_flush(),
                 queue.run_flush("--check-config")):
        text = (done.stdout + done.stderr).decode()
        assert done.returncode == EX_CONFIG, text
        assert f"{queue.conf}:{at}:" in text and re.search(words, text), text
    assert queue.value("select count(*) from message") == 0


def test_no_configuration(tmp_path):
    missing = tmp_path / "no.conf"
    for name in ("cenmail-flush", "cenmail-listen"):
        done = run([build_dir() / name, "-C", missing])
        assert done.returncode == EX_CONFIG, done.stderr
        assert str(missing).encode() in done.stderr


BAD_LISTEN = [("nonsense 1", r"nonsense"), ("listen 127.0.0.1:99999 tls", r"listen|port"),
              ("allow 10.0.0.1/8", r"allow"), ("rate fast", r"rate"),
              ("upstream_connections 0", r"upstream_connections")]


@pytest.mark.parametrize("line,words", BAD_LISTEN)
def test_a_wrong_configuration_of_tokyo(listener, line, words):
    one = listener("smtp://127.0.0.1:1", start=False, password=None, rate=None)
    at = len(one.conf.read_text().splitlines()) + 1
    one.conf.write_text(one.conf.read_text() + line + "\n")
    for more in ([], ["--check-config"]):
        done = run(one.argv() + more)
        assert done.returncode == EX_CONFIG, done.stderr
        said = done.stderr.decode()
        assert f"{one.conf}:{at}:" in said and re.search(words, said)


def test_a_good_configuration_is_said_to_be_good(queue, listener):
    queue.relay("lmtp://127.0.0.1:1")
    done = queue.run_flush("--check-config")
    assert done.returncode == 0, done.stderr
    assert b"retry_min" in done.stdout and b"relay lmtp://127.0.0.1:1" in done.stdout
    one = listener("smtp://127.0.0.1:1", start=False)
    done = run(one.argv() + ["--check-config"])
    assert done.returncode == 0, done.stderr
    assert b"upstream smtp://127.0.0.1:1" in done.stdout


def test_a_key_that_others_may_read_or_that_does_not_fit(listener, certs, tmp_path):
    copied = tmp_path / "copied.key"
    copied.write_bytes(certs.good.key.read_bytes())
    copied.chmod(0o644)
    for key, words in ((copied, r"copied\.key"), (certs.other.key, r"key|match")):
        one = listener("smtp://127.0.0.1:1", start=False, key=key)
        done = run(one.argv())
        assert done.returncode == EX_CONFIG, done.stderr
        assert re.search(words, done.stderr.decode())


# --- the queue ---

def test_a_queue_that_is_missing(queue):
    queue.relay("lmtp://127.0.0.1:1")
    for old in queue.database.parent.glob("queue.db*"):
        old.unlink()
    done = queue.flush()
    assert done.code == EX_CONFIG and "--init" in done.log
    assert not queue.database.exists()  # a fresh one would hide the loss


def test_a_foreign_database(queue):
    queue.relay("lmtp://127.0.0.1:1")
    queue.sql("pragma application_id=1")
    done = queue.flush()
    assert done.code == EX_CONFIG and str(queue.database) in done.log


def test_a_file_that_is_no_database(queue):
    queue.relay("lmtp://127.0.0.1:1")
    for old in queue.database.parent.glob("queue.db*"):
        old.unlink()
    queue.database.write_bytes(b"this is no database at all, and it stays as it is" * 100)
    before = queue.database.read_bytes()
    assert queue.flush().code == EX_CONFIG
    assert queue.run_flush("--init").returncode != 0
    assert queue.database.read_bytes() == before


def test_init_twice_does_nothing(queue):
    queue.submit(corpus.Message(1, 500).given)
    assert queue.run_flush("--init").returncode == 0
    assert queue.states() == {"queued": 1}
