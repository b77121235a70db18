"""A day of a queue in some seconds, to be run under strace (power_trace): it is made, mail is
submitted in every way there is, a flusher delivers, puts off and settles, imports and checkpoints;
an operator changes a row; a bare shell takes the WAL away. What was acknowledged, and by which
process, goes to `facts`, a line of JSON each:

    init PID · accepted PID ID (by its exit 0) · session PID [ID…] (its 250s) · changed PID ID

    power_history.py day DIRECTORY RELAY-URL SIZE…   (the sizes of messages beside the small ones)
    power_history.py recover DIRECTORY RELAY-URL SIZE…   (what follows a power cut)
    power_history.py begin DIRECTORY RELAY-URL SIZE…   (the same, where --init had not ended)
"""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import corpus
from harness import build_dir
from parts import Queue
from pipe_session import PipeSession


class Mail:
    """A message by its number: what is given to sendmail, and what has to be found again."""

    def __init__(self, serial, size):
        self.serial = serial
        self.message = corpus.Message(serial, size)
        self.recipients = [self.message.recipient]
        if serial % 4 == 1:
            self.recipients += [f"cc{i}.{serial}@example.net" for i in range(3)]

    @property
    def expected(self):
        return self.message.expected


def mails(sizes):
    """All of a history: 60 numbers, of which the first have the sizes given."""
    return [Mail(i, sizes[i] if i < len(sizes) else 600 + 37 * i) for i in range(60)]


class History:
    def __init__(self, directory, relay, sizes):
        self.queue = Queue(directory, init=False)
        self.queue.relay(relay)
        self.facts = open(directory / "facts", "w", encoding="ascii")
        self.large = [m for m in mails(sizes)[:len(sizes)]]
        self.small = iter(mails(sizes)[len(sizes):])

    def note(self, *fact):
        self.facts.write(json.dumps(fact) + "\n")

    def start(self, program, *args, **more):
        return subprocess.Popen([build_dir() / program, *args], env=self.queue.env,
                                stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)

    def init(self):
        made = self.start("cenmail-flush", "--init", "-C", self.queue.conf)
        assert made.wait(60) == 0
        made.stdin.close()
        self.note("init", made.pid)

    def submit(self, *batch):
        """Each by its own sendmail, all at once."""
        def one(mail):
            sender = self.start("sendmail", "-i", "-f", mail.message.sender, *mail.recipients)
            sender.communicate(mail.message.given, timeout=60)
            assert sender.returncode == 0
            return sender.pid

        with concurrent.futures.ThreadPoolExecutor(len(batch)) as pool:
            for mail, pid in zip(batch, pool.map(one, batch)):
                self.note("accepted", pid, mail.serial)

    def few(self, count):
        return [next(self.small) for _ in range(count)]

    def session(self, count):
        """sendmail -bs: half in lock step, half all at once."""
        batch = self.few(count)
        with PipeSession([build_dir() / "sendmail", "-bs"], self.queue.env) as session:
            session.say("EHLO client")
            for mail in batch[:count // 2]:
                session.send(*lines(mail))
                while session.line()[:3] != "354":
                    pass
                assert session.reply()[0] == 250
            session.send(*[line for mail in batch[count // 2:] for line in lines(mail)], "QUIT")
            code, out, _ = session.end()
            assert code == 0 and out.count(b"queued as") == count - count // 2, out
            self.note("session", session.process.pid, [mail.serial for mail in batch])

    def flush(self):
        done = self.queue.flush("--once")
        assert done.code == 0, done.log
        return done

    @contextlib.contextmanager
    def held(self):
        """Nobody gets the queue's lock, and nobody waits for it."""
        self.queue.write(lock_wait="0")
        with open(self.queue.database.parent / "queue.lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        self.queue.write(lock_wait="5s")

    def change(self, mail):
        """By hand, through the door that is recommended."""
        statement = f"update recipient set state='held' where address='{mail.recipients[0]}'"
        shell = subprocess.Popen(
            ["/bin/sh", pathlib.Path(__file__).parents[2] / "queue/store/cenmail-sql", statement],
            env={**self.queue.env, "CENMAIL_QUEUE": str(self.queue.database)})
        assert shell.wait(60) == 0
        self.note("changed", shell.pid, mail.serial)

    def bare_shell(self):
        """The last to close: it checkpoints, and takes the WAL away."""
        subprocess.run(["sqlite3", self.queue.database, "select count(*) from mailq"], check=True,
                       stdout=subprocess.DEVNULL)
        assert not self.queue.database.with_name("queue.db-wal").exists()

    def shell_that_stays(self):
        """It makes the WAL anew as it begins to read, and nobody has synced that name."""
        self.bare_shell()
        shell = subprocess.Popen(["sqlite3", self.queue.database], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        shell.stdin.write(b"select 'open', count(*) from mailq;\n")
        shell.stdin.flush()
        assert shell.stdout.readline().startswith(b"open")
        assert self.queue.database.with_name("queue.db-wal").exists()
        self.submit(*self.few(2))
        shell.communicate()
        assert shell.returncode == 0

    def linger(self):
        """Mail that comes while a flusher has the queue open, and its checkpoint when it rests."""
        self.queue.write(linger="30s")
        flusher = self.queue.flusher()
        try:
            for _ in range(2):
                batch = self.few(2)
                self.submit(*batch)
                until(lambda: "queued" not in self.queue.states())
            until(lambda: self.queue.database.with_name("queue.db-wal").stat().st_size == 0)
            assert flusher.stop() == 0
        finally:
            print(flusher.log, file=sys.stderr)
            flusher.close()
        self.queue.write(linger="0")

    def day(self):
        self.init()
        for mail in self.few(2) + self.large:
            self.submit(mail)
        self.session(4)
        self.submit(*self.few(5))
        self.flush()
        with self.held():
            self.submit(*self.few(3))
        last = self.few(1)
        self.submit(*last)
        self.change(*last)
        self.flush()
        self.bare_shell()
        self.submit(*self.few(1))
        self.shell_that_stays()
        self.linger()
        self.submit(*self.few(2))
        with self.held():
            self.submit(*self.few(1))

    def recover(self):
        """As after any start of the machine: nobody does anything special."""
        assert self.queue.sendmail("-bp").returncode == 0
        self.submit(list(self.small)[-1])
        self.queue.sql("update recipient set state='queued' where state='queued'")  # due now
        self.flush()

    def begin(self):
        self.init()
        self.recover()


def lines(mail):
    head = re.sub(rb"\r?\n", b"\r\n", mail.message.given)
    head += b"" if head.endswith(b"\r\n") else b"\r\n"
    return [f"MAIL FROM:<{mail.message.sender}>", *[f"RCPT TO:<{r}>" for r in mail.recipients],
            "DATA", re.sub(rb"(?m)^\.", b"..", head) + b".\r\n"]


def until(condition, deadline=30):
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


if __name__ == "__main__":
    os.umask(0o077)
    history = History(pathlib.Path(sys.argv[2]), sys.argv[3], [int(size) for size in sys.argv[4:]])
    {"day": history.day, "recover": history.recover, "begin": history.begin}[sys.argv[1]]()
    history.facts.close()
