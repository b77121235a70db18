"""C2 and C3: the power goes, at any operation on the disk, and again during the recovery. A history
of real programs is recorded (power_history), and legal disks are rebuilt from it (power_disk): what
had been acknowledged is there, whole; what had not is there whole, or not at all.

Most states are judged by SQLite alone, in this process; of some the real programs make a queue
again, and that recovery is recorded and cut in its turn. CENMAIL_SEED repeats a run."""

import os
import pathlib
import random
import shutil

import power_disk
import power_facts
import power_history
import power_trace
import pytest
from harness import build_dir, run
from parts import Ses
from power_judge import SEED, SOAK, Replay, brief, choose, judge, lost_only, no_sync, says

SIZES, LARGE = ["100000", "300000"], ["2500000"]
KEPT, TORN = 150, 700
KEPT_LARGE, TORN_LARGE = 500, 1500  # each state of it is written whole: some 40 ms
RECOVERIES, CUTS_EACH = (150, 40) if SOAK else (6, 20)


class History:
    """What power_history did in a directory of its own, in which `state` was found."""

    def __init__(self, what, directory, relay, build=None, state=(), sizes=()):
        sizes = sizes or SIZES
        self.mails = power_history.mails([int(size) for size in sizes])
        env = {**os.environ, "CENMAIL_BUILD": str(build or build_dir()),
               "ASAN_OPTIONS": "detect_leaks=0"}
        trace, shanghai = directory / "trace", directory / "shanghai"
        done = run([*power_trace.recorder(trace), "/usr/bin/python3", power_history.__file__, what,
                    shanghai, relay, *sizes], env=env, deadline=300)
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        self.spool = shanghai / "spool"
        self.trace = power_trace.Trace(trace, self.spool, state)
        self.facts = power_facts.read(shanghai / "facts", self.trace)
        trace.unlink()

    def replay(self, skip=lambda op: False):
        return Replay(self.trace, self.facts, skip)

    def wrong(self, points, directory, skip=lambda op: False):
        return judge(self.replay(skip), self.spool, points, self.complaints, directory)

    def complaints(self, directory, facts):
        return power_facts.complaints(directory, facts, self.mails)


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """SES, in the clear. It puts the first message off."""
    one = Ses(tmp_path_factory.mktemp("ses"), None, tls="none", user=None)
    yield one
    one.program.close()


def record(directory, far, build=None, sizes=()):
    far.faults("mail 1 451 4.3.0 not now")
    return History("day", directory, far.url, build, sizes=sizes)


@pytest.fixture(scope="module")
def day(tmp_path_factory, far):
    return record(tmp_path_factory.mktemp("day"), far)


def test_c2_what_was_acknowledged_outlives_the_power(day, tmp_path):
    """At each sync and each acknowledgement with all that was not synced lost; and at a sample of
    all operations with all of it kept, or parts of it, torn."""
    counts = {what: sum(fact.what == what for fact in day.facts)
              for what in ("init", "accepted", "changed", "sent", "deferred")}
    assert counts["accepted"] >= 25 and counts["sent"] >= 30, counts
    assert counts["init"] == counts["changed"] == 1 and counts["deferred"] >= 1, counts
    points = choose(day.replay(), random.Random(SEED), KEPT, TORN, SOAK)
    wrong = day.wrong(points, tmp_path / "found")
    assert not wrong, brief(wrong)


@pytest.mark.skipif(not SOAK, reason="some minutes: make soak")
def test_c2_a_large_message(far, tmp_path):
    """The same, with one of 2.5 MB, whose WAL is far past its bound: a sample of it, in a soak too."""
    large = record(tmp_path, far, sizes=LARGE)
    points = choose(large.replay(), random.Random(SEED), KEPT_LARGE, TORN_LARGE)
    wrong = large.wrong(points, tmp_path / "found")
    assert not wrong, brief(wrong)


# --- the recovery, by the programs themselves ---


