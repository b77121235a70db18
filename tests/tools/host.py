"""A host of its own for a test: this machine's files, which it can't write, with the programs of
peers.py unpacked among them at their proper places, cenmail as `make install` leaves it, users, and
a log. All of it is one directory and a mount namespace; nothing of the machine's own changes."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import parts
import peers
from harness import ROOT, Program, build_dir, not_here, run

USERS = {"cenmail": 64001, "deploy": 64002, "other": 64003}
FULL_NAMES = {"deploy": "Dienst & Co,,,", "other": "Zhang Wei"}
# Folders that are written, or have something of cenmail's: they are the host's own, and what the
# machine has in them stands there as links.
OWN = ["dev", "etc/cenmail", "etc/cron.d", "etc/systemd/system", "home", "proc", "root", "run",
       "tmp", "usr/bin", "usr/lib/systemd/system", "usr/sbin", "usr/share/doc", "usr/share/man",
       "var/lib/dpkg/info", "var/log", "var/spool/cron", "var/tmp"]
COPIED = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid",
          "var/lib/dpkg/diversions", "var/lib/dpkg/status"]
EMPTY = {"dev", "home", "proc", "root", "run", "tmp", "usr/share/doc", "usr/share/man",
         "var/log", "var/tmp", "etc/cron.d", "var/spool/cron"}
DEVICES = ["null", "zero", "full", "random", "urandom"]
MAIL_FILES = ["/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def _copy(source, to):
    """With mode and owner. Set-user-ID survives chown only when it is set last."""
    shutil.copy2(source, to)
    found = source.stat()
    os.chown(to, found.st_uid, found.st_gid)
    os.chmod(to, found.st_mode)


class _Tree:
    """The host's root, made of links to /host and /peers but where something is written."""

    def __init__(self, root, overlay, mounts):
        self.root, self.overlay = root, overlay
        mounts = [str(m).lstrip("/") for m in mounts]
        self.own = {str(p) for path in OWN + mounts
                    for p in [pathlib.Path(path), *pathlib.Path(path).parents]}
        self.empty = EMPTY.union(mounts)

    def build(self, at=""):
        here, machine = self.root / at, pathlib.Path("/") / at
        over = self.overlay / at
        here.mkdir(exist_ok=True)
        added = set(os.listdir(over)) if over.is_dir() else set()
        below = {p for p in self.own if p != "." and os.path.dirname(p) == at}
        names = set() if at in self.empty or not machine.is_dir() else \
            {n for n in os.listdir(machine) if not n.endswith(("-", ".lock"))}  # useradd's own
        for name in names | added | {os.path.basename(p) for p in below}:
            self._entry(os.path.join(at, name), name in added)

    def _entry(self, path, added):
        to, machine = self.root / path, pathlib.Path("/") / path
        over = self.overlay / path if added else None
        if path in self.own or (over and over.is_dir() and not over.is_symlink()
                                and (machine.is_dir() or self._written(path))):
            self.build(path)
            if over and over.is_dir():
                found = over.stat()
                os.chown(to, found.st_uid, found.st_gid)
                os.chmod(to, found.st_mode)
        elif over and (self._written(path) or over.is_symlink()):
            if over.is_symlink():
                to.symlink_to(os.readlink(over))
            else:
                _copy(over, to)
        elif over:
            to.symlink_to(f"/peers/{path}")
        elif path in COPIED:
            _copy(machine, to)
        elif os.path.islink(machine) and not path.startswith("etc/"):
            to.symlink_to(os.readlink(machine))
        else:
            to.symlink_to(f"/host/{path}")

    @staticmethod
    def _written(path):
        return path.startswith(("etc/", "var/"))


class Syslog:
    """What the host's programs say to /dev/log."""

    def __init__(self, path):
        self.lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o666)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := self._socket.recv(65536):
            self.lines.append(data.decode("utf-8", "replace").rstrip("\n\0"))

    @property
    def text(self):
        return "\n".join(self.lines)


def make_install(to):
    build = os.path.relpath(build_dir(), ROOT)
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "-s", f"BUILD={build}", f"SAN={os.environ.get('CENMAIL_SAN', '')}",
                    "ROLE=sender", f"DESTDIR={to}", "install"], cwd=ROOT, env=env, check=True,
                   capture_output=True, timeout=300)


