"""cenmail as `make install` puts it there, set-user-ID bit and owners and all, in a mount namespace
of its own: the machine's /usr, /etc and /var/spool are not touched. And its callers: root, and
ordinary users, each with whatever a hostile one hands down to the programs that he starts."""

import ctypes
import fcntl
import json
import os
import pathlib
import platform
import re
import stat
import subprocess
import termios

import harness
from harness import ROOT, Program, build_dir, run

CENMAIL, ALICE, BOB = 4200, 4201, 4202  # uids; each has a group of the same number
SENDMAIL, FLUSH, MAILQ = "/usr/sbin/sendmail", "/usr/sbin/cenmail-flush", "/usr/bin/mailq"
SPOOL = pathlib.Path("/var/spool/cenmail")
CONF = pathlib.Path("/etc/cenmail/cenmail.conf")
OK, USAGE, DATAERR, NOINPUT, OSERR, TEMPFAIL, NOPERM, CONFIG = 0, 64, 65, 66, 71, 75, 77, 78

OVERLAY = """
mount -t tmpfs -o mode=755 tmpfs /srv
for dir in usr etc; do
    mkdir /srv/$dir /srv/$dir.work
    mount -t overlay overlay -o lowerdir=/$dir,upperdir=/srv/$dir,workdir=/srv/$dir.work /$dir
done
mount -t tmpfs -o mode=755 tmpfs /var/spool
"""
SETUP = f"""
set -e
{OVERLAY}
rm -rf /etc/cenmail /etc/aliases
for user in cenmail:{CENMAIL} alice:{ALICE} bob:{BOB}; do
    echo "${{user%:*}}:x:${{user#*:}}:${{user#*:}}:Full Name:/nonexistent:/bin/sh" >>/etc/passwd
    echo "${{user%:*}}:x:${{user#*:}}:" >>/etc/group
done
make -s install ROLE=sender
mkdir /srv/other
echo ready
exec tail -f /dev/null
"""

libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """What this machine lacks for such tests, or None."""
    if os.getuid() != 0:
        return "only root can install a set-user-ID program and become its callers"
    if os.environ.get("CENMAIL_SAN"):
        return "a sanitizer's run-time is not made for a set-user-ID program"
    tried = run(["unshare", "-m", "--propagation", "private", "sh", "-ec", OVERLAY])
    if tried.returncode:
        return f"no mount namespace with overlays here: {tried.stderr.decode().strip()}"
    return None


def _numbers(**by_machine):
    return {str(n) for n in by_machine.get(platform.machine(), ())}


READING = _numbers(x86_64=(7, 271), aarch64=(73,))   # poll, ppoll
LOCKING = _numbers(x86_64=(73,), aarch64=(32,))      # flock


