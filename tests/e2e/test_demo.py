"""./install.sh demo, as README.md's first line has it: it shows the road, and it can fail."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(bool(os.environ.get("CENMAIL_SAN")),
                                reason="the demo builds and shows the plain programs")


def demo(script):
    """The script on standard input, so that a changed one can be run too."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(["sh", "-s", "demo"], cwd=ROOT, input=script, env=env, text=True,
                          capture_output=True, timeout=120)


def test_the_demo_shows_the_road():
    done = demo((ROOT / "install.sh").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("status=sent", "wang@example.net", "audit@example.net", "one SES id"):
        assert words in done.stdout, done.stdout


@pytest.mark.parametrize("was, becomes", [
    ("in mailq\" \"$(value 'select count(*) from mailq')\" 2", "in mailq\" \"$(value 'select count(*) from mailq')\" 3"),
    ('pin=sha256:$(pin "$dir/relay.crt")', 'pin=sha256:$(pin "$dir/ses.crt")'),
    ('\'demo:%s\\n\' "$relay_password" >', '\'demo:%s\\n\' "not it" >'),
    ("cmp \"$dir/got.hex\" \"$dir/stored.hex\"", "echo 0 >>\"$dir/got.hex\"; cmp \"$dir/got.hex\" \"$dir/stored.hex\""),
])
def test_the_demo_fails_when_something_is_not_as_it_says(was, becomes):
    script = (ROOT / "install.sh").read_text()
    assert script.count(was) == 1
    done = demo(script.replace(was, becomes))
    assert done.returncode == 1, done.stdout
    assert "install.sh: " in done.stderr
