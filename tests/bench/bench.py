"""`make bench`: what the road and one call of sendmail cost. Numbers are reported, not asserted:
what must hold is in the tests. Run it alone; the drift of a busy machine is larger than most
differences, so every figure is a median of runs that are interleaved with the floor's.

    bench.py [--quick] [road|sendmail|scale]        all of it, unless one is named
"""

import argparse
import contextlib
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import calls  # noqa: E402
import filled  # noqa: E402
import parts  # noqa: E402
import scale  # noqa: E402
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


class Cenmail:
    """Our own programs. A peer will be a class with the same calls."""

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run of each, for a look")
    parser.add_argument("what", nargs="?", choices=["road", "sendmail", "scale"], help="all without it")
    given = parser.parse_args()
    runs = 1 if given.quick else 5
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
          f"{build_dir()}")
    with tempfile.TemporaryDirectory(prefix="cenmail-bench-") as directory:
        if given.what in (None, "road"):
            bench_road(pathlib.Path(directory), runs)
        if given.what in (None, "sendmail"):
            calls.bench_sendmail(pathlib.Path(directory), runs, table)
        if given.what in (None, "scale"):
            scale.bench_scale(pathlib.Path(directory), runs, table)


if __name__ == "__main__":
    main()
