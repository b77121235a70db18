"""The road: from `sendmail -t` to SES's 250, on real input, every octet compared."""

import collections
import hashlib

import corpus
import pytest


def check_arrived(ses, messages, hops=2):
    """Each once, to its recipient, octet for octet, whatever the order."""
    want = {m.id: m for m in messages}
    counts = collections.Counter()
    for arrived in ses.messages:
        content = ses.content(arrived)
        message = want.get(corpus.message_id(content))
        assert message, f"SES got what nobody sent: {content[:300]!r}"
        counts[message.id] += 1
        assert arrived["recipients"] == [message.recipient]
        assert arrived["sender"] == message.sender
        assert arrived["bare"] == 0
        assert corpus.received_count(content) == hops
        body = corpus.below_received(content)
        assert hashlib.sha256(body).hexdigest() == message.digest, \
            f"{message.id} was changed: {first_difference(body, message.expected)}"
        assert arrived["eightbit"] or body.isascii()
    lost = set(want) - set(counts)
    doubled = [i for i, n in counts.items() if n > 1]
    assert not lost and not doubled, f"lost {sorted(lost)[:5]}, doubled {doubled[:5]}"


def first_difference(got, want):
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return f"at octet {at}: {got[at - 40:at + 40]!r} and not {want[at - 40:at + 40]!r}"


def test_the_corpus_is_what_it_should_be():
    messages = corpus.mixed(1000)
    sizes = [len(m.expected) for m in messages]
    assert min(sizes) < 1000 and max(sizes) > 900_000
    given = b"".join(m.given for m in messages)
    assert b"\n.\n" in given and b"\r\n..\r\n" in given
    assert any(not m.given.endswith(b"\n") for m in messages)
    assert sum(not m.given.isascii() for m in messages) > 500
    assert len({m.id for m in messages}) == len({m.digest for m in messages}) == 1000


def test_one_message(road):
    way = road(keep_sent="1d")
    message = corpus.Message(1, 2000)
    corpus.submit_all(way.queue, [message])
    row, = way.queue.mailq
    assert (row["sender"], row["recipient"], row["state"]) == \
        (message.sender, message.recipient, "queued")
    stored = way.queue.value("select data from content")
    run = way.queue.flush()
    assert (run.code, run.messages, run.sent, run.connections) == (0, 1, 1, 1)
    check_arrived(way.ses, [message])
    arrived, = way.ses.messages
    assert way.ses.content(arrived).endswith(stored)  # only the listener's Received stands above
    row, = way.queue.delivered
    assert (row["ses_id"], row["recipient"]) == (arrived["id"], message.recipient)
    assert row["message_id"] == message.id
    assert all(row[k] is not None and 0 <= row[k] < 60 for k in ("queued", "connect", "hop", "ses"))
    assert way.queue.mailq == []
    attempt, = way.queue.attempts
    assert (attempt["code"], attempt["maybe_sent"]) == (250, 0)
    assert arrived["id"] in attempt["reply"]
    assert f"to=<{message.recipient}>" in run.log and "status=sent" in run.log
    assert arrived["id"] in run.log
    assert arrived["tls"]
    counters = way.ses.stop()
    assert counters["pipelined"] == 0 and counters["authenticated"] == counters["connections"]


def test_the_content_of_sent_mail_is_not_kept(road):
    way = road()
    way.queue.submit(corpus.Message(1, 2000).given)
    way.queue.flush()
    assert way.queue.states() == {"sent": 1}
    assert way.queue.contents() == {}


def test_a_thousand_of_mixed_sizes(road):
    """0.5 KB to 1 MB; dots at line starts; no final newline; Japanese and Chinese in 8 bits."""
    way = road(link={"delay_ms": 5})
    messages = corpus.mixed(1000)
    corpus.submit_all(way.queue, messages)
    assert way.queue.states() == {"queued": 1000}
    run = way.queue.flush(deadline=300)
    assert run.code == 0 and way.queue.states() == {"sent": 1000}, run.log[-3000:]
    assert run.connections == 1
    check_arrived(way.ses, messages)
    assert {row["ses_id"] for row in way.queue.delivered} == {m["id"] for m in way.ses.messages}
    assert way.ses.stop()["pipelined"] == 0
    way.queue.whole()


def test_one_of_25_megabytes(road):
    way = road()
    big, small = corpus.Message(1, 25_000_000), corpus.Message(2, 2000)
    corpus.submit_all(way.queue, [big, small], callers=1)
    run = way.queue.flush(deadline=300)
    assert way.queue.states() == {"sent": 2}, run.log
    check_arrived(way.ses, [big, small])


@pytest.mark.parametrize("kind", ["tls", "starttls", "plain"])
@pytest.mark.parametrize("upstream", ["starttls", "wrapped", "none"])
def test_every_kind_of_transport(road, kind, upstream):
    """In the clear there are no passwords: then nobody has to log in."""
    login = {} if upstream != "none" else {"user": None}
    way = road(ses_options={"tls": upstream, **login},
               listener_options={"kinds": (kind,), "password": "x" if kind != "plain" else None})
    messages = [corpus.Message(i, 3000) for i in range(5)]
    corpus.submit_all(way.queue, messages)
    run = way.queue.flush()
    assert way.queue.states() == {"sent": 5}, run.log
    check_arrived(way.ses, messages)


