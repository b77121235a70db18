#!/usr/bin/python3
"""Fuzzing with libFuzzer. Each tests/fuzz/fuzz_NAME.c is a target, corpus/NAME.txt its corpus: one
input a line, escaped as Python escapes octets, so that a corpus is read and compared like source.

    make fuzz FUZZ_SECONDS=600            every target, one after the other
    tests/fuzz/fuzz.py --seconds 600 --keep intake address

What is new is kept in build/fuzz/corpus/NAME; --keep minimises it into corpus/NAME.txt. A finding
is shown as such a line: add it to the corpus, where every `make test` replays it."""

import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("CENMAIL_BUILD", HERE.parents[1] / "build")).resolve() / "fuzz"
TARGETS = sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.c"))
MAX_LEN = {"options": 512, "address": 320, "list": 1024, "aliases": 1024}  # else 4096
KEPT = 150  # inputs of the fuzzer's that are committed, the shortest


def escape(data):
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescape(line):
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


def corpus_file(name):
    return HERE / "corpus" / f"{name}.txt"


def records(name):
    return [unescape(line) for line in corpus_file(name).read_text("ascii").splitlines()]


def unpack(name, directory):
    """The corpus as libFuzzer wants it: a file for each input."""
    directory.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(records(name)):
        (directory / f"{i:04d}").write_bytes(data)


class Run:
    """One run of a target's binary on directories of inputs; the first gets what is new."""

    def __init__(self, name, *directories, **flags):
        with tempfile.TemporaryDirectory() as crashes:
            argv = [BUILD / f"fuzz_{name}", *directories, f"-artifact_prefix={crashes}/",
                    f"-max_len={MAX_LEN.get(name, 4096)}", "-timeout=10", "-rss_limit_mb=1024",
                    *(f"-{flag}={value}" for flag, value in flags.items())]
            done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, errors="replace")
            self.log = done.stderr
            self.finding = next((p.read_bytes() for p in pathlib.Path(crashes).iterdir()), None)
        self.good = done.returncode == 0 and self.finding is None
        found = re.search(r"^Done (\d+) runs", self.log, re.M)
        self.executions = int(found[1]) if found else 0


def minimise(name, kept):
    """Of the fewest inputs that reach what all of kept reaches, the shortest, into the committed
    corpus, beside what is there."""
    with tempfile.TemporaryDirectory() as directory:
        run = Run(name, directory, kept, merge=1)
        assert run.good, run.log
        found = {p.read_bytes() for p in pathlib.Path(directory).iterdir()}
    by_hand = set(records(name)) if corpus_file(name).exists() else set()
    found = sorted(found - by_hand, key=len)[:max(0, KEPT - len(by_hand))]
    lines = sorted(escape(d) for d in by_hand.union(found))
    corpus_file(name).write_text("".join(line + "\n" for line in lines), "ascii")
    return len(lines)


def main():
    parser = argparse.ArgumentParser(description="fuzzes each target; exits 1 at a finding")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--keep", action="store_true", help="minimise into tests/fuzz/corpus")
    parser.add_argument("target", nargs="*", default=TARGETS)
    args = parser.parse_args()
    bad = 0
    for name in args.target:
        kept = BUILD / "corpus" / name
        unpack(name, kept)
        seed = random.randrange(1, 1 << 31)
        print(f"{name}: seed {seed}, {args.seconds} s", flush=True)
        run = Run(name, kept, max_total_time=args.seconds, seed=seed)
        print(f"{name}: {run.executions} executions, "
              f"{'nothing found' if run.good else 'A FINDING'}", flush=True)
        if not run.good:
            bad += 1
            print(run.log[-6000:])
            print(f"{name}: add to the corpus:\n{escape(run.finding or b'')}")
        elif args.keep:
            print(f"{name}: {minimise(name, kept)} inputs kept")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
