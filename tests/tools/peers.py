"""Programs by others, as peers: fetched from Debian and unpacked beside the system, never
installed, as some of them would bring a mail-transport-agent along."""

import contextlib
import fcntl
import glob
import os
import pathlib
import socket
import subprocess
import tempfile

import pytest

# What else has to be unpacked with it, where the system has it not.
BESIDE = {"bsd-mailx": ["liblockfile1", "libbsd0"], "s-nail": ["libidn2-0", "libtinfo6"],
          "postfix": ["libicu72", "libdb5.3", "libnsl2"]}


def _cache():
    path = pathlib.Path(tempfile.gettempdir()) / f"cenmail-test-packages-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    assert found.st_uid == os.getuid() and not found.st_mode & 0o022, f"{path} is not ours alone"
    return path


@contextlib.contextmanager
def _alone(package):
    """One process at a time unpacks it: test runs share the cache."""
    with open(_cache() / f".{package}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(package, directory):
    done = subprocess.run(["apt-get", "download", "-q", package], cwd=directory, timeout=300,
                          capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def _missing(program, env):
    done = subprocess.run(["ldd", program], capture_output=True, text=True, env=env, check=False)
    return "not found" in done.stdout


class Peer:
    """An unpacked package."""

    def __init__(self, package):
        self.root = _cache() / package
        with _alone(package):
            if not (self.root / "unpacked").exists():
                self._unpack(package)

    def _unpack(self, package):
        with tempfile.TemporaryDirectory() as new:
            good, why = _download(package, new)
            if not good:
                pytest.skip(f"{package} can't be had: apt-get download says: {why.strip()[-200:]}")
            for beside in BESIDE.get(package, []):
                _download(beside, new)
            for archive in glob.glob(f"{new}/*.deb"):
                subprocess.run(["dpkg", "-x", archive, str(self.root)], check=True, timeout=120)
        (self.root / "unpacked").touch()

    @property
    def env(self):
        """With its own libraries, after the system's."""
        libraries = [self.root / "usr/lib/postfix",
                     *[pathlib.Path(p) for p in glob.glob(f"{self.root}/usr/lib/*-linux-gnu")]]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(str(p) for p in libraries)}

    def program(self, path):
        program = self.root / path
        assert program.exists(), f"{program} is not in the package"
        if _missing(program, self.env):
            pytest.skip(f"{program.name} lacks a library here")
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
