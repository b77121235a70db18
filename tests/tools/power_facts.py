"""What the programs of a recorded history had acknowledged, and when; and whether what is found in
a spool directory keeps those promises. It looks at what is public: the views, `content`, the files of
incoming/."""

import collections
import contextlib
import json
import re
import sqlite3

import corpus
import incoming

SETTLED = re.compile(r"to=<([^>]+)>,.*? status=(\w+) \((.*?)\)\n")

# at: the line of the trace by which it had been said. what: init accepted changed sent deferred.
Fact = collections.namedtuple("Fact", "at what about detail", defaults=(None, ""))


def read(path, trace):
    """The facts that power_history noted, and those that the flushers logged, in order."""
    facts = []
    with open(path, encoding="ascii") as lines:
        for what, pid, *about in map(json.loads, lines):
            if what == "session":
                facts += [Fact(at, "accepted", serial)
                          for at, serial in zip(replies(trace, pid), about[0], strict=True)]
            else:
                facts.append(Fact(trace.exits[pid], what, *about))
    return sorted(facts + settlements(trace), key=lambda fact: fact.at)


def replies(trace, pid):
    """When a session said 250 to a message."""
    return [said.at for said in trace.said if said.pid == pid and said.fd.startswith("1 ")
            for _ in range(said.data.count(b": queued as "))]


def settlements(trace):
    return [Fact(said.at, status, address, reply)
            for said in trace.said if said.fd.startswith("2 ")
            for address, status, reply in SETTLED.findall(said.data.decode("utf-8", "replace"))
            if status in ("sent", "deferred")]


class Spool:
    """A spool directory as it is found. complaints: what may not be, whatever was acknowledged."""

    def __init__(self, directory, mails):
        self.directory = directory
        self.by_address = {a: m for m in mails for a in m.recipients}
        self.there = {}     # address -> its state
        self.replies = {}   # address -> the id that SES gave
        self.attempts = set()
        self.kept = set()   # serial numbers that lie in incoming/
        self.complaints = []
        self.is_queue = (directory / "queue.db").exists()
        if self.is_queue:
            try:
                self.look()
            except sqlite3.Error as e:
                self.complaints.append(f"queue.db: {e}")
        if (directory / "incoming").exists():
            self.look_incoming()

    def look(self):
        uri = f"file:{self.directory / 'queue.db'}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            db.execute("pragma synchronous=off")  # of this look only
            answer = db.execute("pragma integrity_check").fetchone()[0]
            if answer != "ok":
                self.complaints.append(f"integrity_check: {answer}")
                return
            messages = collections.defaultdict(set)
            for state, table in (("", "mailq"), ("sent", "delivered"), ("failed", "undeliverable")):
                column = {"mailq": "state", "delivered": "ses_id"}.get(table, "reply")
                for number, address, value in db.execute(
                        f"select id, recipient, {column} from {table}"):
                    self.there[address] = state or value
                    self.replies[address] = value
                    messages[number].add(address)
            self.attempts = set(db.execute("select recipient, code from attempts"))
            contents = dict(db.execute("select message, data from content"))
            for number, addresses in messages.items():
                self.check_message(number, addresses, contents)

    def check_message(self, number, addresses, contents):
        mail = self.by_address.get(min(addresses))
        if mail is None or addresses != set(mail.recipients):
            self.complaints.append(f"message {number} is for {sorted(addresses)}")
        elif number in contents:
            if corpus.below_received(contents[number]) != mail.expected:
                self.complaints.append(f"message {number} is not what was submitted")
        elif any(self.there[a] in ("queued", "held") for a in addresses):
            self.complaints.append(f"message {number} has no content")

    def look_incoming(self):
        for path in (self.directory / "incoming").iterdir():
            if not path.name.endswith(".tmp"):
                mail = self.of_file(path.read_bytes())
                if mail is None:
                    self.complaints.append(f"incoming/{path.name} is not whole")
                else:
                    self.kept.add(mail.serial)

    def of_file(self, data):
        """The mail that lies there whole, or None."""
        head, _, rest = data.partition(b"\n\n")
        addresses = [line.split()[1].decode() for line in head.split(b"\n")
                     if line.startswith(b"recipient ")]
        mail = self.by_address.get(addresses[0]) if addresses else None
        whole = (mail is not None and addresses == mail.recipients
                 and corpus.below_received(rest[:-16]) == mail.expected
                 and rest[-16:] == b"crc32c %08x\n" % incoming.crc32c(data[:-16]))
        return mail if whole else None

    def lacks(self, fact, mails):
        """Why the fact does not hold here, or None."""
        if fact.what == "init":
            missing = [n for n in ("queue.db", "queue.lock", "flush.lock", "next.lock", "incoming")
                       if not (self.directory / n).exists()]
            return f"not there after --init: {missing}" if missing else None
        if fact.what == "accepted":
            mail = mails[fact.about]
            if mail.serial in self.kept or all(a in self.there for a in mail.recipients):
                return None
            return f"mail {fact.about} was accepted and is lost"
        if fact.what == "changed":
            address = mails[fact.about].recipients[0]
            return None if self.there.get(address) == "held" else f"{address} is not held any more"
        if fact.what == "sent":
            if self.there.get(fact.about) == "sent" and self.replies[fact.about] in fact.detail:
                return None
            return f"{fact.about} was settled as sent and is not"
        code = int(fact.detail.split()[0]) if fact.detail[:3].isdigit() else None
        if (fact.about, code) in self.attempts:
            return None
        return f"the try at {fact.about} is not noted"


def complaints(directory, facts, mails):
    """All that is wrong in this directory, given what had been acknowledged."""
    spool = Spool(directory, mails)
    found = list(spool.complaints)
    return found + [why for why in (spool.lacks(fact, mails) for fact in facts) if why]
