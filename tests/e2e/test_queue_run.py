"""`sendmail -q`: what waits becomes due and the flusher sends it; -qI, -qS and -qR choose.

The flusher is started by the path that was compiled in: the build stands there, in a mount namespace
of the test's own."""

import os
import re

import pytest

import installed
from harness import build_dir, run

USAGE, OSERR, NOPERM, NO_RELAY = 64, 71, 77, 78

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root makes mount namespaces everywhere")

# What the tests submit: from, to
MAIL = [("root@a.example", "x@one.example"), ("web@a.example", "x@two.example"),
        ("web@a.example", "y@one.example")]


def fill(queue):
    """Three messages that wait for most of an hour, and one that is held."""
    queue.write(retry_max="2d")
    queue.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                    'mount --bind "$0" /usr/sbin; exec "$@"', build_dir()]
    for sender, to in MAIL + [("web@a.example", "held@one.example")]:
        queue.submit(f"To: {to}\nFrom: {sender}\nSubject: s\n\nz\n", "-t", "-f", sender)
    queue.sql("update recipient set next_try=next_try+3000000")
    queue.sql("update recipient set state='held' where id=4")
    queue.sql("delete from attempt")


@pytest.fixture
def way(road):
    one = road()
    fill(one.queue)
    assert one.queue.flush().sent == 0
    return one


@pytest.fixture
def waiting(queue):
    """The same without a road: enough to see what becomes due."""
    fill(queue)
    return queue


def made_due(queue):
    return [row[0] for row in queue.sql("select recipient from attempt where relay='by hand' and"
                                        " reply='due now' order by id")]


def states(queue):
    return [row[0] for row in queue.sql("select state from recipient order by id")]


def test_all_that_waits_is_sent_and_what_is_held_is_not(way):
    done = way.queue.sendmail("-q", "-v")
    assert done.returncode == 0, done.stderr
    assert b"3 recipients that waited are due now" in done.stderr
    assert b"uid=0: -q, 3 recipients became due" in done.stderr
    assert b"3 sent" in done.stdout
    assert states(way.queue) == ["sent", "sent", "sent", "held"]
    assert len(way.ses.messages) == 3
    assert [(row["id"], row["relay"]) for row in way.queue.attempts
            if row["reply"] == "due now"] == [(1, "by hand"), (2, "by hand"), (3, "by hand")]


@pytest.mark.parametrize("args, due", [
    (["-qf"], [1, 2, 3]), (["-qI2"], [2]), (["-qI0000000002"], [2]), (["-qI20"], []),
    (["-qI1", "-qI3"], [1, 3]), (["-q!I1"], [2, 3]), (["-qRone.example"], [1, 3]),
    (["-qSROOT@"], [1]), (["-qSweb", "-qRone"], [3]), (["-qRheld@"], [])])
def test_choices(waiting, args, due):
    assert waiting.sendmail(*args).returncode == NO_RELAY
    assert made_due(waiting) == due


def test_choices_of_a_listing(waiting):
    for args, want in [(["-qRone.example"], ["x@one.example", "y@one.example", "held@one.example"]),
                       (["-qSroot"], ["x@one.example"]), (["-qI2"], ["x@two.example"]), (["-qI9"], [])]:
        done = waiting.sendmail("-bp", *args)
        assert done.returncode == 0, done.stderr
        assert [line.split()[-1] for line in done.stdout.decode().splitlines()
                if line.startswith("      ")] == want, args


def test_a_flusher_that_runs_sends_it(way, wait_for):
    """It leaves at once, and does not wait for its turn as cron's next one does."""
    way.queue.write(linger="30s")
    flusher = way.queue.flusher()
    wait_for(lambda: "sasl_username" in way.listener.program.log, what="a connection")
    done = way.queue.sendmail("-q", "-v", deadline=20)
    assert done.returncode == 0, done.stderr
    assert b"another flusher runs" in done.stdout
    wait_for(lambda: states(way.queue) == ["sent", "sent", "sent", "held"], what="sent")
    assert flusher.process.poll() is None
    flusher.stop()


