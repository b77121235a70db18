"""Programs that carry a full queue to a next hop: ours, Postfix, dma and nullmailer. Each has
name, messages (how many it is given: slow ones get fewer), fill(), once, and carry(port), which is
called anew for each measurement and ends when the far side has them all.

The others run in the namespace of rivals.py, their daemons in one of processes too: its end is the
end of all of them."""

import contextlib
import os
import re
import shutil
import time

import corpus
import mta
import parts
import rivals
from harness import Program, build_dir, run, wait_for

POSTFIX_DIRECTORIES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                       "pid", "private", "saved", "trace", "data")
MAIN_CF = """
compatibility_level = 3.6
queue_directory = /var/spool/{name}
data_directory = /var/spool/{name}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = shanghai.example.com
mydestination =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
maillog_file = /dev/stdout
"""
MASTER_CF = mta.POSTFIX_SERVICES + """
pickup unix n - n 60 1 pickup
relay unix - - n - - smtp
anvil unix - - n - 1 anvil
"""


def cpu_of(pid):
    """Seconds that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid):
    """A process and all below it."""
    children = [line.split() for line in run(["ps", "-e", "-o", "ppid=,pid="]).stdout.decode().splitlines()]
    found = [pid]
    for one in found:
        found += [int(child) for parent, child in children if int(parent) == one]
    return found


@contextlib.contextmanager
def closing(part):
    try:
        yield part
    finally:
        part.program.close()


class Cenmail:
    """Our own flusher, which goes when nothing is due."""

    def __init__(self, full, connections=1):
        self.full, self.messages, self.connections = full, len(full.ids), connections
        self.name = f"cenmail, {connections} connection{'s' if connections > 1 else ''}"

    def carry(self, directory, url, arrived):
        """Seconds, and those of the processor."""
        queue = parts.Queue(directory / "shanghai")
        self.full.pour(queue)
        queue.write(connections=self.connections)
        queue.relay(url)
        os.sync()
        began, before = time.monotonic(), os.times()
        program = queue.flusher()
        arrived(self.messages)
        seconds = time.monotonic() - began
        program.wait()
        after = os.times()
        assert queue.states() == {"sent": self.messages}, program.log[-2000:]
        return seconds, (after.children_user + after.children_system
                         - before.children_user - before.children_system)


class Rival:
    """One of the others."""

    def __init__(self, space, directory, name, messages, spool=None):
        self.space, self.name, self.messages = space, name, messages
        self.spool, self.saved = space.spool / (spool or name), directory / f"saved-{name}"
        self.message = directory / "message"
        self.message.write_bytes(corpus.plain(1))

    def submit(self, argv, **env):
        done = run(self.space.inside([build_dir().resolve() / "tools/callers", min(4, self.messages), self.messages, self.message,
                                      *argv]), env={"PATH": rivals.PATH, **env}, deadline=300)
        assert done.returncode == 0, done.stderr.decode()

    def save(self):
        self._copy(self.spool, self.saved)

    def restore(self):
        shutil.rmtree(self.spool)
        self._copy(self.saved, self.spool)

    @staticmethod
    def _copy(source, to):
        """With owners and modes."""
        done = run(["cp", "-a", "-T", source, to])
        assert done.returncode == 0, done.stderr.decode()

    @contextlib.contextmanager
    def running(self, argv, **env):
        program = Program(self.name, self.space.inside(
            ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", '"$@" & wait', "sh", *argv]), env={"PATH": rivals.PATH, **env})
        try:
            yield program
        finally:
            program.kill()  # and with it the shell, and with that all the others




class Postfix(Rival):
    """With a queue and a configuration of its own beside others of it. Its queue is full when all is
    deferred, as after an outage; the clock starts at `postqueue -f`."""

    def __init__(self, space, directory, name, messages, settings="", services=""):
        self.instance = "postfix-" + re.sub(r"\W+", "-", name)
        super().__init__(space, directory, name, messages, self.instance)
        self.settings, self.services = settings, services
        self.etc = space.root / "etc" / self.instance
        self.env = {"MAIL_CONFIG": f"/etc/{self.instance}"}
        self.etc.mkdir()
        rivals.own(self.spool)
        for sub in POSTFIX_DIRECTORIES:
            rivals.own(self.spool / sub, "root" if sub == "pid" else "postfix", "root", 0o700)
        rivals.own(self.spool / "maildrop", "postfix", "postdrop", 0o1730)
        rivals.own(self.spool / "public", "postfix", "postdrop", 0o710)

    def configure(self, more=""):
        (self.etc / "main.cf").write_text(MAIN_CF.format(name=self.instance) + self.settings + more)
        (self.etc / "master.cf").write_text(MASTER_CF + self.services)

    @contextlib.contextmanager
    def started(self, more=""):
        self.configure(more)
        with self.running(["/usr/lib/postfix/sbin/master", "-s"], **self.env) as program:
            program.line(lambda line: "daemon started" in line)
            yield program

    def fill(self):
        self.configure()
        self.submit(["/usr/sbin/sendmail", "-t", "-i"], **self.env)
        with self.started("defer_transports = smtp\n"):
            def deferred():
                return len([p for p in (self.spool / "deferred").rglob("*") if p.is_file()])
            wait_for(lambda: deferred() == self.messages, 120, f"{self.messages} deferred")
        self.save()

    def flush(self):
        done = run(self.space.inside(["/usr/sbin/postqueue", "-f"]), env={"PATH": rivals.PATH, **self.env})
        assert done.returncode == 0, done.stderr.decode()

    def carry(self, directory, url, arrived):
        self.restore()
        self.configure("maillog_file =\n")  # its queue files are named by their inodes
        done = run(self.space.inside(["/usr/sbin/postsuper", "-s"]), env={"PATH": rivals.PATH, **self.env})
        assert done.returncode == 0, done.stderr.decode()
        port = url.rsplit(":", 1)[1]
        with self.started(f"relayhost = [127.0.0.1]:{port}\n"):
            os.sync()
            began = time.monotonic()
            self.flush()
            arrived(self.messages)
            return time.monotonic() - began, None


class Dma(Rival):
    """A process for each message, all at once."""

    def fill(self):
        self.submit(["/usr/sbin/dma", "-t", "-i"])
        self.save()

    def carry(self, directory, url, arrived):
        self.restore()
        port = url.rsplit(":", 1)[1]
        (self.space.root / "etc/dma/dma.conf").write_text(
            rivals.CONFIGURATION["etc/dma/dma.conf"] + f"SMARTHOST 127.0.0.1\nPORT {port}\n")
        os.sync()
        began = time.monotonic()
        with self.running(["sh", "-c", "/usr/sbin/dma -q; sleep 600"]):
            arrived(self.messages)
            return time.monotonic() - began, None


class Nullmailer(Rival):
    """One message after the other, each over a connection of its own."""

    def fill(self):
        self.submit(["/usr/bin/nullmailer-inject"])
        self.save()

    def carry(self, directory, url, arrived):
        self.restore()
        port = url.rsplit(":", 1)[1]
        (self.space.root / "etc/nullmailer/remotes").write_text(f"127.0.0.1 smtp --port={port}\n")
        os.sync()
        began = time.monotonic()
        with self.running(["setpriv", "--reuid", "mail", "--regid", "mail", "--clear-groups",
                           "/usr/sbin/nullmailer-send"]):
            arrived(self.messages)
            return time.monotonic() - began, None
