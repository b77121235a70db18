"""The parts of the road, as objects: a queue with its sendmail and flusher, a listener, the long
link, and the stand-in for SES. Nothing has a fixed port; whatever runs is stopped by its pid."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import sqlite3

from harness import Program, build_dir, run, wait_for

SES_USER, SES_PASSWORD = "AKIAIOSFODNN7EXAMPLE", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"
CLIENT, CLIENT_PASSWORD = "shanghai", "correct horse battery staple"


def write_secret(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


class Certificate:
    """A fresh key and self-signed certificate for `name`, by openssl(1)."""

    def __init__(self, directory, name="localhost", expired=False):
        stem = name.replace("*", "any") + ("-expired" if expired else "")
        self.name = name
        self.cert, self.key = directory / f"{stem}.crt", directory / f"{stem}.key"
        argv = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-subj", f"/CN={name}", "-keyout", self.key]
        alt = f"subjectAltName=DNS:{name},IP:127.0.0.1" if name == "localhost" \
            else f"subjectAltName=DNS:{name}"
        if expired:
            self._expired(directory, argv, stem, alt)
        else:
            self._do(argv + ["-x509", "-days", "30", "-addext", alt, "-out", self.cert])
        self.key.chmod(0o600)
        spki = self._do(["openssl", "x509", "-in", self.cert, "-noout", "-pubkey"])
        der = self._do(["openssl", "pkey", "-pubin", "-outform", "DER"], spki)
        self.pin = "sha256:" + hashlib.sha256(der).hexdigest()

    @staticmethod
    def _do(argv, stdin=b""):
        done = run(argv, stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _expired(self, directory, argv, stem, alt):
        """`openssl x509 -days` takes no date in the past; `openssl ca` does."""
        csr = directory / f"{stem}.csr"
        self._do(argv + ["-out", csr])
        ca = directory / f"{stem}.ca"
        ca.mkdir()
        (ca / "index.txt").write_text("")
        (ca / "serial").write_text("01\n")
        conf = ca / "ca.conf"
        conf.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={ca}/index.txt\nserial={ca}/serial\n"
            f"new_certs_dir={ca}\ndefault_md=sha256\npolicy=p\nx509_extensions=x\n"
            f"[p]\ncommonName=supplied\n[x]\n{alt}\n")
        self._do(["openssl", "ca", "-batch", "-notext", "-config", conf, "-selfsign",
                  "-keyfile", self.key, "-in", csr, "-out", self.cert,
                  "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"])


def port_line(line):
    found = re.fullmatch(r"port (\d+)", line)
    return found and int(found.group(1))


class Ses:
    """build/tools/ses-stand-in with a record. Options by name: latency=100, max_connections=2,
    unverified=["*@example.org"], offer_size=True …"""

    def __init__(self, directory, certificate, tls="starttls", user=SES_USER,
                 password=SES_PASSWORD, prefix=(), fast=False, **options):
        """fast: for benchmarks; it keeps no content, and takes no faults."""
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.certificate, self.tls, self.user, self.password = certificate, tls, user, password
        self.faults_file = directory / "faults"
        argv = [*prefix, build_dir() / "tools/ses-stand-in", "--tls", tls, "--record", directory]
        argv += [] if fast else ["--keep-content", "--faults", self.faults_file]
        if tls != "none":
            argv += ["--certificate", certificate.cert, "--key", certificate.key]
        if user:
            argv += ["--user", user, "--password", password]
            write_secret(directory / "secret", f"{user}:{password}\n")
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            for one in value if isinstance(value, (list, tuple)) else [value]:
                argv += [flag] if one is True else [flag, one]
        self.program = Program("ses-stand-in", argv)
        self.host = options.get("address", "127.0.0.1")
        self.port = self.program.line(port_line)
        self._read_to = 0
        self._messages = []

    @property
    def url(self):
        """As `relay` or `upstream` wants it."""
        scheme = {"starttls": "smtp+starttls", "wrapped": "smtps", "none": "smtp"}[self.tls]
        text = f"{scheme}://{self.host}:{self.port}"
        if self.tls != "none":
            text += f" pin={self.certificate.pin}"
        if self.user:
            text += f" secret={self.directory / 'secret'}"
        return text

    def faults(self, *lines):
        """Replaces the script of faults; it is heeded at once."""
        part = self.directory / "faults.part"
        part.write_text("".join(line + "\n" for line in lines))
        part.rename(self.faults_file)

    @property
    def messages(self):
        """What was accepted so far, in order."""
        path = self.directory / "messages.jsonl"
        if path.exists():
            with open(path, "rb") as lines:
                lines.seek(self._read_to)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._read_to += len(line)
                    self._messages.append(json.loads(line))
        return self._messages

    def wait(self, count, deadline=60):
        """Until `count` messages have been accepted."""
        wait_for(lambda: len(self.messages) >= count, deadline, f"{count} messages at SES")
        return self.messages

    def content(self, message):
        return (self.directory / f"{message['id']}.eml").read_bytes()

    def stop(self):
        """Its counters."""
        self.program.stop()
        return json.loads((self.directory / "counters.json").read_text())


class LongLink:
    """build/tools/long-link to a port here. Options by name: delay_ms=25, kbit=…, cut_up=…"""

    def __init__(self, to_port, directory, **options):
        self.record = directory / f"link-{to_port}.json"
        argv = [build_dir() / "tools/long-link", "--to", f"127.0.0.1:{to_port}",
                "--record", self.record]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-")] + ([] if value is True else [value])
        self.program = Program("long-link", argv)
        self.port = self.program.line(port_line)

    def cut(self):
        """Every connection, now, with a RST."""
        self.program.signal(signal.SIGUSR1)

    def toggle(self):
        """Nothing moves any more, until it is called again."""
        self.program.signal(signal.SIGUSR2)

    def stop(self):
        """What it carried: connections, up, down, cut."""
        self.program.stop()
        return json.loads(self.record.read_text())


FLUSHED = re.compile(
    r"flushed (?P<messages>\d+) messages? \((?P<recipients>\d+) recipients?\): (?P<sent>\d+) sent, "
    r"(?P<deferred>\d+) deferred, (?P<failed>\d+) failed, (?P<held>\d+) held; "
    r"(?P<connections>\d+) connections?, (?P<out>\d+) bytes out, (?P<in>\d+) bytes in, "
    r"(?P<seconds>[\d.]+) s")


class Flushed:
    """A flusher's run that has ended."""

    def __init__(self, code, log):
        self.code, self.log = code, log
        found = FLUSHED.search(log)
        self.summary = {k: float(v) if k == "seconds" else int(v)
                        for k, v in found.groupdict().items()} if found else None

    def __getattr__(self, name):
        if name in FLUSHED.groupindex:
            assert self.summary is not None, f"no summary line (exit {self.code}):\n{self.log}"
            return self.summary[name]
        raise AttributeError(name)


