"""A next hop that does as SMTP or LMTP asks, but for one moment at which it plays a trick. It keeps
the books: what it took, from whom, for whom, over which connection, and what was said to it."""

import contextlib
import dataclasses
import re
import socket
import ssl
import struct
import threading

JOURNAL = "0123456789abcdef0123456789abcdef"
OFFERS = {
    "xonce": ("PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES", "LIMITS RCPTMAX=50",
              f"XONCE {JOURNAL} 2592000"),
    "bdat": ("PIPELINING", "CHUNKING", "8BITMIME"),
    "group": ("PIPELINING", "8BITMIME"),
    "step": ("8BITMIME",),
}
USER, PASSWORD = "user", "word"


@dataclasses.dataclass
class Trick:
    """What is said instead of the good answer (None: nothing), whether the peer itself goes on as if
    it had said yes, and what it does then: close, reset or silence."""
    say: bytes = b""
    takes: bool = False
    then: str = ""


@dataclasses.dataclass
class Taken:
    sender: str
    recipient: str
    content: bytes


class Over(Exception):
    """The end of a connection."""


class Hostile:
    """One listening socket. trick(step, who): a Trick, or None for the good answer. The steps:
    tls greeting ehlo1 starttls ehlo2 auth mail rcpt data content rset quit; who: the sender of MAIL
    and of the content under SMTP, else the recipient. Who wants to know the connection as well
    overrides play()."""

    def __init__(self, kind="step", certificate=None, trick=None, offers=None, address="127.0.0.1"):
        self.kind, self.lmtp, self.certificate = kind, kind == "xonce", certificate
        self.offers = list(OFFERS[kind] if offers is None else offers)
        self.trick = trick or (lambda step, who: None)
        self.taken, self.journal, self.said = [], {}, []
        self.empty = None  # a list: DATA for nobody gets 354, and what comes is kept here
        self.ignores_rset = False  # says 250, and the transaction stays
        self.old_tls = False  # it has no TLS but 1.0
        self.sessions = []  # of all connections, in their order
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.create_server((address, 0), family=family)
        self.address, self.port = address, self.socket.getsockname()[1]
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, secret=None, host=None):
        scheme = "lmtp" if self.lmtp else "smtp"
        host = host or (f"[{self.address}]" if ":" in self.address else self.address)
        if not self.certificate:
            return f"{scheme}://{host}:{self.port}"
        return f"{scheme}+starttls://{host}:{self.port} pin={self.certificate.pin} secret={secret}"

    def count(self, recipient):
        """How often it took something for that one."""
        return sum(one.recipient == recipient for one in self.taken)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                peer.settimeout(60)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one = Session(self, peer, self.open)
                self.sessions.append(one)
                self._open.add(one)
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, session):
        with contextlib.suppress(OSError, Over):
            session.run()
        session.raw.close()
        self._open.discard(session)

    @property
    def open(self):
        """How many connections there are."""
        return len(self._open)

    def play(self, step, who, session):
        """What is done there, over that connection."""
        return self.trick(step, who)

    def close(self):
        """No more of it, as when a host goes down."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for session in list(self._open):
            with contextlib.suppress(OSError):
                session.raw.shutdown(socket.SHUT_RDWR)


class Session:
    """One connection. beside: how many there were already; took: contents so far."""

    def __init__(self, far, peer, beside):
        self.far, self.raw, self.sock, self.data = far, peer, peer, b""
        self.secure, self.beside, self.took = False, beside, 0
        self.reset()

    def reset(self):
        self.sender, self.rcpt = None, []

    # --- octets ---

    def _more(self):
        more = self.sock.recv(65536)
        if not more:
            raise Over
        self.data += more

    def line(self):
        while b"\r\n" not in self.data:
            self._more()
        line, _, self.data = self.data.partition(b"\r\n")
        self.far.said.append(line.decode("latin-1"))
        return line.decode("latin-1")

    def octets(self, n):
        while len(self.data) < n:
            self._more()
        found, self.data = self.data[:n], self.data[n:]
        return found

    def dotted(self):
        """Up to the lone dot, the stuffing taken out."""
        found = b""
        while not found.endswith(b"\r\n.\r\n") and found != b".\r\n":
            while b"\n" not in self.data:
                self._more()
            line, _, self.data = self.data.partition(b"\n")
            found += line + b"\n"
        return re.sub(rb"(?m)^\.", b"", found[:-3])

    def end(self, how):
        if how == "silence":
            with contextlib.suppress(OSError):
                while self.raw.recv(65536):
                    pass
        elif how == "reset":
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.raw.close()
        raise Over

    def answer(self, step, who, good):
        """Whether it was a yes."""
        return self.play(self.trick(step, who), good)

    def trick(self, step, who):
        return self.far.play(step, who, self)

    def play(self, trick, good):
        say = good.encode() + b"\r\n" if trick is None else trick.say
        if say:
            self.sock.sendall(say)
        if trick and trick.then:
            self.end(trick.then)
        return trick is None or trick.takes

    # --- the dialogue ---

    def run(self):
        if not self.answer("greeting", None, "220 hostile.example.com ESMTP"):
            self.end("silence")
        while True:
            verb, _, rest = self.line().partition(" ")
            do = getattr(self, "on_" + verb.lower(), None)
            if not do:
                self.answer("other", None, "500 5.5.1 what?")
            else:
                do(rest)

    def on_ehlo(self, _):
        offers = list(self.far.offers)
        if self.far.certificate:
            offers += ["AUTH PLAIN"] if self.secure else ["STARTTLS"]
        lines = ["hostile.example.com", *offers]
        good = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{line}"
                           for i, line in enumerate(lines))
        self.answer(f"ehlo{2 if self.secure else 1}", None, good)

    on_lhlo = on_ehlo

    def on_starttls(self, _):
        if not self.answer("starttls", None, "220 2.0.0 go"):
            return
        trick = self.trick("tls", None)
        if trick:
            self.raw.recv(1, socket.MSG_PEEK)  # the client's hello: nothing goes before it
            self.play(trick, "")
            self.end("silence")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.far.certificate.cert, self.far.certificate.key)
        if self.far.old_tls:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        self.sock = context.wrap_socket(self.raw, server_side=True)
        self.raw = self.sock  # it has taken the descriptor over
        self.secure, self.data = True, b""

    def on_auth(self, _):
        self.answer("auth", None, "235 2.7.0 you are in")

    def on_mail(self, rest):
        if self.sender is not None:
            self.answer("other", None, "503 5.5.1 nested MAIL")
            return
        sender = re.match(r"FROM:<([^>]*)>", rest)[1]
        if self.answer("mail", sender, "250 2.1.0 Ok"):
            self.sender = sender

    def on_rcpt(self, rest):
        address, token = re.match(r"TO:<([^>]*)>(?: XONCE=(\w+))?", rest).groups()
        if self.sender is None:
            self.answer("other", None, "503 5.5.1 MAIL first")
        elif self.answer("rcpt", address, "250 2.1.5 Ok"):
            self.rcpt.append((address, token))

    def on_data(self, _):
        if not self.rcpt and self.far.empty is not None:
            self.sock.sendall(b"354 go\r\n")
            self.far.empty.append(self.dotted())
            self.sock.sendall(b"250 2.0.0 Ok\r\n")
            self.reset()
        elif not self.rcpt:
            self.answer("other", None, "503 5.5.1 RCPT first")
        elif self.answer("data", self.sender, "354 go"):
            self.content(self.dotted())

    def on_bdat(self, rest):
        content = self.octets(int(rest.split()[0]))
        if not self.rcpt:
            self.answer("other", None, "503 5.5.1 RCPT first")
            self.reset()
        else:
            self.content(content)

    def content(self, content):
        """LMTP has an answer for each recipient; a token that is known, the first answer."""
        sender, rcpt = self.sender, self.rcpt
        self.reset()
        if not self.far.lmtp:
            trick = self.trick("content", sender)
            if trick is None or trick.takes:
                self.took += 1
                self.far.taken += [Taken(sender, address, content) for address, _ in rcpt]
            self.play(trick, "250 2.0.0 Ok id-1")
            return
        for i, (address, token) in enumerate(rcpt):
            if token not in self.far.journal:
                trick = self.trick("content", address)
                if trick is None or trick.takes:
                    self.take(sender, address, token, content)
                if trick and trick.then:  # of the others SES has heard as well
                    for other, its_token in rcpt[i + 1:]:
                        self.take(sender, other, its_token, content)
                self.play(trick, "250 2.0.0 Ok id-1")
            else:
                self.play(None, "250 2.0.0 Ok id-1")

    def take(self, sender, address, token, content):
        if token not in self.far.journal:
            self.far.taken.append(Taken(sender, address, content))
        if token:
            self.far.journal[token] = sender

    def on_rset(self, _):
        if not self.far.ignores_rset:
            self.reset()
        self.answer("rset", None, "250 2.0.0 Ok")

    def on_quit(self, _):
        self.answer("quit", None, "221 2.0.0 bye")
        self.end("close")


def black_hole():
    """A socket that takes no connection and refuses none, as its backlog is full; and what keeps it
    so. Close both."""
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    knocking = [socket.socket() for _ in range(4)]
    for one in knocking:
        one.setblocking(False)
        one.connect_ex(hole.getsockname())
    return hole, knocking
