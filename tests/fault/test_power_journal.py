"""F4: Tokyo's power goes, at any operation on the disk. A day of the listener is recorded
(power_journal) and legal disks are rebuilt from it: what it had answered it answers again and sends
nothing, and what SES may have without an answer is in doubt, and counted."""

import os
import random
import shutil
import sqlite3

import power_disk
import power_journal
import power_trace
import pytest
from harness import build_dir, run
from parts import Ses
from power_judge import SEED, SOAK, Replay, brief, choose, judge, lost_only, no_sync, says

COUNT = 300 if SOAK else 120
KEPT, TORN = 60, 250
RECOVERIES = 200 if SOAK else 5


class Day:
    def __init__(self, directory, far, build=None):
        far.faults("dot 3 554 Transaction failed", "dot 9 close-before-reply")
        env = {**os.environ, "CENMAIL_BUILD": str(build or build_dir()),
               "ASAN_OPTIONS": "detect_leaks=0"}
        before = len(far.messages)
        done = run([*power_trace.recorder(directory / "trace"), "/usr/bin/python3",
                    power_journal.__file__, directory / "tokyo", far.url, COUNT], env=env,
                   deadline=300)
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        self.root = directory / "tokyo" / "journal"
        self.trace = power_trace.Trace(directory / "trace", self.root)
        self.facts = power_journal.read(self.trace, {m["id"]: m["recipients"][0]
                                                     for m in far.messages[before:]})

    def replay(self, skip=lambda op: False):
        return Replay(self.trace, self.facts, skip)

    def wrong(self, points, directory, skip=lambda op: False):
        return judge(self.replay(skip), self.root, points, power_journal.complaints, directory)


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    one = Ses(tmp_path_factory.mktemp("ses"), None, tls="none", user=None)
    yield one
    one.program.close()


@pytest.fixture(scope="module")
def day(tmp_path_factory, far):
    return Day(tmp_path_factory.mktemp("day"), far)


def about(facts, what):
    return {fact.about for fact in facts if fact.what == what}


def test_f4_the_journal_outlives_the_power(day, tmp_path):
    assert len(about(day.facts, "answered")) == len(about(day.facts, "given")) == COUNT
    assert 2 <= len(given_twice(day)) <= COUNT // 4
    wrong = day.wrong(choose(day.replay(), random.Random(SEED), KEPT, TORN, SOAK), tmp_path / "found")
    assert not wrong, brief(wrong)


def bring_all_again(state, directory, far):
    """A listener on what is found, to which all is brought again: {recipient: SES's id}, the
    recipients that SES now got, and those counted in doubt."""
    listener = power_journal.near(directory, far.url)
    power_disk.write_state(state, directory / "journal")
    before = len(far.messages)
    listener.start()
    answers = power_journal.talk_all(listener.port, list(range(COUNT)))
    assert listener.stop() == 0
    assert {code for code, _ in answers.values()} == {250} and len(answers) == COUNT
    with sqlite3.connect(directory / "journal" / "journal.db") as db:
        doubted = {row[0] for row in db.execute("select recipient from in_doubt where doubts>0")}
    return ({power_journal.address(serial): power_journal.TAKEN.match(f"250 {text}").group(1)
             for serial, (_, text) in answers.items()},
            [m["recipients"][0] for m in far.messages[before:]], doubted)


def test_f4_nothing_is_doubled_but_what_is_counted(day, far, tmp_path):
    """The listener itself on a sample of disks."""
    far.faults()
    replay, rng = day.replay(), random.Random(SEED)
    cuts = replay.sample(rng, RECOVERIES, "offered")
    print(f"seed {SEED}: {len(cuts)} restarts at {len(replay.ops) + 1} cuts")
    disk = power_disk.Disk(day.root)
    for cut in replay.run(disk, cuts):
        known, how = replay.known(cut), rng.choice(("lost", "torn", "kept"))
        ids, sent, doubted = bring_all_again(disk.after(how, rng), tmp_path / "tokyo", far)
        answered = {fact.about: fact.detail for fact in known if fact.what == "answered"}
        assert all(ids[to] == ident for to, ident in answered.items()), (cut, how)
        assert len(set(sent)) == len(sent) and not set(sent) & set(answered), (cut, how)
        again = set(sent) & about(known, "given")
        assert again - doubted <= given_twice(day), (cut, how, again - doubted)
        shutil.rmtree(tmp_path / "tokyo")


def given_twice(day):
    """SES had refused them, and so they may be sent anew; or was silent, and they were counted."""
    given = [fact.about for fact in day.facts if fact.what == "given"]
    return {to for to in given if given.count(to) > 1}


@pytest.mark.parametrize("skip, words", [
    (no_sync("journal.db-wal"), "is None"), (no_sync("journal.db"), "the journal's id was"),
    (no_sync("journal"), "the journal's id was")], ids=["the WAL", "the database", "the directory"])
def test_f4_the_check_can_fail_without_a_sync(day, tmp_path, skip, words):
    wrong = day.wrong(lost_only(day.replay(skip)), tmp_path / "found", skip)
    assert says(wrong, words), brief(wrong)


def test_f4_the_check_can_fail_with_synchronous_off(far, tmp_path):
    """A listener that differs from ours in one word."""
    build = tmp_path / "build"
    build.mkdir()
    program = (build_dir() / "cenmail-listen").read_bytes()
    assert program.count(b"PRAGMA synchronous=FULL\0") == 1
    (build / "cenmail-listen").write_bytes(
        program.replace(b"synchronous=FULL\0", b"synchronous=OFF\0\0"))
    (build / "cenmail-listen").chmod(0o755)
    off = Day(tmp_path, far, build)
    wrong = off.wrong(lost_only(off.replay()), tmp_path / "found")
    assert says(wrong, "was answered and is") and says(wrong, "nothing is known of it")
