"""The whole road: sendmail, flusher, listener, SES, with TLS and AUTH on both hops."""

import hashlib


def test_five_messages_arrive_once_and_exact(road):
    way = road()
    for i in range(5):
        way.queue.submit(f"To: a{i}@example.net\nFrom: s@example.com\nSubject: s\n\nbody {i}\n.\n")
    stored = sorted(way.queue.contents().values())
    done = way.queue.flush()
    assert (done.sent, done.connections) == (5, 1)
    arrived = []
    for message in way.ses.messages:
        content = way.ses.content(message)
        assert hashlib.sha256(content).hexdigest() == message["sha256"]
        assert content.startswith(b"Received: from shanghai.example.com")
        # What the listener adds is one field; the rest is what the queue held, octet for octet.
        arrived.append(content[content.index(b"\r\nReceived: by shanghai") + 2:])
    assert sorted(arrived) == stored
    assert {row["ses_id"] for row in way.queue.delivered} == {m["id"] for m in way.ses.messages}
    assert way.ses.stop()["pipelined"] == 0
    way.queue.whole()


def test_ses_refusal_comes_back_to_the_queue(road):
    way = road({"unverified": ["root@*"]})
    way.queue.submit("To: a@example.net\nFrom: s@example.com\nSubject: s\n\nbody\n")
    done = way.queue.flush()
    assert done.held == 1 and "not verified" in way.queue.mailq[0]["last_reply"]


def test_listener_gone_and_back(road):
    way = road()
    way.queue.submit("To: a@example.net\nFrom: s@example.com\nSubject: s\n\nbody\n")
    way.listener.stop()
    assert way.queue.flush().deferred == 1
    way.listener.start()
    assert way.queue.flush().sent == 1
    assert len(way.ses.messages) == 1
