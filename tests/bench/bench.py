"""`make bench`: what the hop, the chain and one call of sendmail cost. Numbers are reported, not asserted:
what must hold is in the tests. Run it alone; the drift of a busy machine is larger than most
differences, so every figure is a median of runs that are interleaved with the floor's.

    bench.py [--quick] [hop|chain|sendmail|scale|pruning]        all of it, unless one is named
"""

import argparse
import os
import pathlib
import platform
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import calls  # noqa: E402
import chain  # noqa: E402
import hop  # noqa: E402
import pruning  # noqa: E402
import scale  # noqa: E402
from harness import build_dir  # noqa: E402


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


def made(directory, name):
    path = pathlib.Path(directory) / name
    path.mkdir()
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run of each, for a look")
    parser.add_argument("what", nargs="?", choices=["hop", "chain", "sendmail", "scale", "pruning"],
                        help="all without it")
    given = parser.parse_args()
    runs = 1 if given.quick else 5
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
          f"{build_dir()}")
    with tempfile.TemporaryDirectory(prefix="cenmail-bench-") as directory:
        if given.what in (None, "hop"):
            hop.bench_hop(made(directory, "hop"), runs, table)
        if given.what in (None, "chain"):
            chain.bench_chain(made(directory, "chain"), runs, table)
        if given.what in (None, "sendmail"):
            calls.bench_sendmail(made(directory, "sendmail"), runs, table)
        if given.what in (None, "scale"):
            scale.bench_scale(made(directory, "scale"), runs, table)
        if given.what in (None, "pruning"):
            pruning.bench_pruning(made(directory, "pruning"), runs, table)


if __name__ == "__main__":
    main()
