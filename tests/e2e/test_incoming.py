"""The second way in (rule 9): when the queue can't be had within lock_wait, sendmail keeps the
message in incoming/ beside it, and the flusher takes it into the queue, once (A17, C10)."""

import concurrent.futures
import contextlib
import fcntl
import os
import re
import signal
import sqlite3
import subprocess
import time

import incoming
import kill_points
import pytest
from harness import build_dir, run

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody {}\n"
WAIT = 1.0   # lock_wait
SLACK = 4.0  # of a busy machine, for 8 callers on two processors
SOAK = "CENMAIL_SOAK" in os.environ


def send(queue, address, *args):
    began = time.monotonic()
    done = queue.sendmail("-v", "-t", "-i", *args, stdin=MAIL.format(address, address))
    done.took = time.monotonic() - began
    return done


def send_many(queue, count=8):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda i: send(queue, f"r{i}@example.net"), range(count)))


def check_arrived(far, addresses):
    """Each once, whatever the order."""
    assert sorted(r for m in far.messages for r in m["recipients"]) == sorted(addresses)


@pytest.fixture
def way(queue, ses):
    """A queue that waits a second, a relay, and its incoming/."""
    far = ses(tls="none", user=None)
    queue.write(lock_wait=f"{int(WAIT)}s")
    queue.relay(far.url)
    queue.ses, queue.incoming = far, incoming.Incoming(queue)
    return queue


# --- what is in the way ---