class Host:
    """run(…, user=…) runs a program there; queue() makes its queue anew."""

    def __init__(self, shared, users=USERS):
        """shared: a directory that is there too, under the same name; certificates, say. So is the
        source tree, for reading."""
        if os.getuid() != 0:
            not_here("a host with users of its own needs root")
        tree = peers.tree()
        # Thousands of links: where memory holds them that is quick.
        self.root = pathlib.Path(tempfile.mkdtemp(
            prefix="cenmail-host-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.root.chmod(0o755)
        _Tree(self.root, tree / "all", [shared, ROOT]).build()
        self._users(users)
        self.log = Syslog(self.root / "dev/log")
        self.holder = Program("host", ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                                       self._mounts(tree / "all", shared)])
        try:
            self.holder.line(lambda line: line == "ready")
        except AssertionError as why:
            self.close()
            not_here(f"mount namespaces are not permitted here: {why}")

    def close(self):
        self.holder.close()  # and its mounts with it
        shutil.rmtree(self.root)

    def _users(self, users):
        with open(self.root / "etc/passwd", "a", encoding="utf-8") as passwd, \
                open(self.root / "etc/group", "a", encoding="utf-8") as group, \
                open(self.root / "etc/shadow", "a", encoding="utf-8") as shadow:
            for name, number in users.items():
                home = self.root / "home" / name
                home.mkdir()
                os.chown(home, number, number)
                passwd.write(f"{name}:x:{number}:{number}:{FULL_NAMES.get(name, '')}:/home/{name}:"
                             "/bin/sh\n")
                group.write(f"{name}:x:{number}:\n")
                shadow.write(f"{name}:*:20000:0:99999:7:::\n")

    def _mounts(self, overlay, shared):
        root = self.root
        for name in DEVICES:
            (root / "dev" / name).touch()
        for name in ("host", "peers"):
            (root / name).mkdir()
        os.chmod(root / "tmp", 0o1777)
        os.chmod(root / "var/tmp", 0o1777)
        lines = [f"mount --bind {root} {root}", f"mount -o remount,bind,suid,dev,exec {root}",
                 f"mount --bind / {root}/host"]
        lines += [f"mount --bind {m} {root}/host{m}" for m in ("/usr", "/etc", "/var", "/var/lib")
                  if os.path.ismount(m)]
        lines += [f"mount -o remount,bind,ro {root}/host"]
        lines += [f"mount --bind {overlay} {root}/peers",
                  f"mount -o remount,bind,ro,suid,exec {root}/peers"]
        lines += [f"mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES]
        lines += [f"mount -t proc proc {root}/proc", f"mount -t tmpfs tmpfs {root}/run",
                  f"mount --bind {ROOT} {root}{ROOT}", f"mount -o remount,bind,ro {root}{ROOT}",
                  f"mount --bind {shared} {root}{shared}",
                  f"exec chroot {root} /bin/sh -c 'echo ready; exec sleep 100000'"]
        return "\n".join(lines)

    def install(self):
        """cenmail's sending part, by `make install`; root's files are root's, the spool its own."""
        make_install(self.root)
        os.chown(self.root / "var/spool/cenmail", USERS["cenmail"], USERS["cenmail"])

    def argv(self, argv, user="root"):
        """The command line that runs argv there as that user."""
        who = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}",
                                         "--init-groups"]
        return ["nsenter", "-t", str(self.holder.pid), "-m", "-r", "-w", *who, *map(str, argv)]

    @staticmethod
    def env(user="root", **more):
        home = "/root" if user == "root" else f"/home/{user}"
        return {"PATH": PATH, "HOME": home, "USER": user, "LOGNAME": user, "LC_ALL": "C.UTF-8",
                **more}

    def run(self, argv, stdin=b"", user="root", deadline=60, **env):
        """A program there, to its end."""
        return run(self.argv(argv, user), stdin, deadline, self.env(user, **env))

    def put(self, path, text, mode=0o644, user="root"):
        """A file there."""
        to = self.root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(text if isinstance(text, bytes) else text.encode())
        owner = 0 if user == "root" else USERS[user]
        os.chown(to, owner, owner)
        to.chmod(mode)

    def start(self, argv, user="root", **env):
        """A program there that runs beside the test; close() ends it."""
        return Program(os.path.basename(str(argv[0])), self.argv(argv, user),
                       env=self.env(user, **env))

    def queue(self, **settings):
        """Its queue, new and empty, and cenmail.conf."""
        return HostQueue(self, **settings)


class HostQueue(parts.Queue):
    """The queue at its compiled-in place; sendmail is what stands at /usr/sbin/sendmail."""

    def __init__(self, host, **settings):
        self.host = host
        self.directory = host.root / "etc/cenmail"
        self.database = host.root / "var/spool/cenmail/queue.db"
        self.conf = self.directory / "cenmail.conf"
        host.run(["find", "/var/spool/cenmail", "-mindepth", "1", "-delete"])
        self.settings = {"hostname": "shanghai.example.com", "domain": "example.com", "linger": "0",
                         "aliases": "/etc/aliases", "postmaster": "ops@example.com", **settings}
        self.relays = []
        host.put("/etc/aliases", "")
        self.write()
        done = self.run_flush("--init")
        assert done.returncode == 0, done.stderr.decode()

    def sendmail(self, *args, stdin=b"", deadline=60, user="deploy"):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return self.host.run(["/usr/sbin/sendmail", *args], stdin, user, deadline)

    def run_flush(self, *args, deadline=60):
        return self.host.run(["/usr/sbin/cenmail-flush", *args], deadline=deadline)
