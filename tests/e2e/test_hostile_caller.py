"""CASES.md, section A: what a hostile local user can hand down to the set-user-ID sendmail, or try
on it. A15 is in the tests of the options, A17 in those of the flusher."""

import json
import os
import random
import re
import resource
import signal
import stat
import subprocess
import time

import pytest

import harness
import installed
from installed import (ALICE, BOB, CENMAIL, FLUSH, MAILQ, NOINPUT, OK, OSERR, SENDMAIL, SPOOL, TEMPFAIL, USAGE,
                       finish)

MAIL = b"Subject: x\n\nx\n"
LARGE = MAIL + (b"0123456789abcdef" * 4 + b"\n") * 8192  # over 512 KiB: more than stays in memory
SOAK = os.environ.get("CENMAIL_SOAK")


def check(host, done, codes=(OK,)):
    """Exit 0: its message is there, whole; otherwise none is. And the next caller is served."""
    assert done.returncode in codes, done
    stored = 1 if done.returncode == OK else 0
    assert host.count() == stored, done
    assert host.submit(uid=BOB).returncode == OK
    assert host.count() == stored + 1


def limit(name, value, hard=False):
    """For the child: a limit that it may raise again, or (hard) may not."""
    def change():
        number = getattr(resource, "RLIMIT_" + name)
        resource.setrlimit(number, (value, value if hard else resource.getrlimit(number)[1]))
    return change


def may_raise():
    return installed.has_capability("sys_resource")


# --- descriptors, limits, signals -------------------------------------------------------------

