"""Which disks are rebuilt from a trace, and what is wrong with them. A point is a cut and how the
disk is found: what was not synced is lost, kept, or torn (power_disk)."""

import os
import random

import power_disk

SOAK = "CENMAIL_SOAK" in os.environ
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
TORN_EACH = 5  # in a soak: states at each cut; otherwise a sample


class Replay:
    """A trace with what had been acknowledged. A cut is a number of operations after which the
    power goes. skip: operations that are left out, for controls."""

    def __init__(self, trace, facts, skip=lambda op: False):
        self.ops = [op for op in trace.ops if not skip(op)]
        self.facts = facts
        self.keys = [op.done if op.kind == "sync" else op.at for op in self.ops] + [float("inf")]

    def known(self, cut):
        """What had been acknowledged before the operation that is not done any more begins."""
        return [fact for fact in self.facts if fact.at < self.keys[cut]]

    def settled_cuts(self):
        """Those before which something was synced or acknowledged: what is there at least changes
        at no other."""
        found, known = [], -1
        for cut in range(len(self.ops) + 1):
            if len(self.known(cut)) != known or cut and self.ops[cut - 1].kind == "sync":
                found.append(cut)
            known = len(self.known(cut))
        return found

    def sample(self, rng, count, first):
        """So many cuts, a third of them before the first fact of that name: while all is made."""
        made = next(at for at in range(len(self.ops) + 1)
                    if any(fact.what == first for fact in self.known(at)))
        early = rng.sample(range(made), min(made, count // 3))
        return sorted({*early, *rng.sample(range(len(self.ops) + 1), count - len(early))})

    def run(self, disk, cuts):
        """Yields each of these cuts as the disk comes to it."""
        cuts = set(cuts)
        for cut in range(len(self.ops) + 1):
            if cut:
                disk.do(self.ops[cut - 1])
            if cut in cuts:
                yield cut


def choose(replay, rng, kept, torn, whole=False):
    """cut -> how the disk is found, each once: all at which what must be there changes; of what may
    be there, so many, or the whole of it."""
    points = {cut: ["lost"] for cut in replay.settled_cuts()}
    cuts = range(len(replay.ops) + 1)
    there_are = len(points) + len(cuts) * (1 + TORN_EACH)
    for how, count, each in (("kept", kept, 1), ("torn", torn, TORN_EACH)):
        for cut in cuts if whole else rng.sample(cuts, min(count, len(cuts))):
            points.setdefault(cut, []).extend([how] * (each if whole else 1))
    print(f"seed {SEED}: {sum(map(len, points.values()))} points tried of {there_are}, at "
          f"{len(points)} of {len(cuts)} cuts")
    return points


def lost_only(replay):
    return {cut: ["lost"] for cut in replay.settled_cuts()}


def judge(replay, root, points, complaints, directory):
    """Rebuilds each of these points in a directory. What is wrong: {(cut, how): complaints}."""
    wrong, rng, disk = {}, random.Random(SEED), power_disk.Disk(root)
    for cut in replay.run(disk, points):
        for how in points[cut]:
            power_disk.write_state(disk.after(how, rng), directory)
            if rng.random() < 0.5:  # an index over a WAL: whatever it says, it is made anew
                for database in directory.glob("*.db"):
                    database.with_name(database.name + "-shm").write_bytes(rng.randbytes(32768))
            found = complaints(directory, replay.known(cut))
            if found:
                wrong[cut, how] = found
    return wrong


def brief(wrong):
    return "\n".join(f"cut {cut}, {how}: {', '.join(found[:3])}"
                     for (cut, how), found in list(wrong.items())[:10])


def says(wrong, words):
    return any(words in why for found in wrong.values() for why in found)


def no_sync(end):
    """Which syncs are left out: those of files and directories whose path ends so."""
    return lambda op: op.kind == "sync" and (op.path + "/").endswith(end + "/")
