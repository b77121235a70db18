"""sendmail as it is installed, set-user-ID: who it is, and what it has put back by the time that it
looks at anything of its caller's. What a hostile caller tries is in test_hostile_caller.py."""

import os
import re
import resource
import stat

import pytest

import installed
from harness import wait_for
from installed import ALICE, BOB, CENMAIL, CONFIG, FLUSH, MAILQ, OK, SENDMAIL, SPOOL, TEMPFAIL

MAIL = b"Subject: x\n\nx\n"
LARGE = MAIL + b"0123456789abcdef" * 4 * 8192 + b"\n"  # 512 KiB: more than stays in memory
IOPRIO_SET, IOPRIO_GET = (251, 252) if os.uname().machine == "x86_64" else (30, 31)


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
        installed.libc.syscall(IOPRIO_SET, 1, 0, 3 << 13)  # idle
        installed.libc.prctl(29, 10 ** 12, 0, 0, 0)        # PR_SET_TIMERSLACK: a thousand seconds
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
    assert installed.libc.syscall(IOPRIO_GET, 1, p.pid) >> 13 != 3
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


# --- the bit has no effect, or is not there ---------------------------------------------------

def test_a_caller_that_may_not_gain_rights_is_told_so(host):
    done = host.submit(before=lambda: installed.libc.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS
    assert done.returncode == TEMPFAIL and b"NoNewPrivileges" in done.stderr, done
    assert host.count() == 0
    assert b"NoNewPrivileges" not in host.submit("-k").stderr


def test_without_the_bit_it_has_its_callers_rights(host):
    """A container of one user: his own queue, by the configuration that he names."""
    for name in "own", "own/spool":
        host.path(f"/srv/{name}").mkdir(exist_ok=True)
        os.chown(host.path(f"/srv/{name}"), ALICE, ALICE)
    host.path("/srv/own/sendmail").write_bytes(host.path(SENDMAIL).read_bytes())
    host.path("/srv/own/sendmail").chmod(0o755)
    host.path("/srv/own/conf").write_text("queue /srv/own/spool/queue.db\nhostname h.example\nlog stderr\n")
    env = {"CENMAIL_CONF": "/srv/own/conf"}
    assert host.run([FLUSH, "--init"], uid=ALICE, env=env).returncode == OK
    assert host.run(["/srv/own/sendmail", "to@example.com"], LARGE, env=env).returncode == OK
    assert b"alice@" in host.run(["/srv/own/sendmail", "-bp"], env=env).stdout
    files = list(host.path("/srv/own/spool").iterdir())
    names = {f.name for f in files}
    assert names >= {"queue.db", "queue.db-wal"} and "slots.lock" not in names
    assert {f.stat().st_uid for f in files} == {ALICE}
    # With the bit that variable has no effect: it goes to the queue of the system.
    assert host.submit(env=env).returncode == OK
    assert host.count() == 1


def test_root_becomes_the_owner_of_the_queue(host):
    """No file of the queue is root's, and root has no slots that could run out."""
    os.unlink(host.path(SPOOL / "queue.db-wal"))
    done, calls = host.strace("to@example.com", data=LARGE, user="root")
    assert done.returncode == OK and host.count() == 1
    names = [call for call in calls if "slots.lock" in call[1]]
    assert not names
    change = next(i for i, call in enumerate(calls)
                  if call[0] == "setresuid" and call[1] == ", ".join([str(CENMAIL)] * 3))
    assert not any(call[0] == "read" and call[1].startswith("0,") for call in calls[:change])
    assert {what[1:] for what in host.modes().values()} == {(CENMAIL, CENMAIL)}


# --- input ------------------------------------------------------------------------------------

def test_input_may_take_a_day(host):
    """And no longer: what poll is given. That it ends by then is test_sendmail_intake's."""
    done, calls = host.strace("to@example.com", only="poll,ppoll,read")
    assert done.returncode == OK
    waits = [int(call[1].rsplit(", ", 1)[1]) for call in calls if call[0] == "poll"]
    assert waits and all(86_390_000 < wait <= 86_400_000 for wait in waits), waits


def test_large_content_is_in_a_file_without_a_name(host):
    """Memory stays flat, whatever is still to come."""
    before = host.modes()
    p = host.waiting()
    anonymous, piece = [], b"0123456789abcdef" * 4096
    p.stdin.write(MAIL)
    for size in (1, 16):  # MiB
        for _ in range(size * 16):
            p.stdin.write(piece)
        p.stdin.flush()
        wait_for(lambda: host.is_in(p, installed.READING))
        anonymous.append(int(installed.status(p)["RssAnon"].split()[0]))
    assert anonymous[1] <= anonymous[0] + 64 and anonymous[1] < 1500, anonymous  # KiB
    links = [os.readlink(f"/proc/{p.pid}/fd/{n}") for n in os.listdir(f"/proc/{p.pid}/fd")]
    assert sum(bool(re.match(rf"{SPOOL}/#\d+ \(deleted\)|{SPOOL}/spool\.\w+ \(deleted\)", link))
               for link in links) == 1, links
    assert set(host.modes()) - set(before) == {"slots.lock"}
    assert installed.finish(p, b"").returncode == OK
    assert host.query("select size from message")[0][0] > 17 << 20


# --- mailq ------------------------------------------------------------------------------------

def test_mailq_shows_everybody_his_own_mail(host):
    for uid, name in (ALICE, "alice"), (BOB, "bob"), (0, "root"):
        assert host.submit("-f", f"{name}@example.com", f"to-{name}@example.com", uid=uid).returncode == OK
    seen = {uid: set(re.findall(r"to-(\w+)@", host.run([MAILQ], uid=uid).stdout.decode()))
            for uid in (ALICE, BOB, 0, CENMAIL, 65534)}
    everything = {"alice", "bob", "root"}
    assert seen == {ALICE: {"alice"}, BOB: {"bob"}, 0: everything, CENMAIL: everything, 65534: set()}


# --- what is installed ------------------------------------------------------------------------

def test_installed_modes_and_owners(host):
    """What `make install` says is what is there; nobody but root can write any of it, but for the
    queue's directory; and one program only has a bit that gives rights."""
    assert len(host.rows) > 15
    ids = {"root": 0, "cenmail": CENMAIL}
    with_rights = []
    for kind, mode, owner, path in host.rows:
        st = os.lstat(host.path(path))
        if kind == "link":
            assert stat.S_ISLNK(st.st_mode) and st.st_uid == 0, path
            continue
        if str(path) != str(SPOOL):
            assert owner == "root", path
        assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (int(mode, 8), ids[owner], ids[owner]), path
        assert st.st_mode & 0o022 == 0, path
        if st.st_mode & 0o7000:
            with_rights.append((path, mode))
    assert with_rights == [(SENDMAIL, "4755")]
