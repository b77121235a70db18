"""The addresses of a relay: IPv6, and a name with several of which some are dead. In a mount and network
namespace of its own, with its own /etc/hosts."""

import os
import subprocess

import pytest
from harness import build_dir, not_here
from hostile import Hostile

MAIL = "To: {}\nFrom: s@example.com\nSubject: s\n\nbody\n"


def test_ipv6(queue):
    far = Hostile("step", address="::1")
    queue.relay(far.url())
    queue.submit(MAIL.format("a@example.net"))
    done = queue.flush()
    assert done.sent == 1 and far.count("a@example.net") == 1
    assert f"relay=::1[::1]:{far.port}," in done.log
    far.close()


def with_hosts(queue, hosts):
    """The flusher, for which /etc/hosts says that."""
    if os.getuid() != 0:
        not_here("a mount namespace needs root")
    (queue.directory / "hosts").write_text(hosts)
    (queue.directory / "nsswitch").write_text("hosts: files\n")
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-ec",
         'mount --bind "$1" /etc/hosts; mount --bind "$2" /etc/nsswitch.conf; shift 2; exec "$@"', "sh",
         queue.directory / "hosts", queue.directory / "nsswitch", build_dir() / "cenmail-flush", "-C",
         queue.conf, "-v", "--once"], capture_output=True, text=True, timeout=40, check=True)


@pytest.mark.parametrize("live, dead", [
    ("127.0.0.1", ["::1", "127.0.0.9"]), ("::1", ["127.0.0.1", "127.0.0.9"])])
def test_a_name_with_dead_addresses(queue, live, dead):
    """All of A and AAAA are tried, of either kind, before the relay counts as down."""
    far = Hostile("step", address=live)
    queue.relay(far.url(host="relay.test"))
    queue.submit(MAIL.format("a@example.net"))
    said = with_hosts(queue, "".join(f"{a} relay.test\n" for a in [*dead, live])).stdout
    assert " 1 sent, " in said, said
    assert far.count("a@example.net") == 1 and queue.value("select count(*) from attempt") == 1
    far.close()


def test_all_are_dead_and_the_name_is_not_known(queue):
    """A fault of the road, whichever it is; the mail stays as it was."""
    far = Hostile("step")
    far.close()
    queue.relay(far.url(host="relay.test"))
    queue.submit(MAIL.format("a@example.net"))
    for hosts in ("127.0.0.1 relay.test\n::1 relay.test\n", "127.0.0.1 other.test\n"):
        queue.as_program("delete from road")
        with_hosts(queue, hosts)
        row, = queue.sql("select * from recipient")
        assert (row["state"], row["tries"]) == ("queued", 0), dict(row)
    assert [r["maybe_sent"] for r in queue.attempts] == [0, 0]
