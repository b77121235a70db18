"""The flusher with the real queue and, as its peer, the stand-in for SES: verdicts, faults of the
road, lingering, the hand-over."""

import fcntl
import re

import pytest

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"


def is_locked(path):
    with open(path, "rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


def put(queue, *addresses):
    for address in addresses:
        queue.submit(MAIL.format(address, address))


def test_sent_and_logged(queue, ses):
    far = ses()
    queue.relay(far.url)
    put(queue, "a@example.net")
    done = queue.flush()
    assert done.code == 0 and done.sent == 1 and done.messages == 1 and done.connections == 1
    (row,) = queue.delivered
    (message,) = far.messages
    assert row["ses_id"] == message["id"]
    assert message["recipients"] == ["a@example.net"]
    assert re.search(
        r"cenmail/smtp\[\d+\]: 0000000001: to=<a@example.net>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:"
        rf"{far.port}, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, "
        rf"status=sent \(250 Ok {message['id']}\)", done.log)
    assert far.stop()["pipelined"] == 0
    queue.whole()
    assert queue.contents() == {}, "the content of sent mail is not kept"


def test_road_down_keeps_all_and_ages_nothing(queue):
    queue.relay("lmtp://127.0.0.1:1")
    put(queue, "a@example.net", "b@example.net")
    done = queue.flush()
    assert done.code == 0 and done.sent == 0 and done.failed == 0
    assert "dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)" \
        in done.log
    assert queue.states() == {"queued": 2}
    assert [r["tries"] for r in queue.sql("select tries from recipient")] == [0, 0]


def test_a_wal_that_can_not_be_written_back_is_told(queue, ses):
    """Rule 3: a reader that stays keeps the WAL growing; who looks at the log learns of it."""
    queue.relay(ses().url)
    with queue.reading():
        for _ in range(2):
            queue.submit(b"To: a@example.net\nSubject: s\n\n" + (b"x" * 69 + b"\n") * 480000)
        done = queue.flush()
    assert done.sent == 2
    assert re.search(r"warning: the queue's WAL has \d+ MB and can't be written back", done.log)
    put(queue, "a@example.net")
    assert "WAL" not in queue.flush().log


def test_next_relay_takes_over(queue, ses):
    far = ses()
    queue.relay("lmtp://127.0.0.1:1", far.url)
    put(queue, "a@example.net")
    assert queue.flush().sent == 1
    assert len(far.messages) == 1


def test_a_fault_is_noted_at_the_relay_that_had_it(queue):
    queue.relay("lmtp://127.0.0.1:1", "lmtp://127.0.0.1:2")
    put(queue, "a@example.net")
    queue.flush()
    (row,) = queue.attempts
    assert ":2: Connection refused" in row["reply"]
    assert row["relay"] == "lmtp://127.0.0.1:2"


def test_route_by_pattern(queue, ses):
    one, other = ses(), ses()
    queue.write(route=f"*@qq.com {other.url}")
    queue.relay(one.url)
    put(queue, "a@example.net", "b@QQ.com")
    assert queue.flush().sent == 2
    assert [m["recipients"] for m in one.messages] == [["a@example.net"]]
    assert [m["recipients"] for m in other.messages] == [["b@QQ.com"]]


def test_sender_is_rewritten_and_headers_added_when_sending(queue, ses):
    far = ses()
    queue.relay(far.url)
    put(queue, "a@example.net")
    queue.write(rewrite_sender="root@* noreply@example.com",
                header="X-SES-CONFIGURATION-SET shanghai")
    assert queue.flush().sent == 1
    (message,) = far.messages
    assert message["sender"] == "noreply@example.com"
    assert far.content(message).startswith(b"X-SES-CONFIGURATION-SET: shanghai\r\nReceived:")


@pytest.mark.parametrize("fault, state, status", [
    ("dot 1 554 Message rejected: bad", "failed", "bounced"),
    ("mail 1 553 <x> Invalid email address", "failed", "bounced"),
    ("dot 1 451 Temporary service failure", "queued", "deferred"),
    ("mail 1 421 Too many concurrent SMTP connections", "queued", "deferred"),
    ("mail 1 503 5.5.1 Bad sequence", "queued", "deferred"),
    ("dot 1 554 Message rejected: Email address is not verified: sender@example.com", "held",
     "deferred"),
    ("dot 1 close-before-reply", "queued", "deferred"),
])
def test_answers(queue, ses, fault, state, status):
    far = ses()
    queue.write(retry_min="1h", retry_max="1h")
    queue.relay(far.url)
    put(queue, "a@example.net")
    far.faults(fault)
    done = queue.flush()
    assert done.code == 0
    assert queue.states() == {state: 1}, done.log
    assert re.search(rf"dsn={'5' if state == 'failed' else '4'}\.\d\.\d, status={status} \(", done.log)
    assert queue.contents(), "what is not sent is kept"
    queue.whole()


def test_wrong_password_bounces_nothing(queue, ses):
    far = ses()
    queue.relay(far.url)
    put(queue, "a@example.net")
    (far.directory / "secret").write_text("nobody:wrong\n")
    done = queue.flush()
    assert queue.states() == {"queued": 1} and "535" in done.log
    assert not far.messages


def test_unverified_sender_is_held_and_released_by_sql(queue, ses):
    far = ses(unverified=["sender@*", "root@*"])
    queue.relay(far.url)
    put(queue, "a@example.net")
    assert queue.flush().held == 1
    assert "not verified" in queue.mailq[0]["last_reply"]
    far.stop()
    queue.relay(ses().url)
    queue.sql("update recipient set state='queued' where message=1")
    assert queue.flush().sent == 1


def test_lingering_flusher_takes_new_mail_at_once_and_hands_over(queue, ses, wait_for):
    far = ses()
    queue.write(linger="30s")
    queue.relay(far.url)
    first = queue.flusher()
    put(queue, "a@example.net")
    far.wait(1, 10)
    second = queue.flusher()
    wait_for(lambda: is_locked(queue.database.parent / "next.lock"), 10, "the second one waits")
    third = queue.run_flush("-v", deadline=10)  # goes at once, without a run of its own
    assert third.returncode == 0 and b"flushed" not in third.stdout
    first.stop()
    put(queue, "b@example.net")
    far.wait(2, 10)
    second.stop()
    assert queue.states() == {"sent": 2}


def test_fifty_recipients_a_transaction(queue, ses):
    far = ses()
    queue.relay(far.url)
    queue.submit("To: " + ",\n ".join(f"r{i}@example.net" for i in range(120)) +
                 "\nFrom: s@example.com\nSubject: s\n\nbody\n")
    assert queue.flush().sent == 120
    assert sorted(len(m["recipients"]) for m in far.messages) == [20, 50, 50]


def test_no_relay_and_wrong_configuration(queue):
    done = queue.run_flush()
    assert done.returncode == 78 and b"no relay is configured" in done.stderr
    queue.write(relai="x")
    done = queue.run_flush()
    assert done.returncode == 78 and b"cenmail.conf:" in done.stderr and b"relai" in done.stderr
    assert done.stderr.count(b"\n") == 1, "said once"
