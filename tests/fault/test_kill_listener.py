"""F3: the listener killed as it enters a system call, any of them: a sample here, all in `make soak`.
Nothing is lost: brought again, all of it is answered for. Nothing that was answered for is sent again,
and what SES gets twice had no answer and is counted in doubt."""

import collections
import contextlib
import os
import shutil
import sqlite3

import kill_points
import power_journal
import pytest
from harness import wait_for
from parts import Ses

COUNT = 8
EACH = 14
ENV = {**os.environ, **kill_points.ENV}


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    one = Ses(tmp_path_factory.mktemp("ses"), None, tls="none", user=None)
    yield one
    one.program.close()


class Life:
    """A listener's, from its start on an empty directory to its stop, under strace."""

    def __init__(self, directory, far, strace):
        shutil.rmtree(directory, ignore_errors=True)
        self.far, self.before = far, len(far.messages)
        self.near = power_journal.near(directory, far.url)
        far.faults("dot 3 454 Throttling failure: Maximum sending rate exceeded",
                   "dot 2 554 Transaction failed", "dot 2 close-before-reply")
        self.near.prefix = ["env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-qq", *strace]
        self.answers = {}
        with contextlib.suppress(TimeoutError, AssertionError):
            self.near.start()
            self.answers = power_journal.talk_all(self.near.port, list(range(COUNT)))
        self.killed = self.end()
        far.faults()

    def end(self):
        """Whether it had been killed."""
        with contextlib.suppress(ProcessLookupError, AssertionError):
            children = f"/proc/{self.near.program.pid}/task/{self.near.program.pid}/children"
            with contextlib.suppress(OSError), open(children, encoding="ascii") as found:
                for pid in found.read().split():
                    os.kill(int(pid), 15)
        return wait_for(lambda: self.near.program.process.poll() is not None or None, 60) and \
            self.near.program.process.returncode in (-9, 137)

    def arrived(self):
        return collections.Counter(m["recipients"][0] for m in self.far.messages[self.before:])

    def again(self):
        """Another one, and all is brought again: what it answers."""
        self.near.prefix = []
        self.near.start()
        answers = power_journal.talk_all(self.near.port, list(range(COUNT)))
        assert self.near.stop() == 0
        return answers

    def doubted(self):
        with sqlite3.connect(self.near.directory / "journal" / "journal.db") as db:
            return dict(db.execute("select recipient, doubts from in_doubt where doubts>0"))


def ids(answers):
    taken = {}
    for serial, (code, text) in answers.items():
        found = power_journal.TAKEN.match(f"{code} {text}")
        if found:
            taken[serial] = found.group(1)
    return taken


def test_f3_killed_at_a_system_call(far, tmp_path):
    trace = tmp_path / "trace"
    recorded = Life(tmp_path / "tokyo", far, ["-o", trace])
    assert not recorded.killed and len(ids(recorded.answers)) >= COUNT - 5
    points = highest(kill_points.points_of(trace))
    killed = doubled = 0
    for point in kill_points.sample(points, EACH, "a listener's life"):
        life = Life(tmp_path / "tokyo", far, [*kill_points.at(point), "-o", "/dev/null"])
        first, sent = ids(life.answers), life.arrived()
        second = life.again()
        assert len(ids(second)) == COUNT, (point, second)
        assert first.items() <= ids(second).items(), (point, first, second)
        doubted, both = life.doubted(), life.arrived()
        killed += life.killed
        doubled += sum(both.values()) - len(both)
        assert set(both) == {power_journal.address(serial) for serial in range(COUNT)}, point
        for to, times in both.items():
            assert times - 1 <= doubted.get(to, 0), (point, to, times, sent, doubted)
    print(f"{killed} were killed, {doubled} came twice")
    assert killed >= EACH // 3


def highest(points):
    """strace counts each thread's calls by themselves: no thread makes all of them. So the highest
    numbers may never come, and a run without a kill tries nothing: a point counts to a third."""
    most = collections.Counter(name for name, _ in points)
    return [(name, n) for name, n in points if n <= max(1, most[name] // 3)]
