"""Mail that comes all the time while the listener is restarted: no connection refused, all of it through."""

import ssl
import threading

from dialogue import token
from harness import wait_for


class Bringing:
    """Clients that bring one message after the other by send(recipient, token) -> code, each until it has
    its 250. .sent: the recipients; .refused: what connections were refused with."""

    def __init__(self, send, clients=3):
        self.sent, self.refused = [], []
        self._send, self._stop = send, threading.Event()
        self._threads = [threading.Thread(target=self._bring, args=(who,)) for who in range(clients)]
        for thread in self._threads:
            thread.start()

    def _bring(self, who):
        count = 0
        while not self._stop.is_set() and not self.refused:
            to, count = f"r{who}.{count}@example.org", count + 1
            self._one(to, token())

    def _one(self, to, once):
        while not self.refused:
            try:
                if self._send(to, once) == 250:
                    self.sent.append(to)
                    return
            except (EOFError, ConnectionResetError, ssl.SSLError):
                continue  # it was being served when the old one went; again
            except OSError as why:
                self.refused.append(why)

    def during(self, restart, times=3, between=10):
        """So many restarts, with so much mail before each and after the last."""
        try:
            for _ in range(times):
                self._some_more(between)
                restart()
            self._some_more(between)
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _some_more(self, count):
        before = len(self.sent)
        wait_for(lambda: len(self.sent) > before + count or self.refused, what="more mail")
