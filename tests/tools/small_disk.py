"""A small file system of its own, in a mount namespace, for a queue or a journal: one that gets full,
has no inodes left, or can't be written."""

import json
import pathlib
import subprocess
import sys

import parts
from harness import Program, run

MOUNT = {
    "tmpfs": 'mount -t tmpfs -o mode=700,size={size}{more} tmpfs "$1"',
    "ext4": 'truncate -s {size} "$2" && mkfs.ext4 -q -F -m 0 "$2" && mount -o loop "$2" "$1"',
}
# SQLite follows /proc/PID/root, and so would open what is there outside.
SQL = """
import json, sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=rw", uri=True, timeout=10, isolation_level=None)
db.execute("pragma wal_autocheckpoint=0")
found = db.execute(sys.argv[2])
print(json.dumps([[c[0] for c in found.description or []], found.fetchall()]))
"""


class Row(dict):
    """By name or by number, as sqlite3.Row."""

    def __getitem__(self, key):
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


def why_not(kind):
    """Why this machine can't have one; "" when it can."""
    mount = MOUNT[kind].format(size="4m", more="")
    done = run(["unshare", "-m", "--propagation", "private", "sh", "-ec",
                f'd=$(mktemp -d); set -- "$d" "$d.img"; trap "umount $d; rm -rf $d $d.img" 0; {mount}'])
    return "" if done.returncode == 0 else f"no {kind} can be mounted: {done.stderr.decode()}"


class Disk:
    """Such a file system at `place`."""

    def mount(self, place, image, programs, kind="tmpfs", size="8m", inodes=None):
        more = f",nr_inodes={inodes}" if inodes else ""
        mount = MOUNT[kind].format(size=size, more=more)
        holder = Program("disk", ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                                  f'{mount}; echo ready; exec sleep 1000', "sh", place, image])
        programs.append(holder)
        holder.line(lambda line: line == "ready")
        self.place, self.enter = place, ["nsenter", "-t", str(holder.pid), "-m"]
        self.spool = pathlib.Path(f"/proc/{holder.pid}/root{place}")  # as it is seen from here

    def inside(self, command):
        """A shell command in the namespace, on the disk."""
        subprocess.run([*self.enter, "sh", "-ec", f'cd "$0"; {command}', self.place], check=True)

    def fill(self, leave=0):
        """Takes all the space, but `leave` octets."""
        self.inside("dd if=/dev/zero of=ballast bs=4k oflag=append conv=notrunc status=none"
                    " 2>/dev/null || true")
        size = (self.spool / "ballast").stat().st_size
        self.inside(f"truncate -s {max(0, size - leave)} ballast; sync -f ballast")

    def make_room(self):
        self.inside("rm ballast")


class SmallDisk(parts.Queue, Disk):
    """A Queue whose spool directory is that file system."""

    def __init__(self, directory, programs, kind="tmpfs", size="8m", inodes=None, **settings):
        super().__init__(directory, init=False)
        self.mount(self.database.parent, directory / "image", programs, kind, size, inodes)
        self.prefix = list(self.enter)
        self.write(**{"min_free": "0", **settings})
        done = self.run_flush("--init")
        assert done.returncode == 0, done.stderr.decode()

    def sql(self, statement, *values):
        assert not values
        done = run([*self.enter, sys.executable, "-c", SQL, self.database, statement])
        assert done.returncode == 0, done.stderr.decode()
        names, rows = json.loads(done.stdout)
        return [Row(zip(names, row)) for row in rows]

    def incoming(self):
        found = self.spool / "incoming"
        return sorted(p.name for p in found.iterdir() if p.is_file()) if found.is_dir() else []
