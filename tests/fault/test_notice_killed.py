"""F2 around notices: the flusher killed at every system call of a run that makes a bounce, a warning of
delay and a report of delivery (a sample here, all in `make soak`). No notice is lost, none is made
twice, and there is none whose reason is not recorded."""

import os
import subprocess

import kill_points
from harness import build_dir

EACH = 16
SENDER = "bounces@example.com"
MAIL = "To: {0}\nFrom: app@example.com\nSubject: s\nMessage-ID: <{0}>\n\nbody\n"
NOTICES = ("select m.id, (select group_concat(address) from recipient where message=m.id) as whom"
           " from message m where m.notice and m.id>?")


def by_call(queue, nth):
    """As in test_flusher_killed.py: how many calls there were, and how it ended."""
    done = subprocess.run([build_dir() / "tools/kill-at", str(nth), str(os.getuid()),
                           build_dir() / "cenmail-flush", "-C", queue.conf, "-v", "--once"],
                          capture_output=True, timeout=60, check=False, env=queue.env)
    calls, end, _ = done.stdout.decode().splitlines()[-1].split()
    return int(calls), end


def due_again(queue):
    queue.as_program("update recipient set next_try=0 where state='queued' and address not like '%slow%'",
                     "delete from road")


def round_of(queue, far, serial, nth):
    """One message that fails, one that is late, one whose sender asked for a report; a flusher that is
    killed at that call, and then those that are not."""
    mark = queue.value("select coalesce(max(id),0) from message")
    to = {"failed": f"u{serial}@bad.example", "late": f"u{serial}@slow.example",
          "sent": f"u{serial}@good.example"}
    for what, address in to.items():
        # Each from a sender of its own, as there is a ceiling for each.
        queue.submit(MAIL.format(address), "-t", "-i", "-f", f"{what}{serial}@example.com",
                     *(["-N", "success,failure"] if what == "sent" else []))
    queue.as_program(
        "update recipient set since=since-18000000,next_try=next_try+600000,tries=1,last_code=451,"
        f"last_reply='451 later' where address='{to['late']}'",
        f"update message set submitted=submitted-18000000 where sender='late{serial}@example.com'")
    before = len(far.messages)
    calls, end = by_call(queue, nth)
    check(queue, mark, to, serial, done=False)
    for _ in range(3):
        due_again(queue)
        queue.flush("--once")
    check(queue, mark, to, serial, done=True)
    arrived = sorted(m["recipients"][0] for m in far.messages[before:] if m["sender"] == SENDER)
    # Straight to SES, which has no journal: what comes twice has been in doubt, and is counted.
    doubts = queue.value("select count(*) from attempt where message>? and maybe_sent", mark)
    assert set(arrived) == {f"{what}{serial}@example.com" for what in to}, (nth, arrived)
    assert len(arrived) <= 3 + doubts, (nth, arrived, doubts)
    queue.as_program(f"delete from recipient where address='{to['late']}'",
                     "delete from message where not exists"
                     " (select 1 from recipient where message=message.id)")
    return calls, end


def check(queue, mark, to, serial, done):
    """At any moment: one notice at most to each, and its reason is in the queue, naming it."""
    notices = {row["whom"]: row["id"] for row in queue.sql(NOTICES, mark)}
    assert len(notices) == len(queue.sql(NOTICES, mark)), "one twice"
    rows = {what: queue.sql("select * from recipient where address=?", address)[0]
            for what, address in to.items()}
    for what, row in rows.items():
        notice = notices.pop(f"{what}{serial}@example.com", None)
        if what == "late":
            assert (row["warned"] is not None) == (notice is not None), dict(row)
        else:
            assert row["bounce"] == notice, (dict(row), notice)
            assert notice is None or row["state"] == what, dict(row)
        assert notice is not None or not done, f"no notice: {dict(row)}"
    assert not notices, notices
    assert queue.value("pragma integrity_check") == "ok"


def test_f2_killed_at_every_system_call_of_a_run_with_notices(queue, ses):
    far = ses()
    far.faults("rcpt <*@bad.example> * 550 5.1.1 no such user")
    queue.relay(far.url)
    queue.write(bounce_sender=SENDER, retry_max="1h")
    calls, end = round_of(queue, far, 0, 0)
    assert end == "exit" and calls > 100
    points = kill_points.sample(list(range(1, calls + 1)), EACH, "flusher with three notices")
    ends = [round_of(queue, far, serial, nth)[1] for serial, nth in enumerate(points, 1)]
    assert ends.count("signal") >= len(points) - 2


def test_the_check_can_fail(queue, ses):
    """A notice that is there twice, or whose reason does not name it, is seen."""
    far = ses()
    far.faults("rcpt <*@bad.example> * 550 5.1.1 no such user")
    queue.relay(far.url)
    queue.write(bounce_sender=SENDER, retry_max="1h")
    to = {"failed": "u0@bad.example"}
    queue.submit(MAIL.format(to["failed"]), "-t", "-i", "-f", "failed0@example.com")
    queue.flush("--once")
    check(queue, 0, to, 0, done=True)
    for broken in ("update recipient set bounce=null where state='failed'",
                   "update recipient set bounce=2,state='queued' where id=1"):
        queue.as_program(broken)
        try:
            check(queue, 0, to, 0, done=True)
        except AssertionError:
            continue
        raise AssertionError("it was not seen")