def status(process):
    """What /proc/PID/status says."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def finish(process, data=b"Subject: x\n\nx\n", deadline=60):
    """Gives a call that waits its input, to the end."""
    out, err = process.communicate(data, deadline)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def has_capability(name):
    number = {"sys_resource": 24, "sys_nice": 23}[name]
    status = pathlib.Path("/proc/self/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> number & 1)


class Installed:
    """The installation, and its queue."""

    def __init__(self):
        env = {**os.environ, "MAKEFLAGS": "", "BUILD": str(build_dir().relative_to(ROOT))}
        self.holder = Program("namespace", ["unshare", "-m", "--propagation", "private", "sh", "-c",
                                            SETUP], cwd=ROOT, env=env)
        self.holder.line(lambda line: line == "ready", 120)
        self.rows = [line.split() for line in self.holder.lines if line != "ready"]
        self.root = pathlib.Path(f"/proc/{self.holder.pid}/root")
        self._namespace = os.open(f"/proc/{self.holder.pid}/ns/mnt", os.O_RDONLY)
        self._pristine = {}

    def close(self):
        os.close(self._namespace)
        self.holder.close()

    def path(self, inside):
        """A path in the namespace, as it is seen from outside."""
        return self.root / str(inside).lstrip("/")

    # --- callers ---

    def popen(self, argv, uid=ALICE, before=None, env=None, cwd="/", root_first=None, **more):
        """A program in the namespace, started by `uid`. before() runs last of all before exec, as
        that user; root_first() still as root."""
        def enter():
            if libc.setns(self._namespace, 0x20000) != 0:  # CLONE_NEWNS
                raise OSError(ctypes.get_errno(), "setns")
            os.chdir(cwd)
            if root_first:
                root_first()
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            if before:
                before()
        more.setdefault("stdin", subprocess.PIPE)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([str(a) for a in argv], preexec_fn=enter,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} if env is None else env,
                                **more)

    def run(self, argv, data=b"", deadline=60, **more):
        p = self.popen(argv, **more)
        try:
            out, err = p.communicate(data, deadline)
        finally:
            if p.poll() is None:
                p.kill()
        return subprocess.CompletedProcess(argv, p.returncode, out, err)

    def submit(self, *args, data=b"Subject: x\n\nx\n", **more):
        return self.run([SENDMAIL, *(args or ("-i", "to@example.com"))], data, **more)

    # --- the queue ---

    def fresh(self, **settings):
        """An empty queue, and this configuration."""
        spool = self.path(SPOOL)
        for path in spool.rglob("*"):
            if not path.is_dir():
                path.unlink()
        have = {"hostname": "shanghai.example.com", "domain": "example.com", "log": "stderr",
                "relay": "lmtp://127.0.0.1:3535", **settings}
        self.path(CONF).write_text("".join(f"{k} {v}\n" for k, v in have.items()))
        if not self._pristine:
            done = self.run([FLUSH, "--init"], uid=0)
            assert done.returncode == 0, done.stderr
            self._pristine = {f.name: f.read_bytes() for f in spool.iterdir() if f.is_file()}
            return
        for name, data in self._pristine.items():
            (spool / name).write_bytes(data)
            os.chown(spool / name, CENMAIL, CENMAIL)
            (spool / name).chmod(0o600)

    def query(self, sql):
        """Rows as tuples. By sqlite3(1), which stays inside: SQLite resolves /proc/PID/root."""
        done = self.run(["sqlite3", "-json", "-cmd", ".timeout 30000", "-cmd",
                         ".dbconfig no_ckpt_on_close on", SPOOL / "queue.db", sql], uid=CENMAIL)
        assert done.returncode == 0 and not done.stderr, done.stderr
        lines = done.stdout.decode().partition("\n")[2]  # the first is .dbconfig's
        return [tuple(row.values()) for row in json.loads(lines or "[]")]

    def count(self):
        """How many messages there are; what is not whole, or not sound, is a failure."""
        (n, recipients, contents, sound), = self.query(
            "select (select count(*) from message), (select count(distinct message) from recipient),"
            "(select count(distinct message) from content), integrity_check from pragma_integrity_check")
        assert (recipients, contents, sound) == (n, n, "ok")
        return n

    # --- what a call does ---

    def strace(self, *args, data=b"Subject: x\n\nx\n", only="all", env=(), program=SENDMAIL, user="alice"):
        """A call by `user`, and its system calls as (name, arguments, result). Root traces it, so that
        the set-user-ID bit is heeded."""
        argv = ["strace", "-f", "-s", "200", "-o", "/srv/trace", "-u", user, "-e", f"trace={only}"]
        for name, value in env:
            argv += ["-E", f"{name}={value}"]
        done = self.run([*argv, program, *args], data, uid=0)
        text = self.path("/srv/trace").read_text(errors="replace")
        return done, re.findall(r"^\d+ +(\w+)\((.*)\) += (.*)$", text, re.M)

    def waiting(self, *args, call=READING, **more):
        """A call that has become cenmail and waits in the system call: for input, unless told."""
        process = self.popen([SENDMAIL, *(args or ("-i", "to@example.com"))], **more)
        harness.wait_for(lambda: self.is_in(process, call), what="sendmail's coming to wait")
        return process

    def is_in(self, process, call):
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            with open(f"/proc/{process.pid}/syscall", encoding="ascii") as f:
                now = f.read().split()[0]
        except ProcessLookupError:
            return False
        return status(process)["Uid"].split() == [str(CENMAIL)] * 4 and now in call

    def modes(self):
        """Name -> mode and owner of every file of the spool; but for the mark on the WAL that its name
        is synced (vfs.c)."""
        found = {}
        for name in os.listdir(self.path(SPOOL)):
            st = os.lstat(self.path(SPOOL) / name)
            mark = stat.S_ISVTX if name == "queue.db-wal" else 0
            found[name] = (st.st_mode & ~mark, st.st_uid, st.st_gid)
        return found
