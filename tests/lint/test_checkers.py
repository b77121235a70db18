"""The checks of `make lint`, each by its own target."""

import shutil
import subprocess

import pytest

import tree


@pytest.mark.parametrize("target, tool", [
    ("lint-format", "clang-format"), ("lint-man", "mandoc"), ("lint-shell", "shellcheck"),
    ("lint-clang", "clang"),
    ("lint-cppcheck", "cppcheck"), ("lint-tidy", "clang-tidy")])
def test_clean(target, tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed; ./install.sh check installs it")
    run = subprocess.run(["make", "-s", "-k", "-j2", f"BUILD={tree.BUILD.relative_to(tree.ROOT)}",
                          target], cwd=tree.ROOT, env=tree.make_env(), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("script", ["install.sh", ".ci/run", "queue/store/cenmail-sql"])
def test_shell_scripts_parse(script):
    for shell in "sh", "bash":
        run = subprocess.run([shell, "-n", tree.ROOT / script], capture_output=True, text=True)
        assert run.returncode == 0 and run.stderr == "", run.stderr