@pytest.mark.parametrize("closed", range(8))
def test_a1_closed_descriptors(host, closed):
    def close():
        for fd in range(3):
            if closed & 1 << fd:
                os.close(fd)
    host.path("/srv/mail").write_bytes(LARGE)
    with open(host.path("/srv/mail"), "rb") as mail:
        done = host.popen([SENDMAIL, "-v", "to@example.com"], before=close, stdin=mail,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done.wait(60)
    check(host, done, (NOINPUT,) if closed & 1 else (OK,))


LOADERS = (127, -signal.SIGKILL, -signal.SIGSEGV)  # the kernel's, or the loader's, own refusal


@pytest.mark.parametrize("name, value", [
    ("NOFILE", 3), ("NOFILE", 4), ("NOFILE", 5), ("NPROC", 1), ("MEMLOCK", 0), ("SIGPENDING", 0),
    ("AS", 1 << 20), ("AS", 1 << 23), ("AS", 1 << 25), ("DATA", 4096), ("STACK", 4096),
    ("STACK", 1 << 17), ("CPU", 1), ("FSIZE", 0), ("FSIZE", 1), ("FSIZE", 20000)])
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_a2_a3_a4_small_limits(host, name, value, hard):
    """They are raised again; where root itself may not (a container without CAP_SYS_RESOURCE) a hard
    one holds, and it is 71 or 75, and not death by a signal."""
    done = host.submit(data=LARGE, before=limit(name, value, hard))
    if name in ("NOFILE", "AS", "DATA", "STACK"):  # what the loader needs is needed before we run
        codes = (OK, *LOADERS) + (() if may_raise() or not hard else (OSERR, TEMPFAIL))
    elif name == "FSIZE" and hard and not may_raise():
        codes = (TEMPFAIL,)
    else:
        codes = (OK,)
    check(host, done, codes)


@pytest.mark.parametrize("name, value", [("NOFILE", 4), ("FSIZE", 0), ("FSIZE", 1), ("FSIZE", "WAL"),
                                         ("AS", 1 << 22), ("DATA", 4096)])
def test_a2_a3_small_limits_without_the_bit(host, name, value):
    """The owner of the queue himself, under limits that he has set himself: 71 or 75."""
    if value == "WAL":
        value = os.stat(host.path(SPOOL / "queue.db-wal")).st_size
    host.path("/srv/other/sendmail").write_bytes(host.path(SENDMAIL).read_bytes())
    host.path("/srv/other/sendmail").chmod(0o755)
    done = host.run(["/srv/other/sendmail", "to@example.com"], LARGE, uid=CENMAIL,
                    before=limit(name, value, hard=True))
    check(host, done, (OSERR, TEMPFAIL) if name == "FSIZE" else (OSERR, TEMPFAIL, *LOADERS))


@pytest.mark.parametrize("timer", [signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF])
def test_a4_timers(host, timer):
    """Armed to go off soon: it has not begun by then, or is not disturbed."""
    p = host.popen([SENDMAIL, "to@example.com"], before=lambda: signal.setitimer(timer, 0.2, 0.01))
    if timer == signal.ITIMER_REAL:
        time.sleep(0.3)  # past it: there is no event to wait for in what must not happen
    check(host, finish(p, LARGE), (OK,))


def test_a4_signals(host):
    """Ignored and blocked ones are not inherited where that would keep it from ending or from waiting
    for the lock; and what may stop it is ignored."""
    def before():
        for number in signal.SIGTERM, signal.SIGALRM, signal.SIGXCPU, signal.SIGCHLD:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    p = host.waiting(before=before, restore_signals=False)
    masks = {k: int(v, 16) for k, v in installed.status(p).items() if k.startswith("Sig") and k != "SigQ"}
    stops = [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGXFSZ, signal.SIGPIPE]
    assert masks["SigBlk"] == 0 and masks["SigCgt"] == 1 << signal.SIGBUS - 1  # a full disk: 75
    own = 1 << 32 - 1 | 1 << 33 - 1  # the C library's, which sigaction(3) does not touch
    assert masks["SigIgn"] & ~own == sum(1 << s - 1 for s in stops)
    p.terminate()
    assert p.wait(60) == -signal.SIGTERM
    assert host.count() == 0


# --- arguments, environment, files ------------------------------------------------------------

@pytest.mark.parametrize("argv", [[], ["a" * 131071], ["sendmail"] + ["to@example.com"] * 100000,
                                  ["sendmail", "-F", "a" * 131000, "to@example.com"]],
                         ids=["none", "name", "many", "full name"])
def test_a5_arguments(host, argv):
    """An argument of 1 MiB, of CASES.md, is over what Linux lets through (128 KiB each)."""
    def execute():
        vector = (installed.ctypes.c_char_p * (len(argv) + 1))(*[a.encode() for a in argv], None)
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        installed.libc.execve(SENDMAIL.encode(), vector, (installed.ctypes.c_char_p * 1)(None))
    done = host.run(["/bin/false"], MAIL, before=execute)
    check(host, done, (USAGE,))
    with pytest.raises(OSError):
        host.submit("-F", "a" * (1 << 20), "to@example.com")


EVIL = ("/srv/evil", "/srv/evil/lib.so")
HOSTILE = [("SQLITE_TMPDIR", EVIL[0]), ("TMPDIR", EVIL[0]), ("LD_PRELOAD", EVIL[1]), ("LD_AUDIT", EVIL[1]),
           ("LD_LIBRARY_PATH", EVIL[0]), ("LD_DEBUG", "all"), ("LD_DEBUG_OUTPUT", EVIL[0]),
           ("LD_PROFILE", "libc.so.6"), ("LD_PROFILE_OUTPUT", EVIL[0]),
           ("GLIBC_TUNABLES", "glibc.malloc.mxfast=glibc.malloc.mxfast=A"), ("GCONV_PATH", EVIL[0]),
           ("LOCPATH", EVIL[0]), ("NLSPATH", EVIL[0]), ("LANG", EVIL[0]), ("LC_ALL", EVIL[0]),
           ("MALLOC_TRACE", EVIL[0]), ("OPENSSL_CONF", EVIL[0]), ("OPENSSL_ENGINES", EVIL[0]),
           ("SASL_PATH", EVIL[0]), ("SASL_CONF_PATH", EVIL[0]), ("TZ", ":" + EVIL[0]), ("TZDIR", EVIL[0]),
           ("HOME", EVIL[0]), ("PATH", EVIL[0]), ("CENMAIL_CONF", EVIL[0]), ("HOSTALIASES", EVIL[0]),
           ("RESOLV_HOST_CONF", EVIL[0]), ("NIS_PATH", EVIL[0]), ("GETCONF_DIR", EVIL[0]),
           ("LOGNAME", "root"), ("USER", "root"), ("SQLITE_HISTORY", EVIL[0])]
OPENS = "%file"


def prepare_evil(host):
    host.path(EVIL[0]).mkdir(mode=0o777, exist_ok=True)
    host.path(EVIL[1]).write_bytes(b"")


def evil_calls(calls):
    return [call for call in calls if "evil" in call[1] and call[0] != "execve"]


def test_a6_environment(host):
    prepare_evil(host)
    done, calls = host.strace("-t", data=b"To: to@example.com\n" + LARGE, only=OPENS, env=HOSTILE)
    assert not evil_calls(calls)
    check(host, done)
    assert host.query("select sender from message where id=1") == [("alice@example.com",)]
    assert os.listdir(host.path(EVIL[0])) == ["lib.so"]


def test_a6_a_program_without_the_bit_heeds_it(host):
    """The negative control: the same environment does lead there where it is let."""
    prepare_evil(host)
    _, calls = host.strace("-c", "exec /usr/bin/date", only=OPENS, env=[("TZ", ":" + EVIL[0]), (
        "LD_LIBRARY_PATH", EVIL[0])], program="/bin/sh")
    assert evil_calls(calls)


def test_a7_options_that_named_files(host):
    """PHPMailer's CVE-2016-10033: -X and its kin aimed at what others may write, or read."""
    targets = {"/srv/other/secret": 0o600, "/srv/other/readable": 0o644, "/srv/other/writable": 0o666}
    for name, mode in targets.items():
        host.path(name).write_bytes(b"precious\n")
        host.path(name).chmod(mode)
        os.chown(host.path(name), BOB, BOB)
    host.path("/srv/other").chmod(0o1777)
    messages = 0
    for target in [*targets, "/srv/other/new", f"{SPOOL}/queue.db", "/etc/shadow"]:
        many = []
        for option in ("-C", "-X", "-D", "-d", "-oQ", "-oA", "-OQueueDirectory=", "-OLogFile=", "-OStatusFile="):
            many += [option + target] + ([option, target] if option in ("-C", "-X", "-D") else [])
        done, calls = host.strace(*many, "-f", "x@example.com", "to@example.com", only=OPENS)
        assert done.returncode == OK, (done, many)
        messages += 1
        touched = [call for call in calls if f'"{target}"' in call[1] and call[0] != "execve"]
        if not target.startswith(str(SPOOL)):
            assert not touched, touched
    for name, mode in targets.items():
        st = os.lstat(host.path(name))
        assert (stat.S_IMODE(st.st_mode), st.st_uid, host.path(name).read_bytes()) == (mode, BOB, b"precious\n")
    assert not host.path("/srv/other/new").exists()
    assert host.count() == messages


@pytest.mark.parametrize("mask", [0o000, 0o777])
@pytest.mark.parametrize("place", ["deleted", "unreadable"])
def test_a8_umask_and_working_directory(host, mask, place):
    directory = "/srv/other/place"
    host.path(directory).mkdir(mode=0o700, exist_ok=True)

    def leave():
        if place == "deleted":
            os.rmdir(directory)
    before = host.modes()
    done = host.submit(data=LARGE, cwd=directory, root_first=leave, before=lambda: os.umask(mask))
    check(host, done)
    after = host.modes()
    for name, what in before.items():
        assert after[name] == what, name
    for name, (mode, uid, gid) in after.items():
        assert mode & 0o7077 == 0 and (uid, gid) == (CENMAIL, CENMAIL), name


# --- terminals, kills -------------------------------------------------------------------------

class Terminal:
    """A call on a terminal of its own, in its foreground; what is typed goes to its input."""

    def __init__(self, host, *args):
        self.master, slave = os.openpty()

        def own_terminal():
            os.setsid()
            installed.fcntl.ioctl(slave, installed.termios.TIOCSCTTY, 0)
            limit("CORE", resource.getrlimit(resource.RLIMIT_CORE)[1])()
        self.process = host.popen([SENDMAIL, *args], before=own_terminal, stdin=slave, stdout=slave,
                                  stderr=slave, pass_fds=[slave])
        os.close(slave)

    def type(self, text):
        os.write(self.master, text)

    def hang_up(self):
        if self.master is not None:
            os.close(self.master)
        self.master = None


def hold_lock(host):
    """queue.lock, until the result is closed."""
    lock = open(host.path(SPOOL / "queue.lock"), "rb+")
    installed.fcntl.flock(lock, installed.fcntl.LOCK_EX)
    return lock


@pytest.mark.parametrize("key, code", [(b"\x1a", OK), (b"\x03", -signal.SIGINT), (b"\x1c", -signal.SIGQUIT),
                                       (None, -signal.SIGHUP)], ids=["stop", "interrupt", "quit", "hang-up"])
def test_a10_keys_while_it_waits_for_the_lock(host, key, code):
    """Ctrl-Z does nothing; what kills it leaves nothing behind, and no core (A12)."""
    with hold_lock(host):
        terminal = Terminal(host, "-i", "to@example.com")
        process = terminal.process
        terminal.type(MAIL + b"\x04")
        harness.wait_for(lambda: host.is_in(process, installed.LOCKING), what="waiting for the lock")
        terminal.type(key) if key else terminal.hang_up()
        if code != OK:
            _, status = os.waitpid(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert not os.WCOREDUMP(status)
    process.wait(60)
    terminal.hang_up()
    check(host, process, (code,))


def test_a10_hang_up_at_any_moment(host):
    """Some tens of moments from the end of its input on: committed, or nothing."""
    seed = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
    rounds, pick, stored, killed = 200 if SOAK else 15, random.Random(seed), 0, 0
    print(f"seed {seed}, {rounds} moments")
    for _ in range(rounds):
        terminal = Terminal(host, "-i", "to@example.com")
        terminal.type(MAIL + b"\x04")
        time.sleep(pick.uniform(0, 0.03))
        terminal.type(b"\x1a")
        terminal.hang_up()
        code = terminal.process.wait(60)
        assert code in (OK, -signal.SIGHUP), code
        stored, killed = stored + (code == OK), killed + (code != OK)
        messages = host.count()
        assert stored <= messages <= stored + killed
    assert host.submit(uid=BOB).returncode == OK


def kill_at(host, call, data):
    """Killed at its Nth system call: how many it entered, and its exit code or None."""
    done = host.run([installed.build_dir() / "tools/kill-at", call, ALICE, SENDMAIL, "-i", "to@example.com"],
                    data, uid=0)
    calls, how, code = done.stdout.split()
    return int(calls), int(code) if how == b"exit" else None


@pytest.mark.parametrize("data", [MAIL, LARGE], ids=["small", "large"])
def test_a11_killed_at_every_system_call(host, data):
    """Exit 0 seen means that the message is there; otherwise none, or a whole one. And whoever calls
    next is not held up."""
    seed = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
    calls, code = kill_at(host, 0, data)
    assert code == OK and host.count() == 1
    points = list(range(1, calls + 1))
    tried = points if SOAK else sorted(random.Random(seed).sample(points, 25))
    print(f"seed {seed}: {len(tried)} of {len(points)} points")
    messages, outcomes = 1, set()
    for point in tried:
        entered, code = kill_at(host, point, data)
        now = host.count()
        assert now in (messages, messages + 1), point
        if code is not None:  # it ended before that many
            assert (code, now) == (OK, messages + 1), point
        outcomes.add(now - messages)
        start = time.monotonic()
        assert host.submit(uid=BOB).returncode == OK, point
        assert time.monotonic() - start < 4, "the next caller was held up"  # lock_wait is 5 s
        messages = now + 1
    assert host.count() == messages
    assert outcomes == {0, 1} or not SOAK


def test_a11_killed_in_the_second_way_in(host):
    """The same, while the queue's lock can't be had: what was acknowledged is in incoming/, whole, and
    the flusher takes it from there; of what was killed there is nothing, or all."""
    host.fresh(lock_wait="0", linger="0", relay="lmtp://127.0.0.1:1")
    seed = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
    with hold_lock(host):
        calls, code = kill_at(host, 0, MAIL)
        assert code == OK
        points = list(range(1, calls + 1))
        tried = points if SOAK else sorted(random.Random(seed).sample(points, 25))
        print(f"seed {seed}: {len(tried)} of {len(points)} points")
        acknowledged, killed = 1, 0
        for point in tried:
            _, code = kill_at(host, point, MAIL)
            assert code in (OK, None), (point, code)
            assert host.submit(uid=BOB).returncode == OK, point
            acknowledged += 1 + (code == OK)
            killed += code is None
        assert host.count() == 0
    host.run([FLUSH], uid=0)
    assert acknowledged <= host.count() <= acknowledged + killed
    left = [name for name in os.listdir(host.path(SPOOL / "incoming")) if not name.endswith(".tmp")]
    assert left in ([], ["damaged"]) and not any(host.path(SPOOL / "incoming").glob("damaged/*")), left


# --- breaking in ------------------------------------------------------------------------------

# What alice tries on a process: a line of JSON, name -> errno, 0 where it was let.
ATTACK = r"""
import ctypes, errno, json, os, resource, signal, sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4

def attempt(what):
    try:
        result = what()
    except OSError as e:
        return e.errno
    return ctypes.get_errno() if result == -1 else 0

def read(name):
    with open(f"/proc/{pid}/{name}", "rb") as f:
        name == "mem" or f.read(1)  # of mem, what is at address 0 is nothing to anybody

def write(name):
    with open(f"/proc/{pid}/{name}", "r+b") as f:
        f.write(b"0")

tries = {f"read {name}": lambda name=name: read(name) for name in
         ("mem", "environ", "maps", "smaps", "auxv", "stack", "syscall", "pagemap", "io", "personality")}
tries |= {f"write {name}": lambda name=name: write(name) for name in
          ("mem", "oom_score_adj", "timerslack_ns", "coredump_filter", "clear_refs", "autogroup")}
local = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
tries |= {
    "attach": lambda: libc.ptrace(16, pid, 0, 0), "seize": lambda: libc.ptrace(0x4206, pid, 0, 0),
    "descriptors": lambda: os.listdir(f"/proc/{pid}/fd"),
    "working directory": lambda: os.readlink(f"/proc/{pid}/cwd"),
    "process_vm_readv": lambda: libc.process_vm_readv(pid, vector, 1, vector, 1, 0),
    "pidfd_getfd": lambda: libc.syscall(438, os.pidfd_open(pid), 0, 0),
    "kcmp": lambda: libc.syscall(312, pid, os.getpid(), 0, 0, 0) if os.uname().machine == "x86_64" else -1,
    "prlimit": lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0)),
    "renice": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "affinity": lambda: os.sched_setaffinity(pid, {0}),
    "scheduler": lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    "process group": lambda: os.setpgid(pid, pid),
}
tries |= {f"signal {s.name}": lambda s=s: os.kill(pid, s) for s in
          (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTERM, signal.SIGQUIT, signal.SIGALRM, signal.SIGKILL)}
print(json.dumps({name: attempt(what) for name, what in tries.items()}))
"""


def attack(host, pid, uid):
    done = host.run(["/usr/bin/python3", "-c", ATTACK, pid], uid=uid)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a12_the_caller_can_not_reach_into_it(host):
    p = host.waiting()
    result = attack(host, p.pid, ALICE)
    let = {name for name, errno in result.items() if errno == 0}
    assert not let, let
    assert installed.status(p)["State"].startswith("S")
    assert os.stat(f"/proc/{p.pid}/environ").st_uid == 0, "it would leave a core"
    check(host, finish(p), (OK,))
    # The negative control: on a process of her own all of it is let.
    own = host.popen(["/bin/cat"])
    harness.wait_for(lambda: os.readlink(f"/proc/{own.pid}/exe").endswith("cat"))
    let = {name for name, errno in attack(host, own.pid, ALICE).items() if errno == 0}
    own.kill()
    own.communicate()
    assert {"signal SIGSTOP", "read environ", "renice", "prlimit", "read mem"} <= let, let


def test_a12_traced_it_has_no_rights(host):
    done = host.run(["strace", "-f", "-o", "/dev/null", SENDMAIL, "to@example.com"], MAIL)
    assert done.returncode != OK and b"Permission denied" in done.stderr
    assert host.count() == 0


STOPS = r"""
import os, random, signal, subprocess, sys, time
pick, stopped, denied = random.Random(int(sys.argv[1])), [], 0
for i in range(int(sys.argv[2])):
    p = subprocess.Popen(["/usr/sbin/sendmail", "-i", "to@example.com"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p.stdin.write(b"\nx\n")
    p.stdin.close()
    end = time.monotonic() + pick.uniform(0, 0.008)
    while time.monotonic() < end:
        pass
    try:
        os.kill(p.pid, signal.SIGSTOP)
        stopped.append(p)
    except PermissionError:
        denied += 1
        p.wait()
print(len(stopped), denied, flush=True)
sys.stdin.read()
for p in stopped:
    os.kill(p.pid, signal.SIGCONT)
    p.wait()
"""


def test_a_stop_fails_or_finds_no_lock_held(host):
    """SIGSTOP at any moment of its life: before it has become cenmail it holds nothing, after that the
    caller is not let."""
    seed, rounds = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32))), 300 if SOAK else 40
    p = host.popen(["/usr/bin/python3", "-c", STOPS, seed, rounds])
    stopped, denied = map(int, p.stdout.readline().split())
    print(f"seed {seed}: {rounds} moments, stopped {stopped}, denied {denied}")
    start = time.monotonic()
    assert host.submit(uid=BOB).returncode == OK
    assert time.monotonic() - start < 4, "a stopped call held the lock"
    assert finish(p, b"").returncode == 0
    assert host.count() == rounds + 1


