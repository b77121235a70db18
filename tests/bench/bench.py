"""`make bench`: what the road and one call of sendmail cost. Numbers are reported, not asserted:
what must hold is in the tests. Run it alone; the drift of a busy machine is larger than most
differences, so every figure is a median of runs that are interleaved with the floor's.

    bench.py [--quick] [road] [sendmail]        all of it, unless some are named
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import corpus  # noqa: E402
import filled  # noqa: E402
import parts  # noqa: E402
from harness import build_dir  # noqa: E402

MESSAGES, OCTETS, ONE_WAY_MS = 1000, 2048, 25


def table(title, head, rows):
    """Columns as wide as they need to be, figures to the right."""
    rows = [[str(c) for c in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"\n{title}")
    for number, row in enumerate(rows):
        print("  " + "  ".join(c.rjust(w) if i else c.ljust(w)
                               for i, (c, w) in enumerate(zip(row, widths))))
        if not number:
            print("  " + "  ".join("-" * w for w in widths))


# --- the road: a full queue through the long link ---

class Cenmail:
    """Our own programs. A peer (Postfix, dma, nullmailer) will be a class with the same calls."""

    name = "cenmail, one connection"

    def __init__(self, directory, full, certificate):
        self.full, self.certificate, self.directory = full, certificate, directory

    def run(self, number, stack):
        """Drains a copy of the full queue once: seconds, connections, octets up and down."""
        directory = self.directory / f"run{number}"
        directory.mkdir()
        ses = stack.enter_context(closing(parts.Ses(directory / "ses", self.certificate)))
        near = stack.enter_context(
            closing(parts.Listener(directory / "tokyo", self.certificate, ses.url)))
        link = stack.enter_context(
            closing(parts.LongLink(near.port, directory, delay_ms=ONE_WAY_MS)))
        queue = parts.Queue(directory / "shanghai")
        self.full.pour(queue)
        queue.relay(near.url(link.port))
        began = time.monotonic()
        done = queue.flush()
        seconds = time.monotonic() - began
        assert queue.states() == {"sent": MESSAGES}, done.log[-2000:]
        assert len(ses.messages) == MESSAGES
        carried = link.stop()
        return seconds, carried["connections"], carried["up"], carried["down"]


@contextlib.contextmanager
def closing(part):
    try:
        yield part
    finally:
        part.program.close()


def bench_road(directory, runs):
    certificate = parts.Certificate(directory)
    full = filled.Filled(directory / "full", MESSAGES)
    systems = [Cenmail(directory, full, certificate)]
    rows = []
    for system in systems:
        results = []
        for number in range(runs):
            with contextlib.ExitStack() as stack:
                results.append(system.run(number, stack))
        seconds = [r[0] for r in results]
        middle = statistics.median(seconds)
        connections, up, down = (int(statistics.median(r[i] for r in results)) for i in (1, 2, 3))
        rows.append([system.name, f"{middle:.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}",
                     f"{MESSAGES / middle:.0f}", connections, f"{up / MESSAGES:.0f}",
                     f"{down / MESSAGES:.0f}"])
    table(f"{MESSAGES} messages of {OCTETS} octets over a link of {2 * ONE_WAY_MS} ms round trip, "
          f"SES at 0 ms, median of {runs}",
          ["", "seconds", "all runs", "messages/s", "connections", "octets up each", "down each"],
          rows)


# --- one call of sendmail ---

def timed(argv, stdin, env, times):
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(argv, input=stdin, env=env, check=True, stderr=subprocess.DEVNULL)
        yield time.perf_counter() - began


def at_once(argv, stdin, env, callers, each):
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        work = [pool.submit(lambda: list(timed(argv, stdin, env, each))) for _ in range(callers)]
        return [t for done in work for t in done.result()]


def ms(times):
    times = sorted(times)
    return [f"{statistics.median(times) * 1000:.1f}", f"{times[len(times) * 99 // 100] * 1000:.1f}",
            f"{times[-1] * 1000:.1f}"]


def bench_sendmail(directory, runs):
    queue = parts.Queue(directory / "calls")
    message = corpus.plain(1, OCTETS)
    what = [("/bin/true (the floor)", ["/bin/true"]),
            ("sendmail -t -i", [str(build_dir() / "sendmail"), "-t", "-i"])]
    rows = []
    for callers, each in ((1, 100), (8, 25), (32, 8)):
        times = {name: [] for name, _ in what}
        for _ in range(runs):
            for name, argv in what:
                times[name] += at_once(argv, message, {**queue.env, "LC_ALL": "C"}, callers, each)
        for name, _ in what:
            rows.append([f"{name}, {callers} at once", len(times[name]), *ms(times[name])])
    queue.whole()
    table(f"one call with a message of {OCTETS} octets, milliseconds as its caller sees them",
          ["", "calls", "median", "p99", "worst"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run of each, for a look")
    parser.add_argument("what", nargs="?", choices=["road", "sendmail"], help="both without it")
    given = parser.parse_args()
    runs = 1 if given.quick else 5
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
          f"{build_dir()}")
    with tempfile.TemporaryDirectory(prefix="cenmail-bench-") as directory:
        if given.what in (None, "road"):
            bench_road(pathlib.Path(directory), runs)
        if given.what in (None, "sendmail"):
            bench_sendmail(pathlib.Path(directory), runs)


if __name__ == "__main__":
    main()
