"""The fuzz targets, briefly: the whole committed corpus, then a second or two of new inputs from a
seed that is printed. `make fuzz` runs as long as it is told."""

import os
import pathlib
import random
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import fuzz  # noqa: E402

SECONDS = 60 if os.environ.get("CENMAIL_SOAK") else 1

pytestmark = pytest.mark.skipif(bool(os.environ.get("CENMAIL_SAN")),
                                reason="has its own sanitizers: it runs in `make test`")


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_corpus_and_a_short_run(name, tmp_path):
    fuzz.unpack(name, tmp_path / "corpus")
    inputs = len(fuzz.records(name))
    seed = random.randrange(1, 1 << 31)
    run = fuzz.Run(name, tmp_path / "corpus", max_total_time=SECONDS, seed=seed)
    print(f"{name}: seed {seed}, {inputs} inputs of the corpus, {run.executions} executions")
    assert run.good, f"{run.log[-4000:]}\ninput: {fuzz.escape(run.finding or b'')}"
    assert inputs >= 20 and run.executions >= inputs


def test_time_is_linear():
    """1 MiB and 2 MiB of each pattern, counted in steps; with a quadratic one as control (see
    steps.c)."""
    done = subprocess.run([fuzz.BUILD / "steps"], capture_output=True, text=True, timeout=300)
    print(done.stdout)
    assert done.returncode == 0 and "OUT OF PROPORTION" not in done.stdout, done.stdout
    assert "quadratic" in done.stdout


@pytest.mark.parametrize("data", [b"", bytes(range(256)), b"a\\n\\x00\n", "东京\u2028".encode()])
def test_escaping_is_exact(data):
    line = fuzz.escape(data)
    assert len(line.splitlines()) <= 1 and line.isascii()
    assert fuzz.unescape(line) == data
