"""A host that has booted, for a test: systemd as process 1 of its own namespaces (processes, mounts,
control groups, names), with the machine's files and changes in memory, and no units but cenmail's, as
`make install` puts them. It shares the machine's loopback network."""

import contextlib
import os
import pathlib
import shutil

import host
from harness import ROOT, Program, build_dir, run, wait_for

CENMAIL = 64201
CGROUPS = [pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup")]
UNITS = "/run/systemd/system"
TARGETS = ["sysinit", "basic", "shutdown", "sockets", "network-online", "multi-user"]
NAMESPACES = ["-C", "-m", "-p", "-u", "-i"]
BOOT = f"""
echo $$ >{{group}}/cgroup.procs
exec unshare {' '.join(NAMESPACES)} -f --kill-child --propagation private sh -ec '
mount -t tmpfs -o mode=755,suid,exec tmpfs /srv
for d in etc var usr; do
    mkdir /srv/$d /srv/$d.work
    mount -t overlay overlay -o lowerdir=/$d,upperdir=/srv/$d,workdir=/srv/$d.work /$d
done
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
rm -rf /etc/cenmail /var/lib/cenmail /etc/systemd/system
echo cenmail:x:{CENMAIL}:{CENMAIL}::/nonexistent:/bin/false >>/etc/passwd
echo cenmail:x:{CENMAIL}: >>/etc/group
mkdir -p {UNITS}
for t in {' '.join(TARGETS)}; do printf "[Unit]\\nDefaultDependencies=no\\n" >{UNITS}/$t.target; done
make -s -C {ROOT} BUILD={{build}} SAN= ROLE=relay UNITDIR={UNITS} install
exec env -i container=cenmail PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH={UNITS} \\
    /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --log-level=info \\
    --show-status=no --crash-reboot=no
'
"""


def why_not():
    """What this machine lacks, or None."""
    if os.getuid() != 0:
        return "only root can start a systemd"
    if os.environ.get("CENMAIL_SAN"):
        return "a sanitizer makes system calls that the unit does not let through"
    if not pathlib.Path("/usr/lib/systemd/systemd").exists() or not shutil.which("nsenter"):
        return "systemd is not installed"
    if not any((c / "cgroup.procs").exists() for c in CGROUPS):
        return "no control groups of version 2 here"
    return None


class Booted:
    def __init__(self):
        hierarchy = next(c for c in CGROUPS if (c / "cgroup.procs").exists())
        self.group = hierarchy / f"cenmail-test-{os.getpid()}"
        self.group.mkdir()
        build = os.path.relpath(build_dir(), ROOT)
        self.holder = Program("systemd", ["sh", "-ec", BOOT.format(group=self.group, build=build)])
        try:
            self.pid = wait_for(self._child, what="systemd's process")
            self.root = pathlib.Path(f"/proc/{self.pid}/root")
            wait_for(self._is_up, what="systemd")
        except (TimeoutError, OSError) as why:
            self.close()
            raise RuntimeError(f"systemd does not boot here: {why}\n{self.holder.log}") from None
        (self.root / "run/systemd/journal").mkdir(exist_ok=True)
        self.log = host.Syslog(self.root / "run/systemd/journal/dev-log")

    def _is_up(self):
        if self.holder.process.poll() is not None:
            raise OSError(f"it ended with {self.holder.process.returncode}")
        comm = pathlib.Path(f"/proc/{self.pid}/comm").read_text(encoding="ascii").strip()
        return comm == "systemd" and self.run("systemctl", "is-system-running").stdout == b"running\n"

    def _child(self):
        pid = self.holder.pid
        path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        return int(path.read_text(encoding="ascii").split()[0]) if path.read_text().split() else None

    def close(self):
        with contextlib.suppress(OSError):
            (self.group / "cgroup.kill").write_text("1")
        self.holder.wait()
        for directory, _, _ in os.walk(self.group, topdown=False):
            wait_for(lambda d=directory: _removed(d), what="an empty control group")

    def run(self, *argv, deadline=60):
        return run(["nsenter", "-t", self.pid, *NAMESPACES, *argv], deadline=deadline)

    def systemctl(self, *argv):
        done = self.run("systemctl", "--no-pager", *argv)
        assert done.returncode == 0, (argv, done.stdout, done.stderr, self.holder.log, self.log.text)
        return done.stdout.decode()

    def show(self, unit, what):
        return self.systemctl("show", "--value", "-p", what, unit).strip()

    def put(self, path, text, mode=0o644, group=0):
        to = self.root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
        os.chown(to, 0, group)
        to.chmod(mode)


def _removed(directory):
    try:
        os.rmdir(directory)
    except OSError:
        return not os.path.exists(directory)
    return True