class Queue:
    """A queue in a directory of its own, its configuration, and the programs of Shanghai."""

    def __init__(self, directory, init=True, prefix=()):
        self.directory = directory
        self.prefix = list(prefix)
        self.database = directory / "spool" / "queue.db"
        self.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.conf = directory / "cenmail.conf"
        (directory / "aliases").write_text("")
        self.settings = {"queue": self.database, "hostname": "shanghai.example.com",
                         "aliases": directory / "aliases", "linger": "0", "log": "stderr",
                         "retry_min": "1s", "retry_max": "2s"}
        self.relays = []
        self.write()
        if init:
            done = self.run_flush("--init")
            assert done.returncode == 0, done.stderr.decode()

    def write(self, **settings):
        """Writes cenmail.conf again, with these keys changed. None: the key is left out; a list:
        the key is repeated."""
        self.settings.update(settings)
        with open(self.conf, "w", encoding="utf-8") as out:
            for key, value in self.settings.items():
                for one in value if isinstance(value, list) else [value]:
                    if one is not None:
                        out.write(f"{key} {one}\n")
            for relay in self.relays:
                out.write(f"relay {relay}\n")

    def relay(self, *urls):
        self.relays = list(urls)
        self.write()

    @property
    def env(self):
        return {**os.environ, "CENMAIL_CONF": str(self.conf)}

    def sendmail(self, *args, stdin=b"", deadline=60):
        """build/sendmail with these arguments, to its end."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return run([*self.prefix, build_dir() / "sendmail", *args], stdin, deadline, self.env)

    def submit(self, stdin, *args):
        """sendmail -t -i that has to succeed."""
        done = self.sendmail(*(args or ("-t", "-i")), stdin=stdin)
        assert done.returncode == 0, (done.returncode, done.stderr.decode())

    def run_flush(self, *args, deadline=60):
        return run([*self.prefix, build_dir() / "cenmail-flush", "-C", self.conf, *args],
                   deadline=deadline)

    def flush(self, *args, deadline=120):
        """One flusher, until it goes by itself (with linger 0: nothing more is due)."""
        done = self.run_flush("-v", *args, deadline=deadline)
        return Flushed(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))

    def flusher(self, *args):
        """One that runs beside the test."""
        return Program("cenmail-flush", [*self.prefix, build_dir() / "cenmail-flush", "-C",
                                         self.conf, "-v", *args])

    @contextlib.contextmanager
    def _open(self):
        db = sqlite3.connect(f"file:{self.database}?mode=rw", uri=True, timeout=10,
                             isolation_level=None)
        db.execute("pragma wal_autocheckpoint=0")
        db.row_factory = sqlite3.Row
        try:
            yield db
        finally:
            db.close()

    @contextlib.contextmanager
    def reading(self):
        """A person's shell that keeps a read transaction open."""
        with self._open() as db:
            db.execute("begin")
            db.execute("select count(*) from message").fetchone()
            yield

    def sql(self, statement, *values):
        """Rows, each of which takes column names as keys."""
        with self._open() as db:
            return db.execute(statement, values).fetchall()

    def as_program(self, *statements):
        """With triggers off, as the programs have them: nothing stands guard."""
        done = run(["sqlite3", "-batch", "-bail", self.database, ".timeout 10000",
                    ".dbconfig enable_trigger off", ".dbconfig no_ckpt_on_close on",
                    "pragma wal_autocheckpoint=0", *statements])
        assert done.returncode == 0, done.stderr.decode()

    def value(self, statement, *values):
        """The first column of the first row."""
        rows = self.sql(statement, *values)
        return rows[0][0] if rows else None

    @property
    def mailq(self):
        return self.sql("select * from mailq order by id, recipient")

    @property
    def delivered(self):
        return self.sql("select * from delivered order by id, recipient")

    @property
    def attempts(self):
        return self.sql("select * from attempts order by id")

    def states(self):
        """How many recipients are in which state."""
        return {row[0]: row[1] for row in
                self.sql("select state, count(*) from recipient group by state")}

    def contents(self):
        """Message id -> content as stored."""
        return {row[0]: bytes(row[1]) for row in self.sql("select message, data from content")}

    def whole(self):
        """The database is sound, and holds nothing half stored."""
        assert self.value("pragma integrity_check") == "ok"
        assert self.value("select count(*) from message where not exists "
                          "(select 1 from recipient where message=message.id)") == 0
        assert self.value("select count(*) from recipient where state in ('queued','held') and "
                          "not exists (select 1 from content where content.message="
                          "recipient.message)") == 0


