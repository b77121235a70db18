"""Senders beside what a test does, for as long as that takes."""

import threading
import time

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"


class Senders:
    """`count` of them, each with one message after the other, until the block ends. sent: the addresses
    of what was acknowledged; failed: the calls that were not; slowest: seconds."""

    def __init__(self, queue, count=8):
        self.queue, self.sent, self.failed, self.slowest = queue, [], [], 0
        self._end = False
        self._threads = [threading.Thread(target=self._send, args=[i]) for i in range(count)]

    def _send(self, thread):
        number = 0
        while not self._end:
            address = f"t{thread}-{number}@example.net"
            began = time.monotonic()
            done = self.queue.sendmail("-t", "-i", stdin=MAIL.format(address, number))
            self.slowest = max(self.slowest, time.monotonic() - began)
            (self.failed if done.returncode else self.sent).append(done if done.returncode else address)
            number += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end = True
        for thread in self._threads:
            thread.join()
