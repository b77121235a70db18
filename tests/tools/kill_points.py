"""kill -9 at each write, sync and change of a name that a program makes, by strace. It counts the
calls of each kind by themselves: so a point is (call, which of that kind), as recorded before."""

import os
import random
import re

from harness import run

CALLS = ("write,pwrite64,writev,sendto,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,"
         "linkat,unlink,unlinkat,mknod,mknodat,mkdir,mkdirat")
SOAK = "CENMAIL_SOAK" in os.environ
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
ENV = {"ASAN_OPTIONS": "detect_leaks=0"}  # its leak check can't be traced


def points_of(trace):
    """What strace recorded, as points."""
    counts, points = {}, []
    for name in re.findall(r"^(?:\d+ +)?(\w+)\(", trace.read_text(errors="replace"), re.M):
        counts[name] = counts.get(name, 0) + 1
        points.append((name, counts[name]))
    return points


def record(argv, output, stdin=b"", env=None, calls=CALLS):
    """All points of a run that is let go to its end; and that run."""
    done = run(["strace", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "-o", output, *argv],
               stdin, env={**(env or os.environ), **ENV})
    return points_of(output), done


def sample(points, count, what):
    """Some of them, or in a soak all; says how many."""
    tried = points if SOAK else random.Random(SEED).sample(points, min(count, len(points)))
    print(f"{what}: seed {SEED}: {len(tried)} points tried of {len(points)}")
    return tried


def at(point):
    """For strace: the kill."""
    name, which = point
    return ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={which}"]


def killed(argv, point, stdin=b"", env=None):
    """The same, killed as it enters that call."""
    return run(["strace", "-qq", *at(point), "-o", "/dev/null", *argv], stdin,
               env={**(env or os.environ), **ENV})
