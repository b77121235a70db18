"""The whole chain: sendmail, the flusher, a long link, the listener, and a stand-in for SES that takes
its time, under TLS and with AUTH; beside it Postfix with a Postfix as its relayhost, likewise. Both
are up before the clock starts, and have sent a message."""

import contextlib
import os
import re
import statistics
import subprocess
import time

import carriers
import corpus
import parts
import rivals
from dialogue import BODY, Dialogue, mail, token
from harness import build_dir
from peers import free_port

ONE_WAY_MS, SES_MS = 25, 80
UPSTREAM = 20  # connections to SES at most: Postfix's default for one destination
AT_ONCE = 8    # callers of sendmail, of many messages
SESSIONS = 200


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


class Far:
    """The link and what is behind the relay, the same for both."""

    def __init__(self, directory, certificate, stack):
        self.directory = directory
        directory.mkdir()
        self.ses = stack.enter_context(carriers.closing(parts.Ses(
            directory / "ses", certificate, fast=True, latency=SES_MS)))

    def link(self, port, stack):
        self.trace = self.directory / "trace"
        return stack.enter_context(carriers.closing(parts.LongLink(
            port, self.directory, delay_ms=ONE_WAY_MS, trace=self.trace)))

    def first_up_after(self, moment):
        """When the first octet left towards the relay, wall clock."""
        times = (line.split() for line in self.trace.read_text().splitlines())
        return next((float(at) for at, way, _ in times if way == "up" and float(at) > moment), None)


class Ours:
    name = "cenmail"

    def __init__(self, directory, certificate, stack, _space):
        self.far = Far(directory, certificate, stack)
        self.listener = stack.enter_context(carriers.closing(parts.Listener(
            directory / "tokyo", certificate, self.far.ses.url, upstream_connections=UPSTREAM,
            client_sessions=SESSIONS)))
        self.queue = parts.Queue(directory / "shanghai")
        self.queue.write(linger="1h")
        self.queue.relay(self.listener.url(self.far.link(self.listener.port, stack).port))
        self.flusher = self.queue.flusher()
        stack.callback(self.flusher.close)

    def command(self):
        return [build_dir().resolve() / "sendmail", "-t", "-i"], self.queue.env

    def callers(self, calls, message):
        argv, env = self.command()
        return [build_dir() / "tools/callers", AT_ONCE, calls, message, *argv], env

    def processes(self):
        return {"Shanghai": [self.flusher.pid], "Tokyo": [self.listener.program.pid]}


POSTFIX = """
smtp_tls_security_level = encrypt
smtp_tls_loglevel = 0
"""
SHANGHAI = """
relayhost = [127.0.0.1]:{port}
"""
TOKYO = """
relayhost = [127.0.0.1]:{ses.port}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate.cert}
smtpd_tls_key_file = {certificate.key}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = texthash:/etc/{instance}/secret
"""


class PostfixTwice:
    name = "Postfix twice"

    def __init__(self, directory, certificate, stack, space):
        self.far, self.space = Far(directory, certificate, stack), space
        ses, port = self.far.ses, free_port()
        tokyo = carriers.Postfix(space, directory, "tokyo", 0, POSTFIX,
                                 f"127.0.0.1:{port} inet n - n - - smtpd\n")
        secret = tokyo.etc / "secret"
        secret.write_text(f"[127.0.0.1]:{ses.port} {ses.user}:{ses.password}\n")
        self.tokyo = stack.enter_context(tokyo.started(
            TOKYO.format(ses=ses, certificate=certificate, instance=tokyo.instance)))
        shanghai = carriers.Postfix(space, directory, "shanghai", 0, POSTFIX)
        self.shanghai = stack.enter_context(shanghai.started(
            SHANGHAI.format(port=self.far.link(port, stack).port)))
        self.env = {"PATH": rivals.PATH, **shanghai.env}

    def command(self):
        return self.space.inside(["/usr/sbin/sendmail", "-t", "-i"]), self.env

    def callers(self, calls, message):
        return self.space.inside([build_dir().resolve() / "tools/callers", AT_ONCE, calls, message,
                                  "/usr/sbin/sendmail", "-t", "-i"]), self.env

    def processes(self):
        return {"Shanghai": carriers.family(self.shanghai.pid), "Tokyo": carriers.family(self.tokyo.pid)}