def recover(state, known, directory, far):
    """The programs start on what is found. What must be there when they have ended is there, and
    SES has got what it should have."""
    spool = directory / "shanghai" / "spool"
    spool.mkdir(mode=0o700, parents=True)
    power_disk.write_state(state, spool)
    before = len(far.messages)
    inited = any(fact.what == "init" for fact in known)
    again = History("recover" if inited else "begin", directory, far.url, state=state)
    assert not (found := again.complaints(spool, known + again.facts)), found
    spool_now = power_facts.Spool(spool, again.mails)
    assert not spool_now.kept and set(spool_now.there.values()) <= {"sent", "held"}, spool_now.there
    arrived = {address for message in far.messages[before:] for address in message["recipients"]}
    sent_now = {fact.about for fact in again.facts if fact.what == "sent"}
    assert arrived == sent_now
    for message in far.messages[before:]:
        mail = spool_now.by_address[message["recipients"][0]]
        assert power_facts.corpus.below_received(far.content(message)) == mail.expected
    return again


def test_c3_the_power_goes_again_during_the_recovery(day, far, tmp_path):
    """The real programs recover, and all that was acknowledged before either cut is there after the
    second."""
    far.faults()
    replay, rng = day.replay(), random.Random(SEED)
    cuts = replay.sample(rng, RECOVERIES, "init")
    disk, tried, there_are = power_disk.Disk(day.spool), 0, 0
    for cut in replay.run(disk, cuts):
        state, known = disk.after(rng.choice(("lost", "torn", "kept")), rng), replay.known(cut)
        directory = tmp_path / str(cut)
        again = recover(state, known, directory, far)
        second = Replay(again.trace, again.facts)
        chosen = rng.sample(range(len(second.ops) + 1), min(CUTS_EACH, len(second.ops) + 1))
        wrong = {}
        twice = power_disk.disk_of(again.spool, state)
        for cut_again in second.run(twice, chosen):
            found = tmp_path / "found"
            power_disk.write_state(twice.after(rng.choice(("lost", "torn")), rng), found)
            why = day.complaints(found, known + second.known(cut_again))
            if why:
                wrong[cut_again, f"after {cut}"] = why
        assert not wrong, brief(wrong)
        tried, there_are = tried + len(chosen), there_are + len(second.ops) + 1
        shutil.rmtree(directory)
    print(f"seed {SEED}: {len(cuts)} recoveries at {len(replay.ops) + 1} cuts; of these, {tried} "
          f"points tried of {there_are}")


# --- the checks can fail ---


@pytest.mark.parametrize("skip, words", [
    (no_sync("queue.db-wal"), "is lost"), (no_sync("queue.db"), "is lost"),
    (no_sync("incoming"), "is lost"), (no_sync(".tmp"), "is not whole"),
    (no_sync("spool"), "not there after --init")],
    ids=["the WAL", "the database", "incoming", "a file in incoming", "the directory"])
def test_the_check_can_fail_without_a_sync(day, tmp_path, skip, words):
    """The same trace, as if one kind of sync had been forgotten: that is found."""
    wrong = day.wrong(lost_only(day.replay(skip)), tmp_path / "found", skip)
    assert says(wrong, words), brief(wrong)


def test_the_check_can_fail_with_synchronous_off(far, tmp_path):
    """Programs that differ from ours in one word: synchronous=OFF."""
    build = tmp_path / "build"
    shutil.copytree(build_dir() / "tools", build / "tools")
    for name in ("sendmail", "cenmail-flush"):
        program = (build_dir() / name).read_bytes()
        assert program.count(b"PRAGMA synchronous=FULL\0") == 1
        (build / name).write_bytes(program.replace(b"synchronous=FULL\0", b"synchronous=OFF\0\0"))
        (build / name).chmod(0o755)
    off = record(tmp_path, far, build)
    wrong = off.wrong(lost_only(off.replay()), tmp_path / "found")
    assert len(wrong) > 10 and says(wrong, "is lost"), brief(wrong)


def test_a_disk_that_keeps_all_is_what_the_programs_left(day, tmp_path):
    """Of the model itself: nothing that they wrote is missing in it."""
    disk = power_disk.Disk(day.spool)
    for op in day.trace.ops:
        disk.do(op)
    state = disk.after("kept", random.Random(SEED))
    there = {str(p.relative_to(day.spool)): None if p.is_dir() else p.read_bytes()
             for p in pathlib.Path(day.spool).rglob("*") if not p.name.endswith("-shm")}
    assert state == there
