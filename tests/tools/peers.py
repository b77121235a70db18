"""Programs by others, as callers and peers: fetched from Debian and unpacked beside the system,
never installed, as some of them would bring a mail-transport-agent along, and others a daemon.

`python3 tests/tools/peers.py` fetches them (./install.sh check does); a test run that finds them
missing tries by itself. apt works out what they depend on; Postfix among them is what satisfies
those that want a mail server, and it is unpacked in a place of its own: its sendmail is not ours."""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

PEERS = ["postfix", "bsd-mailx", "s-nail", "mutt", "git-email", "php-cli", "libemail-sender-perl",
         "libmime-lite-perl", "ruby-mail", "cron", "at", "anacron", "logwatch", "fail2ban",
         "pflogsumm"]
ALONE = ["mdadm"]  # without what it depends on (udev): only its monitor is of interest
RIVALS = ["dma", "nullmailer"]  # each a mail server in Postfix's place, for the benchmark alone
MTAS = ["exim4-daemon-light", "msmtp", "opensmtpd"]  # clients of the listener: tests/tools/mta.py
APART = {"postfix", *RIVALS}
BYTES_MAX = 60_000_000  # they are half of that
TRIES = 3


class CantBeHad(Exception):
    """Why the packages are not there, for people."""


def _cache():
    path = pathlib.Path(tempfile.gettempdir()) / f"cenmail-test-packages-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    assert found.st_uid == os.getuid() and not found.st_mode & 0o022, f"{path} is not ours alone"
    return path


def _run(argv, **more):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, **more)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise CantBeHad(f"{argv[0]}: {e}") from None
    if done.returncode != 0:
        raise CantBeHad(f"{' '.join(argv[:2])}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _installed():
    said = _run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    return set(re.findall(r"^(\S+) installed$", said, re.M))


def _apt(directory):
    """apt-get that changes nothing of the system's, its caches least of all."""
    (directory / "archives/partial").mkdir(parents=True, exist_ok=True)
    return ["apt-get", "-y", "-qq", "--no-install-recommends", "-o", f"Dir::Cache={directory}",
            "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]


def _wanted(directory, packages, alone=()):
    """NAME=VERSION of all that is needed and not installed here; they are not too much."""
    said = _run([*_apt(directory), "--print-uris", "install", *packages])
    if alone:
        said += _run([*_apt(directory), "--print-uris", "download", *alone], cwd=directory)
    found = re.findall(r"^'[^']*' ([a-z0-9+.-]+)_(\S+)_\w+\.deb (\d+)", said, re.M)
    have = _installed() - set(packages)
    wanted = [(name, version.replace("%3a", ":")) for name, version, _ in found if name not in have]
    size = sum(int(n) for name, _, n in found if name not in have)
    if size > BYTES_MAX:
        raise CantBeHad(f"they would be {size} octets, and {BYTES_MAX} are the most")
    return wanted


UNREAD = ("man", "doc", "info", "locale", "lintian", "bash-completion")  # below usr/share


def _tidy(root):
    """/bin, /sbin and /lib are /usr's, as on the system; what no program reads is not kept."""
    for name in UNREAD:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / name).is_dir():
            shutil.copytree(root / name, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(root / name)


def _unpack(archives, tree):
    """A file of Postfix's into `tree`/postfix, one apart likewise, all others into /all."""
    for archive in sorted(archives):
        package = archive.name.split("_")[0]
        to = tree / (package if package in APART else "all")
        to.mkdir(parents=True, exist_ok=True)
        _run(["dpkg", "-x", str(archive), str(to)])
        _tidy(to)


def _fill(tree):
    with tempfile.TemporaryDirectory(dir=_cache()) as new:
        new = pathlib.Path(new)
        wanted = _wanted(new, PEERS, ALONE)
        _run([*_apt(new), "download", *(f"{name}={version}" for name, version in wanted)], cwd=new)
        _unpack(new.glob("*.deb"), tree)
    (tree / "versions").write_text("".join(f"{name} {version}\n" for name, version in wanted))


def _fill_mtas(tree):
    """Each with what it needs in a place of its own: they exclude each other."""
    for package in MTAS:
        with tempfile.TemporaryDirectory(dir=_cache()) as new:
            new = pathlib.Path(new)
            wanted = _wanted(new, [package])
            _run([*_apt(new), "download", *(f"{n}={version}" for n, version in wanted)], cwd=new)
            for archive in new.glob("*.deb"):
                _run(["dpkg", "-x", str(archive), str(tree / package)])
            _tidy(tree / package)
        (tree / package / "version").write_text(dict(wanted)[package])


def _once(name, mark, packages, fill):
    """Filled by whoever comes first: test runs share it."""
    stamp = "".join(f"{p}\n" for p in packages)
    tree, mark = _cache() / name, _cache() / mark
    with open(_cache() / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != stamp:
            mark.unlink(missing_ok=True)
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            fill(tree)
            mark.write_text(stamp)
    return tree


def fetch():
    """The tree of the peers."""
    return _once("tree", "complete", PEERS + ALONE, _fill)


def fetch_mtas():
    """What is in MTAS, each in a directory of its name."""
    return _once("mtas", "mtas.complete", MTAS, _fill_mtas)


def fetch_rivals(directory):
    """The benchmark's own into `directory`, one beside the other."""
    _run([*_apt(directory), "download", *RIVALS], cwd=directory)
    _unpack(directory.glob("*.deb"), directory)


def version(package):
    """As Debian has it, of what was unpacked or else is installed."""
    found = re.search(rf"^{re.escape(package)} (\S+)$", (fetch() / "versions").read_text(), re.M)
    return found[1] if found else _run(["dpkg-query", "-W", "-f", "${Version}", package])


def tree(what=fetch):
    """The tree, for a test, which is skipped where it can't be had."""
    try:
        return what()
    except CantBeHad as why:
        pytest.skip(f"the programs of others can't be had: {why}")


class Peer:
    """A program of an unpacked package, run outside of a Host (tests/tools/host.py)."""

    def __init__(self, package):
        self.root = tree() / (package if package in APART else "all")

    @property
    def env(self):
        """With the libraries that were unpacked, after the system's."""
        libraries = [self.root / "usr/lib/postfix",
                     *sorted((self.root.parent / "all/usr/lib").glob("*-linux-gnu"))]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(str(p) for p in libraries)}

    def program(self, path):
        program = self.root / path
        assert program.exists(), f"{program} is not in the package"
        return program


def free_port():
    """For programs that can't say which port the kernel gave them. Another process might take it
    in between; nothing else here asks for named ports."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def accepts(port):
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def main():
    why = None
    for _ in range(TRIES):
        try:
            print(f"peers of the tests are unpacked in {fetch()} and {fetch_mtas()}")
            return 0
        except CantBeHad as e:
            why = e
        with contextlib.suppress(CantBeHad):
            _run(["apt-get", "update", "-qq"])
    print(f"peers of the tests can't be had, so their tests will be skipped: {why}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
