"""A day of the listener in some seconds, to be run under strace (power_trace): its journal is made,
clients on several connections bring messages with tokens, SES takes, refuses and once is silent,
the listener is stopped, and killed, and starts again.

    power_journal.py DIRECTORY UPSTREAM-URL COUNT

And what it had said by then, and whether a directory keeps to it: given (the final dot to SES),
answered (SES's 250 in the reply), offered (the journal's id)."""

import collections
import contextlib
import hashlib
import pathlib
import re
import sqlite3
import sys
import threading

from dialogue import Dialogue, mail
from parts import Certificate, Listener

CONNECTIONS, WINDOW = 3, 5

Fact = collections.namedtuple("Fact", "at what about detail", defaults=("",))


def address(serial):
    return f"j{serial}@example.net"


def token(serial):
    return hashlib.md5(address(serial).encode()).hexdigest()


def bring(serial):
    """One transaction, ready to be sent: one token, one recipient."""
    text = (f"From: a@example.com\r\nMessage-ID: <j{serial}@example.com>\r\nSubject: s\r\n\r\n"
            + "body\r\n" * (serial % 50))
    return mail(text, (address(serial), token(serial)))


def talk(port, serials):
    """LMTP, pipelined. The reply to each content, as far as there were any."""
    answers = {}
    with contextlib.suppress(OSError, EOFError):
        client = Dialogue(port)
        client.hello()
        for start in range(0, len(serials), WINDOW):
            group = serials[start:start + WINDOW]
            client.send(*[line for serial in group for line in bring(serial)])
            for serial in group:
                answers[serial] = client.replies(3)[2]
        client.close()
    return answers


def talk_all(port, serials):
    answers = {}
    threads = [threading.Thread(target=lambda part=part: answers.update(talk(port, part)))
               for part in (serials[i::CONNECTIONS] for i in range(CONNECTIONS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def near(directory, upstream):
    """A listener in the clear. Its journal is all that there is in directory/journal/."""
    (directory / "journal").mkdir(mode=0o700, parents=True, exist_ok=True)
    return Listener(directory, Certificate(directory), upstream, kinds=("plain",), password=None,
                    start=False, journal=directory / "journal" / "journal.db",
                    upstream_connections=4)


def day(directory, upstream, count):
    listener = near(directory, upstream)
    listener.start()
    serials = list(range(count))
    talk_all(listener.port, serials[:count // 2])
    talk_all(listener.port, serials[:10])  # known: answered from the journal, or sent anew
    assert listener.stop() == 0
    listener.start()
    killed = threading.Thread(target=talk_all, args=(listener.port, serials[count // 2:]))
    killed.start()
    listener.program.line(lambda line: f"to=<{address(count * 3 // 4)}>" in line)
    listener.kill()
    killed.join()
    listener.start()
    talk_all(listener.port, serials)
    assert listener.stop() == 0


# --- what had been said ---

MESSAGE_ID = re.compile(rb"Message-ID: <(j\d+)@example\.com>")
OFFER = re.compile(rb"XONCE ([0-9a-f]{32}) ")
TAKEN = re.compile(r"250 \S+ Ok (\S+) wait=")


def read(trace, taken):
    """taken: SES's id -> recipient."""
    facts, under_way = [], {}
    for said in trace.said:
        if "socket:" not in said.fd:
            continue
        facts += [Fact(said.at, "offered", m.decode()) for m in OFFER.findall(said.data)]
        facts += [Fact(said.at, "answered", taken[ident], ident)
                  for ident in TAKEN.findall(said.data.decode("latin-1"))]
        found = MESSAGE_ID.search(said.data)
        if found and b"LAST\r\n" not in said.data:  # to SES, which knows no BDAT
            under_way[said.fd] = found.group(1).decode() + "@example.net"
        if said.fd in under_way and (said.data == b".\r\n" or said.data.endswith(b"\n.\r\n")):
            facts.append(Fact(said.at, "given", under_way.pop(said.fd)))
    return facts


def complaints(directory, facts):
    """All that is wrong in this directory, given what had been said."""
    states, answers, ident, found = {}, {}, None, []
    path = directory / "journal.db"
    try:
        if path.exists() and path.stat().st_size + size_of(directory / "journal.db-wal"):
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as db:
                db.execute("pragma synchronous=off")
                answer = db.execute("pragma integrity_check").fetchone()[0]
                if answer != "ok":
                    return [f"integrity_check: {answer}"]
                if db.execute("select 1 from sqlite_master where name='journal'").fetchone():
                    ident = db.execute("select id from journal").fetchone()[0]
                    states = dict(db.execute("select recipient, state from in_doubt"))
                    for to, state, answer in db.execute(
                            "select recipient, state, answer from relayed"):
                        states[to], answers[to] = state, answer
    except sqlite3.Error as e:
        return [f"journal.db: {e}"]
    for fact in facts:
        if fact.what == "offered" and fact.about != ident:
            found.append(f"the journal's id was {fact.about} and is {ident}")
        elif fact.what == "given" and fact.about not in states:
            found.append(f"{fact.about} was given to SES and nothing is known of it")
        elif fact.what == "answered" and not (states.get(fact.about) == "sent"
                                              and fact.detail in answers[fact.about]):
            found.append(f"{fact.about} was answered and is {states.get(fact.about)}")
    return found


def size_of(path):
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    day(pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