@pytest.fixture
def can_trace(monkeypatch):
    """ASan's leak check can't be traced."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


@contextlib.contextmanager
def frozen_sender(queue):
    """A sendmail that is stopped while it commits (A17): it has queue.lock and a transaction."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fdatasync", "-e",
         "inject=fdatasync:signal=STOP:when=1", "-o", "/dev/null", build_dir() / "sendmail", "-t"],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=queue.env)
    tracer.stdin.write(MAIL.format("frozen@example.net", "x").encode())
    tracer.stdin.close()
    end = time.monotonic() + 20
    while True:
        children = open(f"/proc/{tracer.pid}/task/{tracer.pid}/children", encoding="ascii").read()
        if children.split() and state_of(children.split()[0]) in "tT" and is_held(queue):
            break
        assert time.monotonic() < end
        time.sleep(0.01)
    pid = int(children.split()[0])
    yield f"process {pid} (sendmail, stopped)"
    os.kill(pid, signal.SIGCONT)
    assert tracer.wait(30) == 0
    queue.thawed = ["frozen@example.net"]


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def is_held(queue):
    with open(queue.database.parent / "queue.lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


@contextlib.contextmanager
def open_transaction(queue):
    """An operator who has gone to lunch."""
    shell = subprocess.Popen(["sqlite3", queue.database], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    shell.stdin.write("begin immediate;\nselect 'open';\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "open\n"
    yield f"process {shell.pid} (sqlite3) has a transaction open"
    shell.stdin.write("rollback;\n")
    shell.stdin.close()
    assert shell.wait(10) == 0
    shell.stdout.close()


@contextlib.contextmanager
def migration(queue):
    """`cenmail-flush --init` holds both locks as long as it takes."""
    with contextlib.ExitStack() as locks:
        for name in ("flush.lock", "queue.lock"):
            held = locks.enter_context(open(queue.database.parent / name, "r+b"))
            fcntl.flock(held, fcntl.LOCK_EX)
        yield f"process {os.getpid()} ("


@pytest.mark.parametrize("obstacle", [frozen_sender, open_transaction, migration])
def test_eight_senders_while_the_queue_is_held(way, obstacle, can_trace):
    """A17, C10: all are accepted in time, the holder is named, nothing is lost or doubled after."""
    way.thawed = []
    with obstacle(way) as holder:
        for done in send_many(way):
            assert done.returncode == 0, done.stderr
            assert done.took < WAIT + SLACK
            assert holder in done.stderr.decode()
            assert b"kept in incoming/ as " in done.stderr
        assert len(way.incoming.names) == 8
    run_done = way.flush()
    assert run_done.code == 0 and way.incoming.names == []
    check_arrived(way.ses, [f"r{i}@example.net" for i in range(8)] + way.thawed)
    assert sum(row["submitted"] for row in way.sql("select submitted from hourly")) == \
        8 + len(way.thawed)
    way.whole()


# --- the database is not what it should be ---


@contextlib.contextmanager
def away(queue):
    kept = queue.database.with_name("kept")
    queue.database.rename(kept)
    yield
    kept.rename(queue.database)


@contextlib.contextmanager
def garbage(queue):
    with away(queue):
        queue.database.write_bytes(os.urandom(8192))
        yield


@contextlib.contextmanager
def empty(queue):
    with away(queue):
        queue.database.touch()
        yield


@contextlib.contextmanager
def foreign(queue):
    with away(queue):
        with contextlib.closing(sqlite3.connect(queue.database)) as db:
            db.executescript("create table message(x)")
        yield


@contextlib.contextmanager
def damaged(queue):
    """The first page is zeros, its checkpointed self having been put by."""
    whole = queue.database.read_bytes()
    queue.database.write_bytes(bytes(4096) + whole[4096:])
    yield
    queue.database.write_bytes(whole)


@contextlib.contextmanager
def newer(queue):
    """This sendmail waits for its own package to be brought up to date."""
    version = queue.value("pragma user_version")
    queue.sql(f"pragma user_version={version + 1}")
    yield
    queue.sql(f"pragma user_version={version}")


@contextlib.contextmanager
def not_wal(queue):
    """By hand; each that finds it so says what puts it right."""
    queue.sql("pragma journal_mode=delete")
    for args in ["--init"], []:
        done = queue.run_flush(*args)
        assert done.returncode == 75 and b"pragma journal_mode=wal" in done.stderr, done
        assert b"move it away" not in done.stderr and b"create one" not in done.stderr
    yield
    queue.sql("pragma journal_mode=wal")


@contextlib.contextmanager
def no_lock_file(queue):
    lock = queue.database.parent / "queue.lock"
    lock.rename(lock.with_name("put-by"))
    yield
    lock.with_name("put-by").rename(lock)


@contextlib.contextmanager
def unreadable(queue):
    """Root without CAP_DAC_OVERRIDE is as anybody else."""
    queue.database.chmod(0)
    if os.geteuid() == 0:
        queue.prefix = ["setpriv", "--inh-caps=-all",
                        "--bounding-set=-dac_override,-dac_read_search"]
    yield
    queue.prefix = []
    queue.database.chmod(0o600)


@pytest.mark.parametrize("spoil", [away, garbage, empty, foreign, damaged, newer, not_wal,
                                   no_lock_file, unreadable])
def test_database_that_can_not_be_used(way, spoil):
    """Accepted, reported by the flusher, never replaced; and all of it arrives when it is back."""
    way.submit(MAIL.format("before@example.net", "x"))
    way.ses.faults("mail * 451 not now")
    way.flush()  # nobody has it open, and its WAL is empty
    with spoil(way):
        for i in range(3):
            done = send(way, f"r{i}@example.net")
            assert done.returncode == 0, done.stderr
            assert done.took < WAIT + SLACK
        failed = way.run_flush()
        assert failed.returncode in (75, 78) and failed.stderr, failed
        assert len(way.incoming.names) == 3
    way.ses.faults()
    way.sql("update recipient set state='queued'")
    assert way.flush().code == 0
    check_arrived(way.ses, ["before@example.net", *[f"r{i}@example.net" for i in range(3)]])
    way.whole()


def test_database_put_elsewhere_under_a_flusher(way, wait_for):
    """What the flusher has open is not where senders would look: nothing is taken into it."""
    way.write(linger="30s")
    flusher = way.flusher()
    way.submit(MAIL.format("before@example.net", "x"))
    way.ses.wait(1)
    with away(way):
        assert send(way, "r@example.net").returncode == 0
        flusher.line(lambda line: "no longer where it was opened" in line)
        assert len(way.incoming.names) == 1
    way.incoming.put(*incoming.compose("later@example.net"))  # wakes it
    way.ses.wait(3)
    assert flusher.stop() == 0
    check_arrived(way.ses, ["before@example.net", "r@example.net", "later@example.net"])


# --- refusals ---


def test_no_directory_to_keep_it_in(way):
    way.write(queue="/nonexistent/queue.db")
    done = send(way, "r@example.net")
    assert done.returncode == 78 and b"/nonexistent" in done.stderr


def test_what_is_wrong_with_the_message_is_refused(way):
    """A rule of the schema is no fault of the queue."""
    with contextlib.closing(sqlite3.connect(way.database)) as db:
        db.execute("pragma writable_schema=1")
        db.execute("update sqlite_master set sql=replace(sql,'eightbit IN (0,1)','eightbit=9')")
        db.commit()
    done = send(way, "r@example.net")
    assert done.returncode == 65 and b"eightbit" in done.stderr
    assert way.incoming.names == []


TRACE = ["strace", "-f", "-qq", "-o", "/dev/null"]


@pytest.mark.parametrize("fault", [*(f"fsync:error=EIO:when={n}" for n in (1, 2, 3)),
                                   "rename,renameat,renameat2:error=ENOSPC",
                                   "fchmod:error=EROFS"])
def test_a_disk_that_can_not_be_written_is_75(way, fault, can_trace):
    """C7, C8: never a false 0, and nothing half there. The syncs: above, of the file, of its name."""
    with migration(way):
        way.prefix = [*TRACE, "-e", "trace=fsync,rename,renameat,renameat2,fchmod", "-e",
                      f"inject={fault}"]
        done = send(way, "r@example.net")
        way.prefix = []
    assert done.returncode == 75, done
    assert way.incoming.names == []


# --- durability ---


def traced(queue, output, *more):
    """sendmail under strace, while the queue is held."""
    queue.prefix = ["strace", "-f", "-qq", "-y", "-s", "80", "-o", output, *more]
    try:
        return send(queue, "r@example.net")
    finally:
        queue.prefix = []


def test_synced_before_it_is_named_and_named_before_it_is_said(way, tmp_path, can_trace):
    """In this order: all of it written, its file synced, renamed, the directory synced, exit 0."""
    with migration(way):
        assert traced(way, tmp_path / "trace").returncode == 0
    calls = (tmp_path / "trace").read_text()
    order = [r'openat\([^\n]*incoming>, "\d{15}-[0-9a-f]{32}\.tmp", [^\n]*O_EXCL',
             r'write\([^\n]*\.tmp>, "cenmail incoming 1',
             r'write\([^\n]*\.tmp>, "crc32c [0-9a-f]{8}\\n", 16\)',
             r'fsync\([^\n]*\.tmp>\) = 0', r'renameat2?\([^\n]*\.tmp"', r'fsync\([^\n]*incoming>\) = 0',
             r'exit_group\(0\)']
    assert re.search("[^ø]*".join(order), calls), calls[-6000:]


def test_killed_at_a_system_call(way, tmp_path, can_trace):
    """A11 on this way: exit 0 seen means that it is there; else it is there whole, or not."""
    with migration(way):
        way.write(lock_wait="0")
        traced(way, tmp_path / "trace")
        calls = kill_points.points_of(tmp_path / "trace")
        name, = way.incoming.names
        (way.incoming.path / name).unlink()
        # The last quarter is where files are made.
        points = kill_points.sample(calls[0 if SOAK else len(calls) * 3 // 4:], 6, "all calls")
        acknowledged = 0
        for point in points:
            done = traced(way, "/dev/null", *kill_points.at(point))
            acknowledged += done.returncode == 0
            assert done.returncode in (0, 137, -9), (point, done)
    there = sum(not n.endswith(".tmp") for n in way.incoming.names)
    assert acknowledged <= there <= len(points)
    run_done = way.flush()
    assert run_done.sent == there == len(way.ses.messages)


# --- the importer ---


def test_a_lingering_flusher_takes_it_at_once(way, wait_for):
    way.write(linger="30s")
    flusher = way.flusher()
    way.submit(MAIL.format("first@example.net", "x"))
    way.ses.wait(1)
    took = []
    for i in range(3):
        # Until it rests: what it writes itself would wake it too.
        wait_for(lambda: way.database.with_name("queue.db-wal").stat().st_size == 0)
        time.sleep(0.3)
        began = time.monotonic()
        way.incoming.put(*incoming.compose(f"r{i}@example.net"))
        way.ses.wait(i + 2, deadline=9)  # less than the flusher's own look
        took.append(time.monotonic() - began)
    assert min(took) < 0.5, took
    assert flusher.stop() == 0


def test_oldest_first_and_what_is_damaged_is_in_nobodys_way(way):
    good = [incoming.compose(f"r{i}@example.net", submitted=1_700_000_000_000 + i)
            for i in (2, 0, 1)]
    for name, data in good:
        way.incoming.put(name, data)
    name, data = incoming.compose("bad@example.net", submitted=1)
    way.incoming.put(name, data.replace(b"body", b"bodY"))
    done = way.flush()
    assert done.code == 0 and f"incoming/{name}: moved to incoming/damaged" in done.log
    assert [m["recipients"] for m in way.ses.messages] == \
        [[f"r{i}@example.net"] for i in range(3)]
    assert way.incoming.names == [] and way.incoming.damaged == [name]


def test_more_than_is_taken_at_once(way):
    """A flusher that does not linger goes when all of it is in the queue, also when the road is down."""
    way.relay("lmtp://127.0.0.1:1")
    for i in range(100):
        way.incoming.put(*incoming.compose(f"r{i}@example.net", submitted=1_700_000_000_000 + i))
    assert way.flush().code == 0
    assert way.incoming.names == [] and way.states() == {"queued": 100}


def test_the_log_follows_it_by_its_key(way):
    """pickup has the key, the importer has key and number, and the Received field has the key."""
    with migration(way):
        done = send(way, "r@example.net")
    key = re.search(r"kept in incoming/ as ([0-9a-f]{32})", done.stderr.decode()).group(1)
    assert f"{key}: kept in incoming/, as the queue can't be had: " in done.stderr.decode()
    assert re.search(rf"cenmail/qmgr\[\d+\]: 0000000001: taken from incoming/ as {key}",
                     way.flush().log)
    assert f"id {key};".encode() in way.ses.content(way.ses.messages[0])


def test_mailq_shows_it(way):
    with away(way):
        send(way, "one@example.net")
        done = way.sendmail("-bp")
        assert done.returncode == 78, "the queue itself can't be listed, and it says so"
        assert b"one@example.net" in done.stdout
    done = way.sendmail("-bp")
    assert done.returncode == 0
    assert b"(in incoming/, not in the queue yet)" in done.stdout
    assert b"one@example.net" in done.stdout and b"-- 1 Kbytes in 1 Request." in done.stdout


def test_the_key_is_what_keeps_it_from_coming_twice(way):
    """Put back, as a crash before its removal leaves it: once. The control: under another key it
    comes again, and the check sees that."""
    name, data = incoming.compose("r@example.net")
    for _ in range(2):
        way.incoming.put(name, data)
        way.flush()
        assert way.incoming.names == []
    check_arrived(way.ses, ["r@example.net"])
    way.incoming.put(*incoming.compose("r@example.net"))
    way.flush()
    with pytest.raises(AssertionError):
        check_arrived(way.ses, ["r@example.net"])
