"""What every end-to-end test stands on: processes that are started with a deadline, whose output
is kept, and that are ended by their own pid; and waiting for a condition, never for luck."""

import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Seconds; generous, as sanitizers and busy machines are slow. A long soak wants more of it.
DEADLINE = float(os.environ.get("CENMAIL_DEADLINE", 30))


def build_dir():
    build = pathlib.Path(os.environ.get("CENMAIL_BUILD", "build"))
    return build if build.is_absolute() else ROOT / build


def not_here(why):
    """Skips a test that this machine can't run. Where it has to run (CENMAIL_MUST_RUN, which CI
    sets) that is a failure: nobody reads what CI skipped."""
    if os.environ.get("CENMAIL_MUST_RUN"):
        pytest.fail(why)
    pytest.skip(why)


def wait_for(condition, deadline=DEADLINE, what="the condition"):
    """Calls condition until its result is true, and returns that result."""
    end = time.monotonic() + deadline
    pause = 0.002
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {deadline:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class Program:
    """A process that runs until it is stopped. Its output is kept in memory, line by line."""

    def __init__(self, name, argv, env=None, cwd=None, pass_fds=()):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.lines = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env, cwd=cwd, pass_fds=pass_fds, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return "\n".join(self.lines)

    def line(self, match, deadline=DEADLINE, since=0):
        """The first line from number `since` on for which match(line) is true; its result."""
        end = time.monotonic() + deadline
        with self._changed:
            at = since
            while True:
                while at < len(self.lines):
                    result = match(self.lines[at])
                    if result:
                        return result
                    at += 1
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "it ended" if self._ended else f"{deadline:g} s passed"
                    raise AssertionError(f"{self.name}: {why} without the awaited line:\n{self.log}")
                self._changed.wait(left)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and waits until it is gone."""
        self.process.kill()
        return self.wait()

    def wait(self, deadline=DEADLINE):
        code = self.process.wait(deadline)
        self._reader.join(deadline)
        return code

    def stop(self, deadline=DEADLINE):
        """SIGTERM; its exit code. A program that does not heed it is killed, and that is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {deadline:g} s of SIGTERM:\n"
                                 f"{self.log}") from None

    def close(self):
        """The end of a test: no matter how."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait()


def run(argv, stdin=b"", deadline=60, env=None, **more):
    """Runs a program to its end: a CompletedProcess, output as bytes."""
    return subprocess.run([str(a) for a in argv], input=stdin, capture_output=True,
                          timeout=deadline, env=env, check=False, **more)
