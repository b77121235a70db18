"""What people and programs ask of a queue, when a thousand recipients wait and when a million do:
time, and the most memory that the program had."""

import os
import subprocess

import calls
import corpus
import filled
import parts
from harness import build_dir, run

COUNTS = (1_000, 1_000_000)
DUE = 1000


def questions(queue, directory):
    """Name -> command line and the file that it reads."""
    sendmail, mailq = directory / "sendmail", directory / "mailq"
    shell = ["/usr/bin/sqlite3", "-cmd", ".dbconfig no_ckpt_on_close on", queue.database]
    return {"sendmail, 2 KB": ([sendmail, "-t", "-i"], "small"),
            "sendmail, 10 MB": ([sendmail, "-t", "-i"], "large"),
            "mailq | head -n 1": (["/bin/sh", "-c", f"{mailq} | head -n 1"], "nothing"),
            "mailq": ([mailq], "nothing"),
            "select * from mailq limit 10": ([*shell, "select * from mailq limit 10"], "nothing"),
            "select * from hourly": ([*shell, "select * from hourly"], "nothing"),
            "cenmail-flush, nothing due": ([directory / "cenmail-flush"], "nothing")}


def asked(queue, directory, argv, stdin, times):
    done = subprocess.run([build_dir() / "tools/callers", "1", str(times), directory / stdin, *argv],
                          env=queue.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    result = calls.Times()
    result.add(done.stdout)
    return f"{result.median:.1f} ms", f"{result.memory / 1024:.1f} MB"


def drained(queue, directory):
    """DUE messages more, which are due, sent straight to the stand-in for SES."""
    ses = parts.Ses(directory / f"ses-{queue.directory.name}", None, tls="none", user=None)
    try:
        corpus.submit_all(queue, [corpus.Plain(i) for i in range(DUE)])
        queue.relay(ses.url)
        took, memory = asked(queue, directory, [directory / "cenmail-flush"], "nothing", 1)
        assert queue.states()["sent"] == DUE
        return f"{DUE * 1000 / float(took.split()[0]):.0f}/s", memory
    finally:
        ses.program.close()


def bench_scale(directory, runs, table):
    cells = {}
    for name in ("sendmail", "cenmail-flush"):
        (directory / name).symlink_to(build_dir().resolve() / name)
    (directory / "mailq").symlink_to("sendmail")
    (directory / "nothing").touch()
    (directory / "small").write_bytes(corpus.plain(1))
    (directory / "large").write_bytes(corpus.plain(1, 10_000_000))
    for count in COUNTS:
        queue = parts.Queue(directory / str(count))
        queue.write(retry_min="1m", retry_max="1h")
        done = run(filled.by_sql(queue.database, count), deadline=600)
        assert done.returncode == 0, done.stderr.decode()
        os.sync()
        cells[f"{DUE} sent, lock step", count] = drained(queue, directory)
        for name, (argv, stdin) in questions(queue, directory).items():
            cells[name, count] = asked(queue, directory, argv, stdin, 3 * runs)
        queue.database.unlink()
    table("a queue of a thousand recipients, and of a million",
          ["", "of 1,000", "memory", "of 1,000,000", "memory"],
          [[name, *cells[name, COUNTS[0]], *cells[name, COUNTS[1]]]
           for name in dict.fromkeys(name for name, _ in cells)])
