"""sendmail as it is installed, set-user-ID, in the hands of a hostile local user: CASES.md, A.

Every caller here is a second user; nothing is shown with root's own rights but what root does."""


import os
import re
import resource
import signal
import stat
import subprocess
import time

import pytest

import installed
from harness import wait_for
from installed import (ALICE, BOB, CENMAIL, CONFIG, FLUSH, MAILQ, NOINPUT, OK, OSERR, SENDMAIL, SPOOL,
                       TEMPFAIL, USAGE)

pytestmark = pytest.mark.skipif(installed.why_not() is not None, reason=str(installed.why_not()))

MAIL = b"Subject: x\n\nx\n"
LARGE = MAIL + b"0123456789abcdef" * 4 * 8192 + b"\n"  # 512 KiB: more than stays in memory
UNLIMITED = resource.RLIM_INFINITY


def accepted(host, done, messages=1):
    assert done.returncode == OK, done
    assert host.count() == messages


# --- the change of identity -------------------------------------------------------------------

# What may come before it: the loader's work, asking who it is, putting back what was inherited, the
# spool's owner. Nothing that reads what the caller has in hand.
BEFORE = {"execve", "brk", "access", "mmap", "munmap", "mprotect", "close", "arch_prctl", "rseq",
          "set_tid_address", "set_robust_list", "prlimit64", "getuid", "geteuid", "getgid", "getegid",
          "setresuid", "setresgid", "setgroups", "sched_setaffinity", "sched_setscheduler",
          "setpriority", "ioprio_set", "prctl", "setitimer", "rt_sigaction", "rt_sigprocmask", "umask",
          "getrandom", "fcntl", "openat", "read", "pread64", "newfstatat", "write", "readlink",
          "uname", "getresuid", "setuid"}
FILES_BEFORE = (r'"(/etc/ld\.so\.(cache|preload)|/etc/suid-debug|(/usr)?/lib[\w/.-]*|'
                r'/proc/self/oom_score_adj|/proc/self/exe|/dev/null|/var/spool/cenmail)?"')


def test_the_identity_changes_before_anything_of_the_callers_is_touched(host):
    done, calls = host.strace("-i", "-f", "x@example.com", "to@example.com")
    assert done.returncode == OK
    change = next(i for i, call in enumerate(calls)
                  if call[0] == "setresuid" and call[1] == ", ".join([str(CENMAIL)] * 3))
    for name, arguments, result in calls[:change]:
        assert name in BEFORE, f"{name}({arguments}) before the change of identity"
        if name in ("openat", "newfstatat", "access", "readlink"):
            assert re.search(FILES_BEFORE, arguments) or "AT_EMPTY_PATH" in arguments, arguments
        if name in ("read", "pread64"):
            assert not arguments.startswith("0,"), "standard input was read"
        if name == "write":
            assert arguments.endswith('"0", 1'), arguments
    # The caller's uid is left first of all: while it is his, he may lower the priority again.
    ids = [i for i, call in enumerate(calls) if call[:2] == ("setresuid", "0, 0, 0")]
    assert ids and ids[0] < min(i for i, call in enumerate(calls) if call[0] == "setpriority")
    groups = [i for i, call in enumerate(calls) if call[0] in ("setgroups", "setresgid")]
    assert len(groups) == 2 and max(groups) < change
    assert all(call[2] == "0" for call in (calls[i] for i in [*groups, *ids, change]))
    after = [call for call in calls[change + 1:] if call[0].startswith("setres")]
    assert not after, "the identity changed again"


def test_who_it_is_while_it_runs(host):
    def keep():
        os.open("/etc/passwd", os.O_RDONLY)  # a descriptor, 3 or more, for what comes after
    p = host.waiting(before=keep, close_fds=False, cwd="/srv")
    status = installed.status(p)
    assert status["Uid"].split() == status["Gid"].split() == [str(CENMAIL)] * 4
    assert status["Groups"].split() == []
    assert all(int(status[kind], 16) == 0 for kind in ("CapPrm", "CapEff", "CapAmb", "CapInh"))
    assert os.readlink(f"/proc/{p.pid}/cwd") == "/"
    names = {os.readlink(f"/proc/{p.pid}/fd/{n}") for n in os.listdir(f"/proc/{p.pid}/fd")}
    assert {n for n in names if n.startswith("/")} == {f"{SPOOL}/slots.lock"}
    limits = open(f"/proc/{p.pid}/limits", encoding="ascii").read()
    assert re.search(r"Max core file size +0 +0", limits)
    accepted(host, installed.finish(p))


