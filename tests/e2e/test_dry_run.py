"""`cenmail-flush --dry-run`: says what would be sent, and neither sends nor changes anything."""

import hashlib
import subprocess

import pytest

import incoming
from harness import build_dir

MAIL = "To: {}\nFrom: {}\nSubject: s\n\nbody\n"


def put(queue, sender, *addresses):
    queue.submit(MAIL.format(", ".join(addresses), sender), "-t", "-f", sender)


def dry(queue, code=0):
    done = queue.run_flush("--dry-run")
    assert done.returncode == code, done.stderr.decode()
    assert code or not done.stderr
    return done.stdout.decode()


def states(queue):
    return {name: hashlib.sha256((queue.database.parent / name).read_bytes()).hexdigest()
            for name in ("queue.db", "queue.db-wal")}


@pytest.fixture
def filled(queue, ses):
    far, other = ses(), ses()
    queue.relay(far.url, "lmtp://127.0.0.1:1")
    queue.write(route=f"*@qq.com {other.url}", rewrite_sender="root@* noreply@example.com",
                retry_max="2d")
    queue.far, queue.other = far, other
    put(queue, "root@a.example", "a@example.net", "b@QQ.com")
    put(queue, "me@a.example", "later@example.net", "held@example.net", "doubt@example.net")
    queue.as_program("update recipient set next_try=next_try+7200000, tries=3, last_reply='451 4.7.1 grey'"
              " where address like 'later%'")
    queue.as_program("update recipient set state='held', last_reply='554 not verified'"
              " where address like 'held%'")
    queue.as_program("update recipient set doubt_journal='j1', doubt_until=next_try+86400000"
              " where address like 'doubt%'")
    return queue


def test_what_goes_now_and_what_waits_and_why(filled):
    way = f"smtp+starttls://127.0.0.1:{filled.far.port} or lmtp://127.0.0.1:1"
    other = f"route *@qq.com, by smtp+starttls://127.0.0.1:{filled.other.port}"
    lines = dry(filled).splitlines()
    assert lines[0].startswith("0000000001: from <root@a.example>, sent as <noreply@example.com>, ")
    assert lines[1:3] == [f"  <a@example.net>: now, by {way}", f"  <b@QQ.com>: now, {other}"]
    assert lines[3].startswith("0000000002: from <me@a.example>, ") and "sent as" not in lines[3]
    assert lines[4].startswith("  <later@example.net>: at 20")
    assert lines[4].endswith(", after 3 tries: 451 4.7.1 grey")
    assert lines[5] == "  <held@example.net>: held: 554 not verified"
    assert lines[6] == f"  <doubt@example.net>: now, if its journal may know it: by {way}"
    assert lines[7:] == ["to be sent now: 2 messages (3 recipients), 1 of them in doubt; "
                         "later: 1; held: 1", f"1 of them: {other}", f"2 of them: by {way}"]


def test_nothing_is_sent_or_changed(filled):
    here = incoming.Incoming(filled)
    here.put(*incoming.compose("i@example.net"))
    attempts = len(filled.attempts)  # first: a bare shell that closes last takes the WAL away
    put(filled, "me@a.example", "more@example.net")
    before, files = states(filled), sorted((filled.database.parent / "incoming").iterdir())
    assert "1 files of incoming/" in dry(filled)
    assert states(filled) == before and sorted((filled.database.parent / "incoming").iterdir()) == files
    assert len(filled.attempts) == attempts
    assert not filled.far.messages and not filled.other.messages


def test_it_says_what_then_happens(filled):
    said = dry(filled)
    filled.as_program("update recipient set doubt_journal='', doubt_until=0")
    assert filled.flush().sent == 3
    assert "(3 recipients)" in said
    assert [m["sender"] for m in filled.other.messages] == ["noreply@example.com"]
    assert "to be sent now: 0 messages" in dry(filled)


def test_beside_a_flusher_and_a_long_reader(queue, ses):
    """More than fits into the pipe: whoever reads slowly holds nothing up."""
    far = ses()
    queue.relay(far.url)
    queue.write(linger="60s")
    put(queue, "me@a.example", "r0@example.net")
    queue.as_program("with recursive n(i) as (select 1 union all select i+1 from n where i<2000)"
                     " insert into recipient(message,address,once,next_try,since,state)"
                     " select 1,'r'||i||'@example.net',randomblob(16),0,0,'held' from n")
    with subprocess.Popen([build_dir() / "cenmail-flush", "-C", queue.conf, "--dry-run"],
                          stdout=subprocess.PIPE) as slow:
        assert slow.stdout.read(100)
        flusher = queue.flusher()
        far.wait(1)
        put(queue, "me@a.example", "x@example.net")
        far.wait(2)
        assert flusher.stop() == 0
        assert slow.stdout.read().count(b"held: by hand") >= 1990
    assert slow.returncode == 0


def test_a_queue_that_is_not_there(queue):
    queue.relay("lmtp://127.0.0.1:1")
    queue.database.unlink()
    assert dry(queue, 78) == ""


def test_a_road_that_is_paused(queue):
    """What an earlier flusher has learnt of it counts, as it does for the next one; one that is down
    that one would try once."""
    queue.relay("lmtp://127.0.0.1:1")
    put(queue, "me@a.example", "r@example.net")
    queue.flush()
    queue.as_program("update recipient set next_try=0")
    assert "1 messages (1 recipients)" in dry(queue)
    queue.as_program("update road set resume_at=resume_at+600000, down_since=null, reason='454 quota'",
                     "update outage set ended=began+1")
    lines = dry(queue).splitlines()
    assert lines[1].startswith("  <r@example.net>: at 20"), lines
    assert lines[1].endswith(", when its road is tried again, after 454 quota: by lmtp://127.0.0.1:1")
    assert "0 messages (0 recipients); when the road is open: 1; later: 0" in lines[2]