LISTENING = re.compile(r"listening on \[?([0-9a-fA-F.:]+?)\]?:(\d+) \((tls|starttls|plain)\)")


class Listener:
    """build/cenmail-listen with a configuration of its own, in the foreground. Started again by
    start() it keeps its port, its journal and its keys."""

    def __init__(self, directory, certificate, upstream, kinds=("tls",), password=CLIENT_PASSWORD,
                 start=True, address="127.0.0.1", prefix=(), pass_fds=(), env=None, **settings):
        directory.mkdir(exist_ok=True)
        self.process = {"pass_fds": pass_fds, "env": env}
        self.directory, self.certificate, self.prefix = directory, certificate, list(prefix)
        self.conf = directory / "listen.conf"
        self.address, self.kinds, self.ports = address, tuple(kinds), {}
        self.settings = {"certificate": certificate.cert, "key": certificate.key,
                         "allow": "127.0.0.0/8", "upstream": upstream,
                         "journal": directory / "journal.db", "rate": "0/s",
                         "hostname": "tokyo.example.com", "log": "stderr"}
        if password:
            self.clients({CLIENT: password})
            write_secret(directory / "relay.secret", f"{CLIENT}:{password}\n")
            self.settings["clients"] = directory / "clients"
        self.password = password
        self.settings.update(settings)
        self.program = None
        self.write()
        if start:
            self.start()

    def clients(self, names):
        write_secret(self.directory / "clients", "".join(
            f"{name}:{hashlib.sha256(secret.encode()).hexdigest()}\n"
            for name, secret in names.items()))

    def write(self, **settings):
        self.settings.update(settings)
        with open(self.conf, "w", encoding="utf-8") as out:
            for kind in self.kinds:
                out.write(f"listen {self.address}:{self.ports.get(kind, 0)} {kind}\n")
            for key, value in self.settings.items():
                for one in value if isinstance(value, list) else [value]:
                    if one is not None:
                        out.write(f"{key} {one}\n")

    def argv(self):
        return [*self.prefix, build_dir() / "cenmail-listen", "-C", self.conf]

    def start(self):
        self.write()
        self.program = Program("cenmail-listen", self.argv(), **self.process)
        seen = 0
        for _ in self.kinds:
            def listening(line):
                found = LISTENING.search(line)
                return found and found.group(3) not in self.ports and found
            if set(self.ports) == set(self.kinds):
                self.program.line(LISTENING.search, since=seen)
                seen += 1
            else:
                found = self.program.line(listening)
                self.ports[found.group(3)] = int(found.group(2))

    @property
    def port(self):
        return self.ports[self.kinds[0]]

    def url(self, port=None, scheme=None):
        """As `relay` wants it; port: the long link's, say."""
        scheme = scheme or {"tls": "lmtps", "starttls": "lmtp+starttls",
                            "plain": "lmtp"}[self.kinds[0]]
        text = f"{scheme}://{self.address}:{port or self.port}"
        if self.kinds[0] != "plain":
            text += f" pin={self.certificate.pin}"
        if self.password:
            text += f" secret={self.directory / 'relay.secret'}"
        return text

    def kill(self):
        return self.program.kill()

    def stop(self):
        return self.program.stop()


def command_line(argv):
    """For messages."""
    return shlex.join(str(a) for a in argv)