def limit(name, value, hard=False):
    """To be done by the child: a limit that it may raise again, or (hard) may not."""
    def change():
        number = getattr(resource, "RLIMIT_" + name)
        resource.setrlimit(number, (value, value if hard else resource.getrlimit(number)[1]))
    return change


def test_priority_and_limits_are_put_back(host):
    """Whoever holds the lock must not be slowed down by whom it is for."""
    def lower():
        os.nice(15)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        installed.libc.syscall(251, 1, 0, 3 << 13)        # ioprio_set: idle
        installed.libc.prctl(29, 10 ** 12, 0, 0, 0)       # PR_SET_TIMERSLACK: a thousand seconds
        for name, value in ("FSIZE", 1), ("NPROC", 1), ("CPU", 3600), ("DATA", 1 << 30), ("AS", 1 << 32):
            limit(name, value)()

    def first_to_die():
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as f:
            f.write("1000")
    p = host.waiting(before=lower, root_first=first_to_die)
    proc = f"/proc/{p.pid}"
    assert os.getpriority(os.PRIO_PROCESS, p.pid) == 0
    assert os.sched_getscheduler(p.pid) == os.SCHED_OTHER
    assert os.sched_getaffinity(p.pid) == os.sched_getaffinity(0)
    assert open(f"{proc}/timerslack_ns", encoding="ascii").read().strip() == "50000"
    assert installed.libc.syscall(252, 1, p.pid) >> 13 != 3
    if open(f"{proc}/oom_score_adj", encoding="ascii").read().strip() != "0":
        assert not installed.has_capability("sys_resource")
    limits = open(f"{proc}/limits", encoding="ascii").read()
    for name in "file size", "cpu time", "data size", "address space":
        assert re.search(rf"Max {name} +unlimited", limits), limits
    assert re.search(r"Max open files +1024", limits), limits
    accepted(host, installed.finish(p))


@pytest.mark.parametrize("owner, mode, words", [
    (CENMAIL, 0o4755, "owned by root"), (0, 0o2755, None), (0, 0o755, None)])
def test_installed_otherwise(host, owner, mode, words):
    """Set-user-ID to another than root is refused; set-group-ID is given up; without the bit it has
    its caller's rights: none on a queue that is not his."""
    other = host.path("/srv/other/sendmail")
    other.write_bytes(host.path(SENDMAIL).read_bytes())
    os.chown(other, owner, owner)
    os.chmod(other, mode)
    done, calls = host.strace("to@example.com", program="/srv/other/sendmail", only="%process,%creds")
    assert host.count() == 0
    gave_up = [call[1] for call in calls if call[0] == "setresgid"]
    assert gave_up == ([", ".join([str(ALICE)] * 3)] if mode & stat.S_ISGID else [])
    if words:
        assert done.returncode == CONFIG and words in done.stderr.decode()
    else:
        assert done.returncode == TEMPFAIL and b"Permission denied" in done.stderr


@pytest.mark.parametrize("change, words", [
    (lambda path: os.chown(path, 0, 0), "or root's"),
    (lambda path: os.rename(path, path.with_name("moved")), "No such file"),
    (lambda path: (os.rename(path, path.with_name("moved")), os.symlink("/srv/alices", path)),
     "no directory")], ids=["root's", "missing", "symlink"])
def test_a_spool_that_is_not_right_keeps_it_from_running(host, change, words):
    path = host.path(SPOOL)
    host.path("/srv/alices").mkdir(exist_ok=True)
    os.chown(host.path("/srv/alices"), ALICE, ALICE)
    try:
        change(path)
        done = host.submit()
        assert done.returncode == CONFIG and words in done.stderr.decode(), done
    finally:
        if path.is_symlink():
            path.unlink()
        if path.with_name("moved").exists():
            path.with_name("moved").rename(path)
        os.chown(path, CENMAIL, CENMAIL)
    accepted(host, host.submit())
