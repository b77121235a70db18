"""What people and programs ask of a queue, when a thousand recipients wait and when a million do:
time, and the most memory that the program had. Both queues are made first, and then asked in turns."""

import os
import subprocess
import time

import calls
import corpus
import filled
import parts
from harness import build_dir, run

COUNTS = (1_000, 1_000_000)
DUE = 1000
SHELL = ["/usr/bin/sqlite3", "-cmd", ".dbconfig no_ckpt_on_close on"]


def questions(queue, directory):
    """Name -> command line and the file that it reads."""
    sendmail, mailq = directory / "sendmail", directory / "mailq"
    shell = [*SHELL, queue.database]
    return {"sendmail, 2 KB": ([sendmail, "-t", "-i"], "small"),
            "sendmail, 10 MB": ([sendmail, "-t", "-i"], "large"),
            "mailq | head -n 1": (["/bin/sh", "-c", f"{mailq} | head -n 1"], "nothing"),
            "mailq": ([mailq], "nothing"),
            "select * from mailq limit 10": ([*shell, "select * from mailq limit 10"], "nothing"),
            "select * from hourly": ([*shell, "select * from hourly"], "nothing"),
            "cenmail-flush, nothing due": ([directory / "cenmail-flush"], "nothing")}


def ask(queue, directory, argv, stdin, times, into):
    done = subprocess.run([build_dir() / "tools/callers", "1", str(times), directory / stdin, *argv],
                          env=queue.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    into.add(done.stdout)


def shown(times):
    return f"{times.median:.1f} ms", megabytes(times.memory)


def megabytes(kilobytes):
    return f"{kilobytes / 1024:.1f} MB"


def stand_in(queue, directory, name):
    ses = parts.Ses(directory / f"{name}-{queue.directory.name}", None, tls="none", user=None)
    queue.relay(ses.url)
    return ses


def drained(queue, directory):
    """DUE messages more, which are due, sent straight to the stand-in for SES."""
    ses, times = stand_in(queue, directory, "drained"), calls.Times()
    try:
        corpus.submit_all(queue, [corpus.Plain(i) for i in range(DUE)])
        ask(queue, directory, [directory / "cenmail-flush"], "nothing", 1, times)
        assert queue.states()["sent"] == DUE
        return f"{DUE * 1000 / times.median:.0f}/s", megabytes(times.memory)
    finally:
        ses.program.close()


def make_all_due(queue):
    done = run([*SHELL, "-cmd", ".dbconfig enable_trigger off", queue.database,
                "pragma synchronous=off", "update recipient set next_try=since where state='queued'",
                "pragma wal_checkpoint(truncate)"], deadline=600)
    assert done.returncode == 0, done.stderr.decode()


def first_of_all(queue, directory):
    """A flusher that finds all of it due: until it has the first verdict."""
    ses = stand_in(queue, directory, "first")
    began = time.monotonic()
    flusher = queue.flusher()
    try:
        flusher.line(lambda line: "status=sent" in line)
        took = time.monotonic() - began
        with open(f"/proc/{flusher.pid}/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return f"{1000 * took:.1f} ms", megabytes(peak)
    finally:
        flusher.kill()
        ses.program.close()


def make(directory, count):
    queue = parts.Queue(directory / str(count))
    queue.write(retry_min="1m", retry_max="1h")
    done = run(filled.by_sql(queue.database, count), deadline=600)
    assert done.returncode == 0, done.stderr.decode()
    return queue


def bench_scale(directory, runs, table):
    cells, queues = {}, {}
    for name in ("sendmail", "cenmail-flush"):
        (directory / name).symlink_to(build_dir().resolve() / name)
    (directory / "mailq").symlink_to("sendmail")
    (directory / "nothing").touch()
    (directory / "small").write_bytes(corpus.plain(1))
    (directory / "large").write_bytes(corpus.plain(1, 10_000_000))
    for count in COUNTS:
        queues[count] = make(directory, count)
    os.sync()
    for count, queue in queues.items():
        cells[f"{DUE} sent, lock step", count] = drained(queue, directory)
    times = {}
    for number in range(runs):
        for count, queue in list(queues.items())[::1 if number % 2 else -1]:
            for name, (argv, stdin) in questions(queue, directory).items():
                ask(queue, directory, argv, stdin, 3, times.setdefault((name, count), calls.Times()))
    cells.update({which: shown(t) for which, t in times.items()})
    for count, queue in queues.items():
        make_all_due(queue)
        os.sync()
        cells["all due: until the first is sent", count] = first_of_all(queue, directory)
    table("a queue of a thousand recipients, and of a million",
          ["", "of 1,000", "memory", "of 1,000,000", "memory"],
          [[name, *cells[name, COUNTS[0]], *cells[name, COUNTS[1]]]
           for name in dict.fromkeys(name for name, _ in cells)])
