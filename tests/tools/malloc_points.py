"""Programs whose Nth allocation fails: build/fault/fail-malloc.so, and the sendmail that loads it."""

import os
import pathlib
import random
import struct

import pytest
from harness import build_dir, run

SOAK = "CENMAIL_SOAK" in os.environ
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))


class Memory:
    """Runs of one program, each short of memory at another place."""

    def __init__(self, env, directory):
        if os.environ.get("CENMAIL_SAN"):
            pytest.skip("a sanitizer has an allocator of its own")
        self.count = pathlib.Path(directory) / "allocations"
        self.env = {**env, "LD_PRELOAD": str(build_dir() / "fault/fail-malloc.so"),
                    "FAIL_MALLOC_COUNT": str(self.count)}

    def lacking(self, at, lasting=False):
        """The environment of a run. at: the allocation that fails, 0: none does."""
        self.count.write_bytes(bytes(8))
        return {**self.env, "FAIL_MALLOC": f"{at}{'+' if lasting else ''}"}

    def run(self, argv, stdin=b"", at=0, lasting=False):
        """How it ended."""
        return run(argv, stdin, env=self.lacking(at, lasting))

    @property
    def allocations(self):
        """Of the last run."""
        return struct.unpack("=Q", self.count.read_bytes())[0]

    def points(self, argv, stdin, some, what, soak=None):
        """(at, lasting), of every place where it can fail: some of them; in a soak all, or so many."""
        assert self.run(argv, stdin).returncode >= 0
        every = [(at, lasting) for at in range(1, self.allocations + 1) for lasting in (False, True)]
        assert len(every) > 20, "nothing is counted"
        some = (soak or len(every)) if SOAK else some
        tried = sorted(random.Random(SEED).sample(every, min(some, len(every))))
        print(f"{what}: seed {SEED}: {len(tried)} points tried of {len(every)}")
        return tried
