"""Messages for tests: the same ones every time, each with an id of its own, and what has to come
out of them at the far end."""

import concurrent.futures
import hashlib
import random
import re

JAPANESE = ("お客様各位、平素より格別のご高配を賜り、厚く御礼申し上げます。ご請求書を添付いたします。",
            "表示と構造と能力と貼り付け。", "ソフトウェアの更新は本日二十二時に行います。")
CHINESE = ("尊敬的客户：您的订单已发货，请注意查收。如有疑问，请联系上海办事处。",
           "系统将于今晚二十二点进行维护，届时服务不可用。", "請確認附件中的發票，謝謝。")
CHARSETS = (("us-ascii", None), ("utf-8", JAPANESE), ("iso-2022-jp", JAPANESE),
            ("shift_jis", JAPANESE), ("euc-jp", JAPANESE), ("utf-8", CHINESE),
            ("gb18030", CHINESE), ("big5", CHINESE[2:]), ("gbk", CHINESE))
# Lines on which programs that handle dots and line ends have come to grief.
AWKWARD = (b".", b"..", b".hidden", b"", b"From here on", b"QUIT", b"DATA", b". ", b"...", b"\t.",
           b"=2E", b"a trailing blank ", b"BDAT 1000 LAST")


def _line(rng, charset, phrases):
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(AWKWARD)
    if phrases and kind < 0.7:
        line = "".join(rng.choice(phrases) for _ in range(rng.randint(1, 3)))
        return line.encode(charset)
    if kind < 0.72:
        return bytes(rng.choice(b"abcdefgh ") for _ in range(rng.randint(900, 990)))
    return b" ".join(b"%x" % rng.getrandbits(rng.choice((8, 32, 64)))
                     for _ in range(rng.randint(1, 9)))


def _body(rng, size, charset, phrases):
    block = [_line(rng, charset, phrases) for _ in range(min(400, size // 40 + 2))]
    lines, have = [], 0
    while have < size:
        line = block[len(lines) % len(block)] if len(lines) < len(block) else rng.choice(block)
        lines.append(line)
        have += len(line) + 2
    return lines


class Message:
    """given: what is piped into sendmail. expected: what follows the Received lines at SES."""

    def __init__(self, serial, size, rng=None):
        rng = rng or random.Random(serial)
        charset, phrases = CHARSETS[serial % len(CHARSETS)]
        self.id = f"<{serial:06d}@corpus.example.com>"
        self.sender = f"app{serial % 7}@example.com"
        self.recipient = f"kunde{serial}@example.net"
        head = [f"From: App <{self.sender}>", f"To: {self.recipient}",
                "Date: Tue, 24 Nov 2026 04:14:10 +0800", f"Message-ID: {self.id}",
                f"Subject: message {serial}", "MIME-Version: 1.0",
                f"Content-Type: text/plain; charset={charset}", "Content-Transfer-Encoding: 8bit"]
        lines = [h.encode() for h in head] + [b""]
        lines += _body(rng, max(0, size - sum(len(h) + 2 for h in lines)), charset, phrases)
        end = b"\r\n" if serial % 5 == 0 else b"\n"  # callers write both
        self.given = end.join(lines)
        if serial % 3 or not lines[-1]:  # else: no final newline
            self.given += end
        self.expected = b"".join(line + b"\r\n" for line in lines)
        self.digest = hashlib.sha256(self.expected).hexdigest()


def sizes(rng):
    """0.5 KB to 1 MB, most of them small, as mail is."""
    kind = rng.random()
    if kind < 0.70:
        return rng.randint(500, 8_000)
    if kind < 0.95:
        return rng.randint(8_000, 60_000)
    return rng.randint(60_000, 1_000_000)


def mixed(count, seed=1):
    rng = random.Random(seed)
    return [Message(i, sizes(rng)) for i in range(count)]


RECEIVED = re.compile(rb"Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def below_received(content):
    """Without the Received lines at its top: each hop adds one there."""
    at = 0
    while found := RECEIVED.match(content, at):
        at = found.end()
    return content[at:]


def received_count(content):
    return len(RECEIVED.findall(content[:len(content) - len(below_received(content))]))


MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)


def message_id(content):
    found = MESSAGE_ID.search(content)
    return found.group(1).decode() if found else None


def submit_all(queue, messages, callers=4):
    """Each by its own call of sendmail, several at once."""
    def one(message):
        queue.submit(message.given, "-t", "-i", "-f", message.sender)

    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(one, m) for m in messages]:
            done.result()


class Plain:
    """A small message that only counts."""

    def __init__(self, serial, size=2048):
        self.sender, self.given = "app@example.com", plain(serial, size)


def plain(serial, size=2048):
    """A message of exactly `size` octets with CRLF line ends, for counting and timing."""
    head = (f"From: app@example.com\nTo: kunde{serial}@example.net\n"
            f"Date: Tue, 24 Nov 2026 04:14:10 +0800\nMessage-ID: <p{serial}@corpus.example.com>\n"
            f"Subject: message {serial}\n\n").encode()
    left = size - len(head) - head.count(b"\n")
    full, rest = divmod(left, 80)
    if rest and rest < 2:
        full, rest = full - 1, rest + 80
    return head + (b"x" * 78 + b"\n") * full + (b"x" * (rest - 2) + b"\n" if rest else b"")
