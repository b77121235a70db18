"""What may befall the road while mail flows: kills of either side, cuts of the link, SES's errors. All
of it at random, from one seed; the times are those of the machine."""

import contextlib
import random
import threading

FAULTS = ["dot {n} 454 Throttling failure: Maximum sending rate exceeded",
          "dot {n} 451 Temporary service failure", "dot {n} close-before-reply",
          "dot {n} reset-before-reply", "dot {n} cut 7", "dot {n} close", "dot {n} stall 0.3",
          "mail {n} 451 Timeout waiting for data from client", "data {n} reset",
          "rcpt {n} 451 Temporary service failure", "connect {n} reset",
          "greeting {n} 421 Too many concurrent SMTP connections", "ehlo {n} close"]


class Chaos:
    """On a road of conftest's, until the block ends; a flusher is there all the time, as by cron.
    count: how often each thing happened."""

    def __init__(self, way, seed, pause=0.4):
        self.way, self.rng, self.pause = way, random.Random(seed), pause
        self.count = {}
        self.wrong = []  # programs that ended otherwise than by our doing
        self._end = threading.Event()
        self._lock = threading.Lock()  # of the flusher
        self._flusher = None
        self._threads = [threading.Thread(target=self._cron), threading.Thread(target=self._fate)]

    def _cron(self):
        while not self._end.is_set():
            with self._lock:
                if self._flusher is None or self._flusher.process.poll() is not None:
                    self._note(self._flusher, (0, -9))
                    self._flusher = self.way.queue.flusher()
            self._end.wait(0.1)

    def _note(self, program, codes):
        if program is not None and program.process.poll() not in codes:
            self.wrong.append(f"{program.name} ended with {program.process.poll()}\n"
                              f"{program.log[-3000:]}")

    def kill_flusher(self):
        with self._lock:
            if self._flusher:
                self._flusher.kill()

    def kill_listener(self):
        self._note(self.way.listener.program, (None,))
        self.way.listener.kill()
        self.way.listener.start()

    def restart_listener(self):
        self._note(self.way.listener.program, (None,))
        if self.way.listener.stop() != 0:
            self.wrong.append(f"cenmail-listen\n{self.way.listener.program.log[-3000:]}")
        self.way.listener.start()

    def cut_link(self):
        self.way.link.cut()

    def falter(self):
        """SES does, some times."""
        lines = [self.rng.choice(FAULTS).format(n=self.rng.randint(1, 4))
                 for _ in range(self.rng.randint(1, 3))]
        self.way.ses.faults(*lines)

    def _fate(self):
        things = [self.kill_flusher, self.kill_listener, self.cut_link, self.cut_link, self.falter,
                  self.falter, self.falter, self.restart_listener]
        while not self._end.wait(self.rng.uniform(0.2, 1.8) * self.pause):
            thing = self.rng.choice(things)
            self.count[thing.__name__] = self.count.get(thing.__name__, 0) + 1
            try:
                thing()
            except Exception as e:  # told by the test
                self.wrong.append(f"{thing.__name__}: {e!r}")
                return

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(Exception):
            self._flusher.stop()
        self.way.ses.faults()
