"""A client that says exactly what a test wants said, in the clear or under TLS."""

import base64
import re
import secrets
import socket
import sqlite3
import ssl

BODY = "Subject: s\r\nFrom: a@example.com\r\n\r\nbody\r\n"


def token():
    return secrets.token_hex(16)


class Dialogue:
    """One connection. Replies are (code, text), the lines of one reply joined by newlines."""

    def __init__(self, port, kind="plain", deadline=30, greeting=True, source="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", port), deadline, (source, 0))
        self.data = b""
        if kind == "tls":
            self.start_tls()
        if greeting:
            self.greeting = self.reply()
        if kind == "starttls":
            self.say("EHLO test")
            assert self.say("STARTTLS")[0] == 220
            self.start_tls()

    def start_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)

    def send(self, *lines):
        """Lines as text get CRLF, bytes are sent as they are; all in one write."""
        self.sock.sendall(b"".join(
            line if isinstance(line, bytes) else line.encode() + b"\r\n" for line in lines))

    def line(self):
        while b"\n" not in self.data:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError(self.data)
            self.data += more
        line, _, self.data = self.data.partition(b"\n")
        assert line.endswith(b"\r"), line
        return line[:-1].decode()

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return int(lines[0][:3]), "\n".join(line[4:] for line in lines)

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def say(self, *lines):
        self.send(*lines)
        return self.reply()

    def login(self, name, password, verb="LHLO"):
        self.say(f"{verb} test")
        plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        return self.say(f"AUTH PLAIN {plain}")

    def hello(self, verb="LHLO"):
        """The keywords that are offered, with their values."""
        code, text = self.say(f"{verb} test")
        assert code == 250, text
        return dict((line.split(" ", 1) + [""])[:2] for line in text.split("\n")[1:])

    def ended(self):
        """The peer has closed, in an orderly way or not, and has said nothing more."""
        try:
            return not self.data and self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def close(self):
        self.sock.close()


def mail(content, *recipients, sender="a@example.com", bdat=True):
    """The whole of one transaction, ready to be sent; recipients: address or (address, token)."""
    if isinstance(content, str):
        content = content.encode()
    lines = [f"MAIL FROM:<{sender}>"]
    for one in recipients:
        address, once = one if isinstance(one, tuple) else (one, None)
        lines.append(f"RCPT TO:<{address}>" + (f" XONCE={once}" if once else ""))
    if bdat:
        return lines + [f"BDAT {len(content)} LAST", content]
    return lines + ["DATA", content + b".\r\n"]


def ses_id(text):
    found = re.search(r"Ok (\S+) wait=[0-9.]+ ses=[0-9.]+$", text)
    assert found, text
    return found.group(1)


def journal(near, statement):
    """Rows of a listener's journal."""
    with sqlite3.connect(f"file:{near.directory / 'journal.db'}?mode=ro", uri=True) as db:
        return db.execute(statement).fetchall()


def sent_once(near, count):
    """What its SES has got: so many messages."""
    assert len(near.ses.messages) == count
    return near.ses.messages