def called(argv, env, stdin):
    """A program's exit code; with less in between than subprocess has, which costs 5 ms."""
    argv = [str(a) for a in argv]
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def one(system, serial):
    """Milliseconds from the start of sendmail until SES has it, from its end until an octet is on the
    link, and what a call of it took."""
    argv, env = system.command()
    ses = system.far.ses
    message = system.far.directory / "message"
    message.write_bytes(corpus.plain(serial))
    had = len(ses.messages)
    began = time.time()
    code = called(argv, env, message)
    ended = time.time()
    assert code == 0, f"{argv[0]} ended with {code}"
    taken = ses.wait(had + 1)[had]["time"] / 1000
    left = system.far.first_up_after(began)
    return (taken - began) * 1000, (left - ended) * 1000, (ended - began) * 1000


def many(system, count, directory):
    """Seconds for all of them, from the first call on."""
    message = directory / "message"
    message.write_bytes(corpus.plain(1))
    argv, env = system.callers(count, message)
    had = len(system.far.ses.messages)
    began = time.time()
    with subprocess.Popen([str(a) for a in argv], env=env, stdout=subprocess.DEVNULL) as callers:
        taken = system.far.ses.wait(had + count, 300)
        assert callers.wait() == 0
    return max(m["time"] for m in taken[had:]) / 1000 - began


def pss(pids):
    """Megabytes."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            total += int(re.search(r"^Pss: +(\d+)", rollup.read(), re.M)[1])
    return f"{total / 1024:.1f} MB"


def switches(pids):
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])
    return total


def idle(system, seconds):
    """What it costs when there is nothing to do."""
    time.sleep(8)  # idle connections to SES are closed after 5 s
    before = {where: (pids, switches(pids)) for where, pids in system.processes().items()}
    time.sleep(seconds)
    return [cell for pids, had in before.values()
            for cell in (f"{(switches(pids) - had) * 60 / seconds:.0f}", pss(pids))]


def with_sessions(near):
    """PSS of the listener under TLS sessions that have each brought a message."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(Dialogue(near.port, "tls")))
                   for _ in range(SESSIONS - 1)]  # the flusher has one
        for client in clients:
            assert client.login(parts.CLIENT, near.password)[0] == 235
            client.send(*mail(BODY, ("kunde@example.net", token())))
        for client in clients:
            assert client.replies(3)[2][0] == 250
        return pss([near.program.pid])


def bench_chain(directory, runs, table):
    singles, count, rounds, seconds = (5, 100, 1, 5) if runs == 1 else (50, 500, 3, 60)
    certificate = parts.Certificate(directory)
    space = rivals.Rivals(directory)
    each, rest, sessions = [], [], ""
    try:
        for kind in (Ours, PostfixTwice):
            with contextlib.ExitStack() as stack:
                system = kind(directory / kind.__name__, certificate, stack, space)
                one(system, 0)
                calls = [one(system, i) for i in range(singles)]
                whole, link, call = zip(*calls)
                took = statistics.median(many(system, count, directory) for _ in range(rounds))
                each.append([kind.name, f"{statistics.median(whole):.0f}", f"{percentile(whole, 0.99):.0f}",
                             f"{statistics.median(call):.1f}", f"{statistics.median(link):.1f}",
                             f"{took:.2f}", f"{count / took:.0f}"])
                rest.append([kind.name, *idle(system, seconds)])
                if kind is Ours:
                    sessions = with_sessions(system.listener)
    finally:
        space.close()
    table(f"sendmail, a link of {2 * ONE_WAY_MS} ms round trip, relay, SES at {SES_MS} ms: {singles} messages one at "
          f"a time, ms; what none can do without is {ONE_WAY_MS + SES_MS}; and {count} by {AT_ONCE} callers, "
          f"median of {rounds}",
          ["", "median", "p99", "of it sendmail", "from its end to the link", f"s for {count}", "a second"], each)
    table(f"idle, over {seconds} s", ["", "Shanghai: wake-ups a minute", "PSS", "Tokyo: wake-ups", "PSS"], rest)
    print(f"\nthe listener with {SESSIONS} sessions under TLS: PSS {sessions}")
