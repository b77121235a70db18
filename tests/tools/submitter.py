"""A queue of one's own and the callers of sendmail on it, without the rest of the road: for tests of what
a caller gives and what is stored then."""

import os
import re
import sqlite3
import subprocess

BUILD = os.path.abspath(os.environ.get("CENMAIL_BUILD", "build"))
SENDMAIL = os.path.join(BUILD, "sendmail")
FLUSH = os.path.join(BUILD, "cenmail-flush")

USAGE, DATAERR, NOINPUT, NOUSER, OSERR, IOERR, TEMPFAIL, CONFIG = 64, 65, 66, 67, 71, 74, 75, 78
WHOLE = b"From: a@b\r\nDate: x\r\nMessage-ID: <1@b>\r\n"  # with these, no field is missing
RECEIVED = re.compile(
    rb"\AReceived: by shanghai\.example\.cn \(cenmail, from userid (\d+)\)\r\n"
    rb"\tid [0-9a-f]{32}; \w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n")


class Queue:
    """A queue in a directory of its own, and callers of sendmail on it."""

    def __init__(self, path, **keys):
        self.path = str(path)
        self.db = os.path.join(self.path, "spool", "queue.db")
        self.conf = os.path.join(self.path, "cenmail.conf")
        self.aliases = os.path.join(self.path, "aliases")
        os.mkdir(os.path.dirname(self.db), 0o700)
        have = {"queue": self.db, "relay": "lmtp://127.0.0.1:3535",
                "hostname": "shanghai.example.cn", "domain": "example.com",
                "aliases": self.aliases, "log": "stderr"}
        have.update(keys)
        with open(self.conf, "w") as f:
            f.writelines(f"{k} {v}\n" for k, v in have.items() if v is not None)
        done = subprocess.run([FLUSH, "--init"], env=self.env(), capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def env(self, **more):
        return dict(os.environ, CENMAIL_CONF=self.conf, **more)

    def incoming(self):
        return os.listdir(os.path.join(self.path, "spool", "incoming"))

    def run(self, *args, data=b"", name=SENDMAIL, **more):
        return subprocess.run([name, *args], executable=SENDMAIL, input=data, env=self.env(),
                              capture_output=True, timeout=60, **more)

    def start(self, *args, **more):
        return subprocess.Popen([SENDMAIL, *args], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.env(), **more)

    def query(self, sql):
        db = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def recipients(self):
        return [r[0] for r in self.query("select address from recipient order by id")]

    def content(self):
        """The only message, without the Received field that it must begin with."""
        (data,), = self.query("select data from content")
        found = RECEIVED.match(data)
        assert found, data[:300]
        assert int(found[1]) == os.getuid()
        return data[found.end():]

    def assert_empty(self):
        for table in "message", "content", "recipient":
            assert self.query(f"select count(*) from {table}") == [(0,)], table


def accepted(done):
    assert done.returncode == 0, done.stderr
    return done


def refused(done, code, words):
    assert done.returncode == code, done.stderr
    assert b"sendmail: " in done.stderr, done.stderr
    assert words.encode() in done.stderr, done.stderr