# --- too many of them -------------------------------------------------------------------------

# Starts calls that never end, each with more in hand than stays in memory. Stops when told to.
CROWD = r"""
import json, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
mail = b"Subject: x\n\n" + (b"0123456789abcdef" * 4 + b"\n") * 5000
calls, refused = [], []
for i in range(int(sys.argv[1])):
    p = subprocess.Popen(["/usr/sbin/sendmail", "to@example.com"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        p.stdin.write(mail)
        p.stdin.flush()
        calls.append(p)
    except BrokenPipeError:
        refused.append([p.wait(), p.stderr.read().decode()])
print(json.dumps([[p.pid for p in calls], refused]), flush=True)
sys.stdin.readline()
for p in calls:
    p.stdin.close()
print(json.dumps([p.wait() for p in calls]), flush=True)
"""
SLOTS = 128


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        found = re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", f.read(), re.M)
    return sum(map(int, found))


def test_a16_a_crowd_of_calls_that_never_end(host):
    """As cenmail they no longer count against their caller's `ulimit -u`: the slots stop him, others
    are served, and what they keep is bounded."""
    crowd = host.popen(["/usr/bin/python3", "-c", CROWD, 150])
    alive, refused = json.loads(crowd.stdout.readline())
    assert (len(alive), len(refused)) == (SLOTS, 150 - SLOTS), refused
    for code, words in refused:
        assert code == TEMPFAIL and f"uid {ALICE} has {SLOTS} unfinished calls" in words
    for uid in BOB, 0:
        start = time.monotonic()
        assert host.submit(uid=uid).returncode == OK
        assert time.monotonic() - start < 4
    assert host.run([MAILQ]).returncode == TEMPFAIL  # which may hang on its output as well
    memory = [private_kib(pid) for pid in alive]
    print(f"{len(alive)} calls keep {sum(memory)} KiB, each at most {max(memory)}")
    assert max(memory) < 1500
    crowd.stdin.write(b"\n")
    crowd.stdin.flush()
    assert json.loads(crowd.stdout.readline()) == [OK] * SLOTS  # and none of it was lost
    finish(crowd, b"")
    assert host.count() == SLOTS + 2
    assert host.submit().returncode == OK


def test_a16_the_refused_can_not_stay(host):
    """A pipe that nobody reads does not keep those alive that got no slot."""
    crowd = host.popen(["/usr/bin/python3", "-c", CROWD, SLOTS])
    alive, _ = json.loads(crowd.stdout.readline())
    assert len(alive) == SLOTS
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    p = host.popen([SENDMAIL, "to@example.com"], stderr=write)
    assert p.wait(20) == -signal.SIGALRM
    os.close(read)
    os.close(write)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    finish(crowd, b"\n")
    check(host, host.submit())  # the dead hold no slot
