"""C14 for the flusher: memory runs out at the Nth allocation of a whole run, ours, the C library's,
SQLite's or OpenSSL's, once or from then on (a sample here, a larger one in `make soak`: most of 25,000 are
OpenSSL's). The run meets a relay that is gone, a listener with its journal and a relay that has none, and
makes a bounce, a warning and a report. It ends by itself, with a code of its own, or waits without a spin to
write its verdicts, until it is told to stop; then no message is lost, by the listener each came once, and by
the other no oftener than is counted as in doubt. No relay has a name: glibc 2.36's getaddrinfo dies for want
of memory in nss_database_check_reload_and_get."""

import collections
import contextlib
import resource
import signal
import subprocess

import malloc_points
import pytest
from harness import build_dir, wait_for
from test_notice_killed import MAIL, SENDER, check, due_again

SOME, SOAK = 20, 1000
OK, OSERR, TEMPFAIL = 0, 71, 75


class Road:
    def __init__(self, queue, listener, ses):
        self.queue, self.far, self.direct = queue, ses(), ses(tls="none", user=None)
        near = listener(self.far.url)
        for one in (self.far, self.direct):
            one.faults("rcpt <*@bad.example> * 550 5.1.1 no such user")
        queue.relay("lmtp://127.0.0.1:1", near.url())
        queue.write(bounce_sender=SENDER, retry_max="1h",
                    route=f"*@direct.example smtp://127.0.0.1:{self.direct.port}")
        self.argv = [build_dir() / "cenmail-flush", "-C", queue.conf, "--once"]
        self.memory = malloc_points.Memory(queue.env, queue.directory)

    def run(self, at, lasting):
        """(exit code, log, whether it had to be told to stop)."""
        log = self.queue.directory / "log"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(log, "wb") as out, subprocess.Popen(
                self.argv, env=self.memory.lacking(at, lasting), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out) as flusher:
            wait_for(lambda: flusher.poll() is not None or "verdicts wait" in log.read_text(), 30,
                     "its end, or that verdicts wait")
            with contextlib.suppress(subprocess.TimeoutExpired):
                flusher.wait(2 if not lasting else 0.3)  # what failed once is written a second later
            stopped = flusher.poll() is None
            if stopped:
                flusher.send_signal(signal.SIGTERM)
                flusher.send_signal(signal.SIGINT)
            code = flusher.wait(10)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < 1, "a spin"
        return code, log.read_text(), stopped

    def submit(self, serial):
        """As in test_notice_killed.py, and two more with two recipients each, one on either road."""
        self.serial, self.mark = serial, self.queue.value("select coalesce(max(id),0) from message")
        self.before = len(self.far.messages), len(self.direct.messages)
        self.to = {"failed": f"u{serial}@bad.example", "late": f"u{serial}@slow.example",
                   "sent": f"u{serial}@good.example"}
        for what, address in self.to.items():
            self.queue.submit(MAIL.format(address), "-t", "-i", "-f", f"{what}{serial}@example.com",
                              *(["-N", "success,failure"] if what == "sent" else []))
        self.queue.as_program(
            "update recipient set since=since-18000000,next_try=next_try+600000,tries=1,last_code=451,"
            f"last_reply='451 later' where address='{self.to['late']}'",
            f"update message set submitted=submitted-18000000 where sender='late{serial}@example.com'")
        for i in range(2):
            self.queue.submit(MAIL.format(f"m{serial}.{i}@good.example, m{serial}.{i}@direct.example"),
                              "-t", "-i", "-f", "many@example.com")

    def arrived(self):
        """(how often each recipient's mail came by the listener, by the direct way)."""
        return tuple(collections.Counter(
            r for m in one.messages[n:] for r in m["recipients"])
            for one, n in zip((self.far, self.direct), self.before))

    def settle(self):
        """Flushers to which nothing happens, and what must be so after them."""
        check(self.queue, self.mark, self.to, self.serial, done=False)
        for _ in range(3):
            due_again(self.queue)
            assert self.queue.flush("--once").code == 0
        check(self.queue, self.mark, self.to, self.serial, done=True)
        near, direct = self.arrived()
        serial = self.serial
        assert near == {address: 1 for address in [
            self.to["sent"], *(f"{what}{serial}@example.com" for what in self.to),
            *(f"m{serial}.{i}@good.example" for i in range(2))]}
        doubts = self.queue.value("select count(*) from attempt where message>? and maybe_sent"
                                  " and address like '%@direct.example'", self.mark)
        assert set(direct) == {f"m{serial}.{i}@direct.example" for i in range(2)}
        assert sum(direct.values()) <= 2 + doubts, (direct, doubts)
        self.queue.as_program(f"delete from recipient where address='{self.to['late']}'",
                              "delete from message where not exists"
                              " (select 1 from recipient where message=message.id)")
        return doubts


def test_c14_every_allocation_of_a_flusher(queue, listener, ses):
    road = Road(queue, listener, ses)
    road.submit(0)
    points = road.memory.points(road.argv, b"", SOME, "flusher", SOAK)
    road.settle()
    codes, doubts = collections.Counter(), 0
    for serial, (at, lasting) in enumerate(points, 1):
        road.submit(serial)
        code, log, stopped = road.run(at, lasting)
        told = f"at {at}{' and after' if lasting else ''}: {code}\n{log}"
        assert code in (OK, OSERR, TEMPFAIL), told
        assert not stopped or lasting and "verdicts wait" in log, told
        assert code == OK or log, told
        codes[code, stopped] += 1
        try:
            doubts += road.settle()
        except AssertionError as why:
            raise AssertionError(told) from why
    print(f"(exit code, told to stop) {dict(codes)}, in doubt {doubts}")


@pytest.mark.parametrize("change", [
    "update recipient set state='sent',settled=0 where address='m1.0@direct.example'",  # lost
    "update recipient set state='queued',once=randomblob(16) where address='m1.0@good.example'"])  # doubled
def test_the_check_can_fail(queue, listener, ses, change):
    road = Road(queue, listener, ses)
    road.submit(1)
    queue.write(keep_sent="1d")
    if "queued" in change:
        assert queue.flush("--once").code == 0
    queue.as_program(change)
    with pytest.raises(AssertionError):
        road.settle()
