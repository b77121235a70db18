"""What one call of sendmail costs, beside its rivals (rivals.py) and two floors: /bin/true, which is
the price of starting a program at all, and a static program that inserts the same rows and commits.
All of them take turns within each round, so that what the machine does meanwhile harms all alike."""

import collections
import contextlib
import pathlib
import statistics
import subprocess

import corpus
import filled
import rivals
from harness import Program, build_dir, wait_for

LOAD = ((1, 60), (8, 160), (32, 320))  # callers at once, calls a round
SIZES = (2048, 100 * 1024)
FULL = 1_000_000


class Times:
    """Of one program under one load: what each call took, and what each round came to a second."""

    def __init__(self):
        self.calls, self.rates, self.memory = [], [], 0

    def add(self, text):
        """What callers(1) of tests/tools said."""
        total, memory, *each = map(int, text.split())
        self.memory = max(self.memory, memory)
        self.calls += each
        self.rates.append(len(each) * 1e6 / total)

    @property
    def median(self):
        """In milliseconds."""
        return statistics.median(self.calls) / 1000

    @property
    def rate(self):
        return statistics.median(self.rates)


def measure(space, programs, message, at_once, calls, into):
    """One turn of each."""
    for name, argv in programs.items():
        command = [build_dir() / "tools/callers", at_once, calls, message, *argv]
        done = subprocess.run(space.inside(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        into[name].add(done.stdout)


def rows_of(times, at_once):
    start, insert = times["/bin/true"], times["static insert"]
    best = max((t.rate for name, t in times.items() if name in rivals.PEERS))
    for name, t in times.items():
        above = t.median - start.median
        yield [f"{name}, {at_once} at once", f"{t.median:.1f}", f"{above:.1f}",
               f"{t.median / insert.median:.2f}", f"{t.rate:.0f}", f"{t.rate / best:.2f}"]


def against_rivals(space, directory, runs, table):
    for size in SIZES:
        message = directory / f"message-{size}"
        message.write_bytes(corpus.plain(1, size))
        rows = []
        for at_once, calls in LOAD:
            times = collections.defaultdict(Times)
            calls = calls if size == SIZES[0] else calls // 2
            before = {name: space.stored(name) for name in space.programs}
            for number in range(runs):
                turns = list(space.programs.items())
                turns = turns[number % len(turns):] + turns[:number % len(turns)]
                measure(space, dict(turns), message, at_once, calls, times)
            for name, had in before.items():
                want = calls * runs
                assert name == "/bin/true" or space.stored(name) - had == want, f"{name} has not stored what it took"
            rows += rows_of({name: times[name] for name in space.programs}, at_once)
        table(f"one call with {size} octets, {runs} rounds", ["", "median ms", "above /bin/true",
              "of static insert", "messages/s", "of the best peer's"], rows)


@contextlib.contextmanager
def flusher(space):
    """One whose road is down. It is watched until it has the queue open, as it then stays."""
    program = Program("flusher", space.inside([f"{rivals.OURS}/cenmail-flush"]))
    try:
        wait_for(lambda: "queue.db-shm" in pathlib.Path(f"/proc/{program.pid}/maps").read_text(),
                 what="the flusher")
        yield
    finally:
        program.close()


def by_state_of_queue(space, directory, runs, table):
    """An empty queue and a full one; with a flusher that holds the database open, and with none."""
    message, times = directory / f"message-{SIZES[0]}", collections.defaultdict(Times)
    message.write_bytes(corpus.plain(1, SIZES[0]))
    for full in (False, True):
        space.init()
        if full:
            space.run(filled.by_sql("/var/spool/cenmail/queue.db", FULL))
            space.run(["sync"])  # or its gigabyte is written beside what is measured
        for number in range(runs):
            for held in (number % 2, 1 - number % 2):
                name = f"{'full' if full else 'empty'}, {'a flusher' if held else 'no flusher'}"
                with flusher(space) if held else contextlib.nullcontext():
                    measure(space, {name: space.programs["cenmail"]}, message, *LOAD[0], times)
    least = times["empty, a flusher"].median
    table(f"one call with {SIZES[0]} octets, alone; full: {FULL} recipients wait",
          ["queue", "median ms", "of the first"],
          [[name, f"{t.median:.2f}", f"{t.median / least:.2f}"] for name, t in sorted(times.items())])


def bench_sendmail(directory, runs, table):
    space = rivals.Rivals(directory)
    try:
        against_rivals(space, directory, runs, table)
        by_state_of_queue(space, directory, runs, table)
    finally:
        space.close()
