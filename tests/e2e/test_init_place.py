"""Where the queue may live: --init refuses a network file system, as the kernel names it, and makes
nothing there. The answer of statfs(2) is the kernel's here, but for its type."""

import parts
import pytest
from harness import build_dir, not_here, run

NETWORK = {"NFS": 0x6969, "CIFS": 0xff534d42, "SMB2": 0xfe534d42, "Ceph": 0x00c36400, "9P": 0x01021997,
           "AFS": 0x5346414f, "Lustre": 0x0bd00bd0, "OCFS2": 0x7461636f, "GFS2": 0x01161970}
LOCAL = {"ext4": 0xef53, "XFS": 0x58465342, "btrfs": 0x9123683e, "tmpfs": 0x01021994}


def init_on(queue, kind):
    poke = kind.to_bytes(8, "little").hex()
    done = run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=statfs", "-e",
                f"inject=statfs:poke_exit=@arg2={poke}", build_dir() / "cenmail-flush", "-C",
                queue.conf, "--init"])
    if b"invalid" in done.stderr.lower() and b"poke" in done.stderr:
        not_here("this strace can't change what a system call answers")
    return done


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
    return parts.Queue(tmp_path / "shanghai", init=False)


@pytest.mark.parametrize("kind", NETWORK)
def test_a_network_file_system_is_refused(place, kind):
    done = init_on(place, NETWORK[kind])
    assert done.returncode == 78, done
    assert b"is on a network file system, whose locks can't be relied on" in done.stderr
    assert list(place.database.parent.iterdir()) == []


@pytest.mark.parametrize("kind", LOCAL)
def test_a_local_one_is_not(place, kind):
    assert init_on(place, LOCAL[kind]).returncode == 0
    assert place.database.exists()