def test_the_flusher_speaks_to_ses_itself(queue, ses):
    """Any next hop that speaks SMTP will do: here SES, in lock step."""
    far = ses()
    queue.relay(far.url)
    messages = [corpus.Message(i, 3000) for i in range(20)]
    corpus.submit_all(queue, messages)
    run = queue.flush()
    assert queue.states() == {"sent": 20}, run.log
    check_arrived(far, messages, hops=1)
    assert far.stop()["pipelined"] == 0


def test_more_than_fifty_recipients_go_in_batches(road):
    way = road()
    to = [f"u{i}@example.net" for i in range(120)]
    message = corpus.Message(1, 2000)
    way.queue.submit(message.given, "-i", "-f", "list@example.com", "--", *to)
    run = way.queue.flush()
    assert (run.messages, run.recipients, run.sent) == (1, 120, 120)
    got = [m["recipients"] for m in way.ses.messages]
    assert sorted(map(len, got)) == [20, 50, 50]
    assert sorted(r for one in got for r in one) == sorted(to)
    assert {m["sender"] for m in way.ses.messages} == {"list@example.com"}


def test_bcc_is_delivered_and_not_seen(road):
    way = road()
    way.queue.submit(b"From: a@example.com\nTo: b@example.net\nBcc: c@example.net,\n d@example.net\n"
                     b"Subject: x\n\nbody\n")
    way.queue.flush()
    everybody = sorted(r for m in way.ses.messages for r in m["recipients"])
    assert everybody == ["b@example.net", "c@example.net", "d@example.net"]
    for message in way.ses.messages:
        content = way.ses.content(message)
        assert b"c@example.net" not in content and b"d@example.net" not in content
        assert b"bcc" not in content.lower()


def test_a_wrong_recipient_does_not_harm_the_others(road):
    """SES judges the message as a whole, the listener passes that on; at RCPT each has its own."""
    way = road()
    way.ses.faults("rcpt <gone@*> * 550 5.1.1 no such user")
    way.queue.submit(corpus.Message(1, 2000).given, "-i", "--", "a@example.net",
                     "gone@example.net", "b@example.net")
    way.queue.flush()
    states = dict(way.queue.sql("select address, state from recipient"))
    assert states == {"a@example.net": "sent", "gone@example.net": "failed",
                      "b@example.net": "sent"}
    row, = way.queue.sql("select * from undeliverable")
    assert (row["recipient"], row["code"]) == ("gone@example.net", 550)
    assert "no such user" in row["reply"]


def test_an_unverified_sender_is_held_and_others_flow(road):
    way = road(ses_options={"unverified": ["*@unknown.example"]})
    good = corpus.Message(1, 2000)
    way.queue.submit(b"From: me@unknown.example\nTo: b@example.net\nSubject: x\n\nbody\n",
                     "-t", "-i", "-f", "me@unknown.example")
    way.queue.submit(good.given)
    run = way.queue.flush()
    states = dict(way.queue.sql("select address, state from recipient"))
    assert states == {"b@example.net": "held", good.recipient: "sent"}, run.log
    row, = way.queue.mailq
    assert "not verified" in row["last_reply"] and "me@unknown.example" in row["last_reply"]


def test_throttling_loses_nothing(road, wait_for):
    way = road(ses_options={"rate": 20})
    messages = [corpus.Message(i, 1000) for i in range(40)]
    corpus.submit_all(way.queue, messages)

    def all_sent():
        way.queue.flush()
        return way.queue.states() == {"sent": 40}

    wait_for(all_sent, 60, "every message being sent")
    check_arrived(way.ses, messages)


def test_ses_idle_limit_is_no_trouble(road, wait_for):
    """SES ends silent connections: the listener has to open a new one, or close its own before."""
    way = road(ses_options={"idle": 0.3})
    for i in range(3):
        way.queue.submit(corpus.Message(i, 1000).given)
        way.queue.flush()
        assert len(way.ses.messages) == i + 1
        idle_over(way.ses, wait_for)
    assert way.queue.states() == {"sent": 3}


def idle_over(ses, wait_for):
    """Until SES's side has no connection left: the kernel shows it."""
    def gone():
        with open("/proc/net/tcp", encoding="ascii") as table:
            port = f":{ses.port:04X}"
            return not any(port in line and " 01 " in line for line in table)
    wait_for(gone, what="the end of idle connections")


def test_a_lingering_flusher_takes_new_mail_at_once(road, wait_for):
    way = road(linger="30s")
    flusher = way.queue.flusher()
    first = corpus.Message(1, 1000)
    way.queue.submit(first.given)
    way.ses.wait(1)
    for i in range(2, 6):
        way.queue.submit(corpus.Message(i, 1000).given)
        way.ses.wait(i, deadline=10)
    wait_for(lambda: way.queue.states() == {"sent": 5}, what="the verdicts")
    assert flusher.stop() == 0
    queued = [row["queued"] for row in way.queue.delivered]
    assert min(queued[1:]) < 0.5, queued  # one of them at least met no hiccup of the machine
