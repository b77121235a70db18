"""Runs every unit test program that the build has made, each as one test."""

import os
import pathlib

import harness
import pytest

SOURCES = sorted(pathlib.Path(__file__).parent.glob("test_*.c"))


@pytest.mark.parametrize("name", [s.stem for s in SOURCES])
def test_unit(build, tmp_path, name):
    program = build / "unit" / name
    assert program.exists(), f"{program} is not built: make units"
    done = harness.run([program], deadline=120, cwd=harness.ROOT,
                       env={**os.environ, "TMPDIR": str(tmp_path)})
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{name}: exit {done.returncode}\n{output}"
    assert "[  PASSED  ]" in output, f"{name} says nothing of passed tests\n{output}"


def test_there_are_units():
    assert SOURCES
