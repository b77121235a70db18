"""How long a message takes through the listener while a million old rows of its journal go, beside a
journal as large in which none is old."""

import sqlite3
import time

import parts
from chain import percentile
from dialogue import BODY, Dialogue, mail, token
from harness import run

ROWS = 1_000_000
MESSAGES = 700
PAUSE = 0.003  # s between two messages: a listener has more to do than one client's mail
OLD = 10_000_000  # ms of the journal's time
FILL = f"""
pragma synchronous=off; pragma cache_size=-400000;
create temp table made as with recursive n(i) as (select 1 union all select i+1 from n where i<{ROWS})
    select lower(hex(randomblob(16))) token, i from n;
insert into once select 'shanghai', token, 'sent', 1764000000000+i, {{until}}+i, 0, 'r'||i||'@example.net',
    printf('%012X',i), '250 2.0.0 Ok 0106017033dbb64d-be13a01e-'||printf('%012x',i)||'-000000 wait=0.002 ses=0.183'
    from made order by token;
update journal set ran=2*{OLD};
pragma wal_checkpoint(truncate)"""


def filled(directory, certificate, upstream, until):
    near = parts.Listener(directory, certificate, upstream, kinds=("plain",), password=None)
    near.stop()
    done = run(["sqlite3", "-cmd", ".dbconfig enable_trigger off", near.directory / "journal.db",
                FILL.format(until=until)], deadline=600)
    assert done.returncode == 0, done.stderr.decode()
    return near


def old_rows(near):
    with sqlite3.connect(f"file:{near.directory / 'journal.db'}?mode=ro", uri=True) as db:
        return db.execute("select count(*) from once where until<?", (2 * OLD,)).fetchone()[0]


def times(near, count):
    """ms of one message after the other."""
    client, found = Dialogue(near.port), []
    client.hello()
    for _ in range(count):
        began = time.perf_counter()
        client.send(*mail(BODY, ("b@example.org", token())))
        assert client.replies(3)[2][0] == 250
        found.append(1000 * (time.perf_counter() - began))
        time.sleep(PAUSE)
    client.close()
    return found


def bench_pruning(directory, runs, table):
    far = parts.Ses(directory / "ses", None, tls="none", user=None, fast=True)
    names = {"nothing is old": 1000 * OLD, "a million rows go": 0}
    certificate = parts.Certificate(directory)
    nears = {name: filled(directory / str(until), certificate, far.url, until)
             for name, until in names.items()}
    took, gone = {name: [] for name in names}, 0
    try:
        for number in range(runs):
            for name, near in list(nears.items())[::1 if number % 2 else -1]:
                near.start()
                times(near, 50)
                before = old_rows(near)
                took[name] += times(near, MESSAGES)
                gone += before - old_rows(near)
                near.stop()
    finally:
        far.program.close()
    seconds = sum(took["a million rows go"]) / 1000 + PAUSE * runs * MESSAGES
    table(f"a message through the listener, SES at once; {gone / seconds:.0f} rows a second went",
          ["journal of a million rows", "median", "p90", "p99", "longest"],
          [[name, *(f"{percentile(all_of, part):.1f} ms" for part in (0.5, 0.9, 0.99, 1))]
           for name, all_of in took.items()])
