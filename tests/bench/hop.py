"""The hop: a full queue over a long link, to our listener and to Postfix's smtp-sink, beside the
programs that people use for it (carriers.py)."""

import collections
import contextlib
import os
import re
import statistics
import subprocess
import threading
import time

import carriers
import filled
import parts
import rivals
from harness import wait_for
from peers import Peer, accepts, free_port

ONE_WAY_MS = 25
UPSTREAM = 20  # connections of the listener to SES: as many as Postfix has to its relay
BANDWIDTH_KBIT = 100_000
# Messages for each; the slow ones get as many as take some ten seconds.
COUNTS = {"many": 10_000, "some": 1000, "Postfix": 500, "Postfix, one connection": 50, "dma": 500,
          "nullmailer": 30, "DATA, one connection": 200, "large": 200}
QUICK = {"many": 1000, "some": 200, "Postfix": 100, "Postfix, one connection": 20, "dma": 100,
         "nullmailer": 5, "DATA, one connection": 40, "large": 50}
LARGE = 100 * 1024

Run = collections.namedtuple("Run", "seconds connections up down cpu")


class Listener:
    """Ours, with a stand-in for SES that answers at once and is spoken to in the clear."""

    name = "listener"

    def __init__(self, directory, certificate):
        self.ses = parts.Ses(directory / "ses", None, tls="none", user=None, fast=True)
        self.listener = parts.Listener(directory / "tokyo", certificate, self.ses.url,
                                       upstream_connections=UPSTREAM)
        self.port = self.listener.port

    def url(self, port):
        return self.listener.url(port)

    def arrived(self, count):
        self.ses.wait(count, 300)

    def cpu(self):
        return {"listener": carriers.cpu_of(self.listener.program.pid),
                "SES": carriers.cpu_of(self.ses.program.pid)}

    def close(self):
        self.listener.program.close()
        self.ses.program.close()


class Sink:
    """Postfix's smtp-sink, which takes everything."""

    name = "smtp-sink"

    def __init__(self, directory, _certificate):
        sink, self.port, self.count = Peer("postfix"), free_port(), 0
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [sink.program("usr/sbin/smtp-sink"), "-c", "-u", "nobody", f"127.0.0.1:{self.port}", "1000"],
            env=sink.env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()
        wait_for(lambda: accepts(self.port), what="smtp-sink")

    def read(self):
        """`sess=1 quit=0 mesg=7`, over and over on one line."""
        while data := self.process.stdout.read1(65536):
            if found := re.findall(rb"mesg=(\d+)\r", data):
                with self.changed:
                    self.count = int(found[-1])
                    self.changed.notify_all()

    def url(self, port):
        return f"smtp://127.0.0.1:{port}"

    def arrived(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, 300), f"{self.count} of {count}"

    def cpu(self):
        return {"sink": carriers.cpu_of(self.process.pid)}

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def one_run(directory, carrier, far_kind, certificate, **link_options):
    directory.mkdir(parents=True)
    far = far_kind(directory, certificate)
    with contextlib.closing(far):
        link = parts.LongLink(far.port, directory, delay_ms=ONE_WAY_MS, **link_options)
        try:
            before, ours = far.cpu(), time.process_time()
            seconds, own = carrier.carry(directory, far.url(link.port), far.arrived)
            cpu = {name: used - before[name] for name, used in far.cpu().items()}
            cpu["bench"] = time.process_time() - ours
            cpu["link"] = carriers.cpu_of(link.program.pid)
            if own is not None:
                cpu["flusher"] = own
            carried = link.stop()
        finally:
            link.program.close()
    return Run(seconds, carried["connections"], carried["up"], carried["down"], cpu)


def rows_of(runs):
    for (carrier, far), results in runs.items():
        seconds = [r.seconds for r in results]
        middle = statistics.median(seconds)
        count = carrier.messages
        connections, up, down = (statistics.median(r[i] for r in results) for i in (1, 2, 3))
        cpu = {name: statistics.median(r.cpu[name] for r in results) for name in results[0].cpu}
        yield [f"{carrier.name} to {far.name}", count, f"{middle:.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}",
               f"{count / middle:.0f}", f"{connections:.0f}", f"{up / count:.0f}", f"{down / count:.0f}",
               " ".join(f"{name} {used:.2f}" for name, used in sorted(cpu.items()))]


HEAD = ["", "messages", "seconds", "all runs", "a second", "connections", "octets up", "down", "processor, s"]


def measure(directory, certificate, systems, runs, **link_options):
    """All take turns in each round."""
    found = collections.defaultdict(list)
    for number in range(runs):
        turns = systems[number % len(systems):] + systems[:number % len(systems)]
        for k, (carrier, far) in enumerate(turns):
            found[carrier, far].append(
                one_run(directory / f"run{number}-{k}", carrier, far, certificate, **link_options))
    return {pair: found[pair] for pair in systems}


def bench_hop(directory, runs, table):
    count = QUICK if runs == 1 else COUNTS
    certificate = parts.Certificate(directory)
    space = rivals.Rivals(directory)
    try:
        def full(number, size=2048):
            return filled.Filled(directory / f"full-{number}-{size}", number, size)

        some = full(count["some"])
        others = [carriers.Postfix(space, directory, "Postfix", count["Postfix"]),
                  carriers.Postfix(space, directory, "Postfix, one connection", count["Postfix, one connection"],
                                   "smtp_destination_concurrency_limit = 1\n"),
                  carriers.Dma(space, directory, "dma", count["dma"]),
                  carriers.Nullmailer(space, directory, "nullmailer", count["nullmailer"])]
        for other in others:
            other.fill()
        systems = [(carriers.Cenmail(some), Listener),
                   (carriers.Cenmail(full(count["many"])), Listener),
                   (carriers.Cenmail(full(count["DATA, one connection"])), Sink),
                   (carriers.Cenmail(some, 20), Sink),
                   *((other, Sink) for other in others)]
        table(f"2 KB each over a link of {2 * ONE_WAY_MS} ms round trip, SES at 0 ms, median of {runs}; the "
              f"processor's seconds are of {os.cpu_count()} cores",
              HEAD, rows_of(measure(directory / "small", certificate, systems, runs)))
        large = full(count["large"], LARGE)
        least = large.octets * 8 / BANDWIDTH_KBIT / 1000
        table(f"100 KB each over a link of {2 * ONE_WAY_MS} ms and {BANDWIDTH_KBIT // 1000} Mbit/s, "
              f"which takes at least {least:.2f} s for the content alone, median of {runs}", HEAD,
              rows_of(measure(directory / "large", certificate, [(carriers.Cenmail(large), Listener)],
                              runs, kbit=BANDWIDTH_KBIT)))
    finally:
        space.close()
