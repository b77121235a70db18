"""CASES.md, section B, as the receiver sees it: what is given to sendmail, through the whole road,
to what SES has. (The same cases at the stored row, with more forms of each: test_sendmail.py.)"""

import os
import random
import re

import corpus
import pytest

DATAERR = 65
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 31)))
COUNT = 2000 if os.environ.get("CENMAIL_SOAK") else 60
HEAD = (b"From: a@example.com\nTo: b@example.net\nDate: Tue, 24 Nov 2026 04:14:10 +0800\n"
        b"Message-ID: <%d@model.example.com>\n")


def arrived(way):
    """One flush; what SES has then, by Message-ID or in order, without the Received lines."""
    run = way.queue.flush()
    assert run.code == 0, run.log
    way.queue.whole()
    return [(m, corpus.below_received(way.ses.content(m))) for m in way.ses.messages]


def refused(done, words):
    assert done.returncode == DATAERR, (done.returncode, done.stderr)
    assert words in done.stderr.decode(errors="replace"), done.stderr


# --- B1, B2, B3: addresses ---

def test_b1_octets_that_no_address_may_hold(road):
    """Refused where they come from -f, arguments or To; and SES sees the one good message only."""
    way = road(domain="example.net")
    for octets in b"\0", b"\n", b"\r", b"\r\nRCPT TO:<evil@example.org>\r\n", b"\x80", b"\xff", "é".encode():
        address = b"us" + octets + b"er@example.net"
        refused(way.queue.sendmail("-t", stdin=b"To: " + address + b"\n\nz\n"), "")
        if b"\0" not in octets:
            refused(way.queue.sendmail("-f", address, "b@example.net", stdin=b"\nz\n"), "sender")
            refused(way.queue.sendmail("--", address, stdin=b"\nz\n"), "recipient 1")
    way.queue.submit("To: 山田\n <b@example.net>\n\nz\n".encode())  # folded, an 8-bit name: fine
    (message, content), = arrived(way)
    assert message["recipients"] == ["b@example.net"]
    assert b"evil" not in content and "To: 山田\r\n <b@example.net>\r\n".encode() in content


@pytest.mark.parametrize("address", ['"x\' UNION SELECT--"@a.example', "%n%s@a.example",
                                     '"$(id)"@a.example', '"a b"@a.example', "`id`@a.example"])
def test_b2_odd_addresses_arrive_octet_for_octet(queue, ses, address):
    """Straight to SES: the listener refuses a % in a local part, as a route (E1)."""
    far = ses()
    queue.relay(far.url)
    queue.submit(b"To: b@example.net\n\nz\n", "-f", address, "--", address)
    queue.submit(b"To: " + address.encode() + b"\n\nz\n", "-t", "-f", address)
    assert queue.flush().code == 0
    assert [(m["sender"], m["recipients"]) for m in far.messages] == [(address, [address])] * 2


BCC = [b"Bcc: hidden@h.example\n", b"bCC : hidden@h.example\n", b"Bcc:\n\t(hidden)\n hidden@h.example\n",
       b"Resent-Bcc: hidden@h.example\n", b"Bcc: hidden@h.example\nBCC: hidden2@h.example\n",
       b"Bcc: hidden@h.example"]  # the last line, without its end


def test_b3_bcc_is_a_recipient_and_never_on_the_wire(road):
    way = road()
    for i, fields in enumerate(BCC):
        way.queue.submit(b"To: b@example.net\nSubject: %d\n" % i + fields
                         + (b"\nz\n" if fields.endswith(b"\n") else b""))
    found = {int(re.search(rb"\nSubject: (\d+)", c)[1]): (m, c) for m, c in arrived(way)}
    assert sorted(found) == list(range(len(BCC)))
    for i, fields in enumerate(BCC):
        message, content = found[i]
        assert message["recipients"][:2] == ["b@example.net", "hidden@h.example"]
        assert ("hidden2@h.example" in message["recipients"]) == (b"hidden2" in fields)
        assert b"hidden" not in content.lower()
        assert not re.search(rb"(?mi)^(resent-)?bcc[ \t]*:", content)


def test_b3_control_the_search_would_find_it(road):
    way = road()
    way.queue.submit(b"To: b@example.net\nX-Bcc: hidden@h.example\n\nz\n")
    (message, content), = arrived(way)
    assert message["recipients"] == ["b@example.net"] and b"hidden" in content.lower()


# --- B5, B8, B9: what is large, small or goes round ---

@pytest.mark.parametrize("data, words", [
    (b"X: " + b"a" * 1048576 + b"\n\nz\n", "header is over 1048576 octets"),
    (b" X: y\n\nz\n", None), (b"X: y", None), (b"", None), (b"\n", None), (b"X: y\n" * 100000 + b"\n", None),
], ids=["1 MiB", "space first", "header only", "empty", "empty line", "100,000 fields"])
def test_b5_large_and_small(road, data, words):
    way = road()
    done = way.queue.sendmail("-i", "b@example.net", stdin=data)
    if words:
        refused(done, words)
        return
    assert done.returncode == 0, done.stderr
    (_, content), = arrived(way)
    header, end, body = content.partition(b"\r\n\r\n")
    assert end and b"From: " in header and b"Date: " in header and b"Message-ID: " in header
    assert header.count(b"X: y") == (0 if data.startswith(b" ") else data.count(b"X: y"))
    assert body == (b" X: y\r\n\r\nz\r\n" if data.startswith(b" ") else b"")


