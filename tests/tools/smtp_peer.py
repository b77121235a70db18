"""An SMTP server with limits and moods of its own, to which the flusher sends by DATA: one thread
for each connection, nothing but the standard library."""

import contextlib
import re
import socket
import threading


class SmtpPeer:
    """per_connection: messages that one takes, and then MAIL gets 421, or with `silent` the
    connection just ends. mailmax: LIMITS MAILMAX, and who sends more is noted in .beyond. most:
    connections at once, more get 421 at the greeting, or with at_mail at their first MAIL.
    closes, stalls: a sender at whose MAIL, DATA or content (`at`) it does that."""

    def __init__(self, pipelining=True, **moods):
        self.pipelining = pipelining
        self.per_connection = moods.get("per_connection")
        self.silent = moods.get("silent", False)
        self.mailmax = moods.get("mailmax")
        self.most = moods.get("most")
        self.at_mail = moods.get("at_mail", False)
        self.closes, self.stalls = moods.get("closes"), moods.get("stalls")
        self.at = moods.get("at", "content")
        self.messages, self.per, self.beyond, self.refused = [], [], 0, 0
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.socket.getsockname()[1]
        self.url = f"smtp://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer):
        with self.lock:
            self.open += 1
            crowded = self.most is not None and self.open > self.most
            self.refused += crowded
            if not crowded:
                self.most_open = max(self.most_open, self.open)
        with peer, contextlib.suppress(OSError):
            if crowded and not self.at_mail:
                peer.sendall(b"421 Too many concurrent SMTP connections\r\n")
            else:
                Session(self, peer, crowded).run()
        with self.lock:
            self.open -= 1

    def close(self):
        self.ended.set()
        self.socket.close()

    @property
    def recipients(self):
        with self.lock:
            return sorted(r for m in self.messages for r in m[1])


class Over(Exception):
    """The connection ends."""


class Session:
    """One connection."""

    def __init__(self, server, sock, crowded):
        self.server, self.sock, self.crowded = server, sock, crowded
        self.file = sock.makefile("rb")
        self.out = []
        self.sender, self.rcpts, self.taken, self.number = None, [], 0, 0

    def say(self, text):
        """With what is said next, as far as the client has sent that already."""
        self.out.append(text.encode() + b"\r\n")

    def flush(self):
        self.sock.sendall(b"".join(self.out))
        self.out = []

    def line(self):
        if not self.file.peek(1) if not self.out else not self._buffered():
            self.flush()
        line = self.file.readline()
        if not line:
            raise Over
        return line.rstrip(b"\r\n").decode()

    def _buffered(self):
        """Whether a whole line is here already, so that its answer can go with the last one."""
        self.sock.setblocking(False)
        try:
            return b"\n" in self.file.peek(1)
        except (BlockingIOError, ValueError):
            return False
        finally:
            self.sock.setblocking(True)

    def run(self):
        with self.server.lock:
            self.number = len(self.server.per)
            self.server.per.append(0)
        self.say("220 peer.example ESMTP")
        with contextlib.suppress(Over):
            while True:
                self.command(self.line())
        self.flush()

    def mood(self, at):
        if self.server.at != at:
            return
        if self.server.closes and self.server.closes in self.sender:
            self.out = []
            raise Over
        if self.server.stalls and self.server.stalls in self.sender:
            self.flush()
            self.server.ended.wait(600)
            raise Over

    def command(self, line):
        verb = line.split(" ")[0].upper()
        handler = getattr(self, "on_" + verb.lower(), None)
        if handler:
            handler(line)
        else:
            self.say("500 what?")

    def on_ehlo(self, _):
        offers = ["peer.example", "8BITMIME"]
        if self.server.pipelining:
            offers.append("PIPELINING")
        if self.server.mailmax:
            offers.append(f"LIMITS MAILMAX={self.server.mailmax}")
        for offer in offers[:-1]:
            self.say("250-" + offer)
        self.say("250 " + offers[-1])

    def on_mail(self, line):
        self.sender = re.search("<(.*?)>", line)[1]
        self.rcpts = []
        server = self.server
        if self.crowded:
            self.say("421 Too many concurrent SMTP connections")
            raise Over
        if server.per_connection is not None and self.taken >= server.per_connection:
            if not server.silent:
                self.say("421 4.7.0 too many messages in this connection")
            raise Over
        self.mood("mail")
        self.say("250 Ok")

    def on_rcpt(self, line):
        self.rcpts.append(re.search("<(.*?)>", line)[1])
        self.say("250 Ok")

    def on_data(self, _):
        self.mood("data")
        self.say("354 go on")
        while self.line() != ".":
            pass
        self.mood("content")
        self.taken += 1
        with self.server.lock:
            self.server.messages.append((self.sender, self.rcpts))
            self.server.per[self.number] += 1
            if self.server.mailmax and self.taken > self.server.mailmax:
                self.server.beyond += 1
        self.say("250 Ok taken")

    def on_rset(self, _):
        self.say("250 Ok")

    def on_quit(self, _):
        self.say("221 bye")
        raise Over