def test_once_goes_whatever_linger_says(way):
    way.queue.write(linger="1h")
    done = way.queue.sendmail("-q", deadline=30)
    assert done.returncode == 0, done.stderr
    assert states(way.queue) == ["sent", "sent", "sent", "held"]


def test_no_flusher_where_it_should_be(waiting, tmp_path):
    """The choice was made, and cron's next flusher sends it; but the caller hears of it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    waiting.prefix[-1] = empty
    done = waiting.sendmail("-q")
    assert done.returncode == OSERR and b"/usr/sbin/cenmail-flush: can't be started" in done.stderr
    assert made_due(waiting) == [1, 2, 3]


def test_no_recipients_and_no_message(waiting):
    for args in ["-q", "x@y"], ["-q", "-t"]:
        done = waiting.sendmail(*args, stdin=b"To: x@y\n\nz\n")
        assert done.returncode == USAGE, args
    assert made_due(waiting) == []


def test_who_may_not_write_the_queue(waiting, tmp_path):
    """Without the set-user-ID bit the caller's own rights count."""
    parent = tmp_path
    while str(parent) != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o111)
        parent = parent.parent
    for name in waiting.conf, waiting.directory:
        os.chmod(name, 0o755)
    binary = tmp_path / "sendmail"
    binary.write_bytes((build_dir() / "sendmail").read_bytes())
    os.chmod(binary, 0o755)
    done = run([binary, "-q"], env=waiting.env, user=65534, group=65534, extra_groups=[])
    assert done.returncode == NOPERM, done.stderr
    assert made_due(waiting) == []


def test_as_installed(host, ses, listener):
    """The flusher reads the relay's secret, which is root's alone, and then no file of the queue has
    become root's. Anybody else is refused, though the program is set-user-ID."""
    far = ses()
    near = listener(far.url)
    url, secret = near.url().split(" secret=")
    host.fresh(relay=url + " secret=/etc/cenmail/relay.secret", retry_max="2d", linger="0")
    host.path("/etc/cenmail/relay.secret").write_text(open(secret, encoding="utf-8").read())
    os.chmod(host.path("/etc/cenmail/relay.secret"), 0o600)
    for uid in installed.ALICE, installed.BOB:
        assert host.submit("-i", f"to{uid}@example.com", uid=uid).returncode == 0
    host.query("update recipient set next_try=next_try+3000000; delete from attempt;")

    for uid in installed.ALICE, installed.BOB:
        for args in ["-q"], ["-qI1"], ["-qf", "-v"]:
            done = host.run([installed.SENDMAIL, *args], uid=uid)
            assert done.returncode == NOPERM and b"for root and the owner" in done.stderr, done
    assert host.query("select count(*) from attempt") == [(0,)]

    done = host.run(["strace", "-f", "-o", "/srv/trace", "-e", "trace=openat,setresuid,execve",
                     installed.SENDMAIL, "-q"], uid=0)
    assert done.returncode == 0, done
    owners, opened = set(), []
    for pid, call in re.findall(r"^(\d+) +(.*)$", host.path("/srv/trace").read_text(), re.M):
        if f"setresuid({installed.CENMAIL}, " in call:
            owners.add(pid)
        elif f'"{installed.SPOOL}/queue' in call:
            opened.append(pid)
    assert len(set(opened)) == 2 and set(opened) <= owners  # the child, and the flusher
    assert host.query("select group_concat(state) from recipient") == [("sent,sent",)]
    assert len(far.messages) == 2
    assert {row[1:] for row in host.modes().values()} == {(installed.CENMAIL, installed.CENMAIL)}


def test_the_owner_of_the_queue_may_ask(host):
    """He is no root: what the flusher may not read it says."""
    host.fresh(retry_max="2d", linger="0", relay="lmtp://127.0.0.1:9")
    assert host.submit().returncode == 0
    host.query("update recipient set next_try=next_try+3000000; delete from attempt;")
    done = host.run([installed.SENDMAIL, "-q"], uid=installed.CENMAIL)
    assert done.returncode == 0, done
    assert host.query("select reply from attempt where relay='by hand'") == [("due now",)]