def test_b8_from_lines_and_loops(road):
    way = road()
    head = HEAD % 1
    way.queue.submit(b"From a@b Tue Nov 24\n>From c@d\n" + head + b"Return-Path: <x@y>\n\nFrom here\n")
    way.queue.submit(b"Received: z\n" * 40 + HEAD % 2 + b"\nz\n")
    refused(way.queue.sendmail("-t", stdin=b"Received: z\n" * 41 + head + b"\nz\n"), "loop")
    first, second = sorted((c for _, c in arrived(way)), key=lambda c: b"<2@" in c)
    assert first == head.replace(b"\n", b"\r\n") + b"\r\nFrom here\r\n"
    assert second == (HEAD % 2).replace(b"\n", b"\r\n") + b"\r\nz\r\n"


def test_b9_the_size_limit_is_exact(road):
    way = road(message_size=5000)
    for over in -1, 0, 1:
        data = HEAD % (over + 1) + b"\n"
        data += b"z" * (5000 + over - len(data) - data.count(b"\n") - 2) + b"\n"
        done = way.queue.sendmail("-t", stdin=data)
        if over > 0:
            refused(done, "over 5000 octets")
        else:
            assert done.returncode == 0, done.stderr
    assert len(arrived(way)) == 2


# --- B7: the receiver gets exactly the normalised octets, as one message ---

PIECES = [b"\n", b"\r\n", b"\r", b"\n\r", b".", b"..", b"\n.\n", b"\r\n.\r\n", b"\n.\r", b"\r.\n",
          b"\0", b"\r\0\n", b".\0", b"\xff\xfe", "上海".encode(), "😀".encode(), b"abc ", b"\t", b"\xe4"]


def random_body(rng):
    body = b""
    for _ in range(rng.randint(0, 40)):
        if rng.random() < 0.15:
            unit = rng.choice([b"x", "é".encode(), "海".encode(), "😀".encode(), b"\xf0", b"\xe4a"])
            body += b"y" * rng.randint(0, 3) + unit * (rng.randint(990, 2100) // len(unit))
        else:
            body += rng.choice(PIECES)
    return body


def announced(octet):
    return 4 if 0xF0 <= octet <= 0xF4 else 3 if 0xE0 <= octet < 0xF0 else 2 if 0xC2 <= octet < 0xE0 else 1


def broken(line):
    """A line of at most 998 octets as it is; else CRLF SPACE, never within a UTF-8 character."""
    lines, room = [], 998
    while len(line) > room:
        cut = next((p for p in range(room - 3, room) if p + announced(line[p]) > room), room)
        lines.append(line[:cut])
        line, room = line[cut:], 997
    return b"\r\n ".join(lines + [line])


def model(body, dot_ends):
    """What the page promises, said once more, in another way."""
    lines = re.split(rb"\r\n|\r|\n", body.replace(b"\0", b""))
    if lines[-1] == b"":
        lines.pop()
    if dot_ends and b"." in lines:
        lines = lines[:lines.index(b".")]
    return b"".join(broken(line) + b"\r\n" for line in lines)


def test_b7_model():
    """The model itself, on cases written out by hand."""
    assert model(b"a\rb\r\n\nc\0\r\0\nd", False) == b"a\r\nb\r\n\r\nc\r\nd\r\n"
    assert model(b"a\n.\nb", True) == b"a\r\n" and model(b"a\n.\nb", False) == b"a\r\n.\r\nb\r\n"
    assert model(b"x" * 999, False) == b"x" * 998 + b"\r\n x\r\n"
    assert model(b"x" * 997 + "é".encode(), False) == b"x" * 997 + b"\r\n \xc3\xa9\r\n"


def test_b7_random_bodies_arrive_exactly(road):
    rng = random.Random(SEED)
    way = road()
    want, tried = {}, {b"\0": 0, b"\r": 0, b"\n.\n": 0, b"long": 0}
    for i in range(COUNT):
        body, dot_ends = random_body(rng), rng.random() < 0.4
        for what in tried:
            tried[what] += what in body or (what == b"long" and b"\r\n " in model(body, dot_ends))
        want[i] = (HEAD % i).replace(b"\n", b"\r\n") + b"\r\n" + model(body, dot_ends)
        way.queue.submit(HEAD % i + b"\n" + body, "-t", *([] if dot_ends else ["-i"]))
    print(f"seed {SEED} (CENMAIL_SEED), {COUNT} messages, of them with {tried}")
    assert min(tried.values()) > 2
    found = arrived(way)
    assert len(found) == COUNT
    for _, content in found:
        i = int(re.search(rb"<(\d+)@model", content)[1])
        assert content == want.pop(i), f"seed {SEED}, message {i}"
    assert not want
