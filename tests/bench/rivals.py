"""What people would use instead of our sendmail, side by side with it: Postfix's, dma's and
nullmailer's, unpacked and never installed (tests/tools/peers.py), in a mount namespace with a spool
on the disk that is measured. None of them has a daemon behind it: this is the cost of handing a
message over, until it is safe on disk, and nothing else."""

import grp
import os
import pathlib
import pwd
import shutil

import peers
from harness import Program, build_dir, run

PEERS = {"Postfix", "dma", "nullmailer"}
USERS = {"postfix": 64101, "postdrop": 64102, "cenmail": 64103}
OURS = "/usr/libexec/cenmail"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATION = {
    "etc/postfix/main.cf": """
compatibility_level = 3.6
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = /var/spool/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = shanghai.example.com
inet_interfaces = loopback-only
message_size_limit = 100000000
""",
    "etc/dma/dma.conf": "DEFER\nMAILNAME shanghai.example.com\n",
    "etc/nullmailer/me": "shanghai.example.com\n",
    "etc/nullmailer/defaultdomain": "example.com\n",
    "etc/mailname": "shanghai.example.com\n",
    "etc/cenmail/cenmail.conf": """
hostname shanghai.example.com
domain example.com
relay lmtp://127.0.0.1:1
"""}
# /usr is this machine's, with the others' beneath: what is in both is theirs. Nothing of it can be
# written. /etc is a copy in memory; the spool, which is measured, is on disk.
MOUNTS = """
mount -t tmpfs -o mode=755 tmpfs /srv
mkdir /srv/etc /srv/etc.work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/srv/etc,workdir=/srv/etc.work /etc
mount -t overlay overlay -o lowerdir={lower}:/usr /usr
mount -o remount,suid,exec /usr
mount --bind {spool} /var/spool
echo ready
exec tail -f /dev/null
"""


def own(path, user="root", group="root", mode=0o755):
    """A directory as the package's own scripts make it."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, USERS.get(user) or pwd.getpwnam(user).pw_uid,
             USERS.get(group) or grp.getgrnam(group).gr_gid)
    path.chmod(mode)


def _fill_spool(spool):
    """The spools as their packages' own scripts make them."""
    spool.mkdir()
    spool.chmod(0o755)
    own(spool / "postfix/maildrop", "postfix", "postdrop", 0o1730)
    own(spool / "postfix/public", "postfix", "postdrop", 0o710)
    own(spool / "dma", "root", "mail", 0o2775)
    for name in ("queue", "tmp", "failed"):
        own(spool / "nullmailer" / name, "mail", "mail", 0o700)
    trigger = spool / "nullmailer/trigger"
    os.mkfifo(trigger)
    trigger.chmod(0o622)
    shutil.chown(trigger, "mail", "mail")
    own(spool / "cenmail", "cenmail", "cenmail", 0o700)


class Rivals:
    """argv(NAME) is the command line that hands a message over; run() runs one."""

    programs = {"/bin/true": ["/bin/true"],
                "static insert": [f"{OURS}/floor", "/var/spool/cenmail/queue.db"],
                "cenmail": [f"{OURS}/sendmail", "-t", "-i"],
                "dma": ["/usr/sbin/dma", "-t", "-i"],
                "nullmailer": ["/usr/bin/nullmailer-inject"],
                "Postfix": ["/usr/sbin/sendmail", "-t", "-i"]}

    def __init__(self, directory):
        ours, self.spool = directory / "ours/usr", directory / "spool"
        peers.fetch_rivals(directory)
        for name, mode in (("sendmail", 0o4755), ("cenmail-flush", 0o755), ("bench/floor", 0o755)):
            to = ours / "libexec/cenmail" / os.path.basename(name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(build_dir() / name, to)
            to.chmod(mode)
        _fill_spool(self.spool)
        lower = ":".join(str(p) for p in [ours, peers.fetch() / "postfix/usr",
                                     *(directory / p / "usr" for p in peers.RIVALS)])
        self.holder = Program("rivals", ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                                         MOUNTS.format(lower=lower, spool=self.spool)])
        self.holder.line(lambda line: line == "ready")
        self.root = pathlib.Path(f"/proc/{self.holder.pid}/root")
        self._configure(self.root)
        self.init()

    def close(self):
        self.holder.close()

    @staticmethod
    def _configure(root):
        for name, number in USERS.items():
            for file, text in (("passwd", f"{name}:x:{number}:{number}::/nonexistent:/bin/false"),
                               ("group", f"{name}:x:{number}:")):
                with open(root / "etc" / file, "a", encoding="utf-8") as f:
                    f.write(text + "\n")
        for path, text in CONFIGURATION.items():
            to = root / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(text)

    def inside(self, argv):
        """The command line that runs argv in the namespace."""
        return ["nsenter", "-t", str(self.holder.pid), "-m", *map(str, argv)]

    def run(self, argv):
        done = run(self.inside(argv), env={"PATH": PATH})
        assert done.returncode == 0, f"{argv}: {done.stderr.decode()}"
        return done.stdout.decode()

    def init(self):
        """cenmail's queue, new and empty."""
        for old in (self.spool / "cenmail").iterdir():
            old.unlink() if old.is_file() else old.rmdir()
        self.run([f"{OURS}/cenmail-flush", "--init"])

    def stored(self, name):
        """How many messages of that program are on disk: a measurement of refusals is none."""
        if name == "/bin/true":
            return 0
        where = {"dma": "dma/Q*", "nullmailer": "nullmailer/queue/*", "Postfix": "postfix/maildrop/*"}
        if name in where:
            return len(list(self.spool.glob(where[name])))
        whose = "=" if name == "static insert" else "<>"
        return int(self.run(["sqlite3", "/var/spool/cenmail/queue.db",
                             f"select count(*) from message where message_id{whose}'<a@example.com>'"]))
