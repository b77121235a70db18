"""The source tree as the lint tests see it: which files there are, and what is in them."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("CENMAIL_BUILD", "build")
PROGRAMS = ("sendmail", "cenmail-flush", "cenmail-listen")

STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*.*?\*/|//[^\n]*', re.S)


def tracked():
    """Every file of the project: what git knows; without git, what is not built or hidden."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"],
                         cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        names = git.stdout.split("\n")
        return [ROOT / n for n in names if n and (ROOT / n).is_file()]
    return [p for p in ROOT.rglob("*") if p.is_file()
            and not {"build", ".git", "__pycache__", ".pytest_cache"} & set(p.relative_to(ROOT).parts)]


def sources(*patterns):
    found = sorted(p for pattern in patterns for p in ROOT.glob(pattern))
    assert found, f"nothing matches {patterns}"
    return found


def code():
    return sources("sendmail/*.[ch]", "queue/*/*.[ch]")


def name(path):
    return str(path.relative_to(ROOT))


def without_comments(text):
    """C without its comments, line numbers kept."""
    def blank(m):
        return m[0] if m[0][0] == '"' else re.sub(r"[^\n]", " ", m[0])
    return COMMENT.sub(blank, text)


def strings(text):
    """The C string literals of a text, neighbours joined, each with its line."""
    text = without_comments(text)
    found, joined, start, end = [], "", 0, None
    for m in STRING.finditer(text):
        if end is not None and text[end:m.start()].strip() == "":
            joined += m[1]
        else:
            if joined:
                found.append((text.count("\n", 0, start) + 1, joined))
            joined, start = m[1], m.start()
        end = m.end()
    if joined:
        found.append((text.count("\n", 0, start) + 1, joined))
    return found


def make_env():
    """For a make of our own: not the job server of the one that started the tests."""
    return {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
