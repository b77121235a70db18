"""The lab of the article that this project began with, in network namespaces of its own:

    Shanghai 172.16.22.241 ---- the dedicated line ---- 10.20.8.37:3535 Tokyo ---- 203.0.113.25 SES

Shanghai has no route to the outside. Sending directly is deferred as unreachable and nothing is
bounced; through Tokyo it is sent, and SES's id is in Shanghai's log and database."""

import os
import re

import corpus
import harness
import parts
import pytest
from harness import run

SHANGHAI, TOKYO, LISTEN_PORT = "172.16.22.241", "10.20.8.37", 3535
TOKYO_OUTSIDE, SES = "203.0.113.1", "203.0.113.25"


class Lab:
    """Three hosts; names carry our pid, so that two runs don't meet."""

    def __init__(self):
        self.hosts = {h: f"cenmail-{h}-{os.getpid()}" for h in ("shanghai", "tokyo", "outside")}

    def ip(self, *args):
        return run(["ip", *args], deadline=20)

    def must(self, *args):
        done = self.ip(*args)
        assert done.returncode == 0, (args, done.stderr.decode())

    def on(self, host):
        """The prefix that runs a program there."""
        return ["ip", "netns", "exec", self.hosts[host]]

    def join(self, a, a_address, b, b_address):
        """A cable between two hosts, each of which knows the other's address and no more."""
        end_a, end_b = f"to-{b}", f"to-{a}"
        self.must("-n", self.hosts[a], "link", "add", end_a, "type", "veth", "peer", "name", end_b,
                  "netns", self.hosts[b])
        for host, end, mine, theirs in ((a, end_a, a_address, b_address),
                                        (b, end_b, b_address, a_address)):
            self.must("-n", self.hosts[host], "addr", "add", mine, "peer", theirs, "dev", end)
            self.must("-n", self.hosts[host], "link", "set", end, "up")

    def build(self):
        for host in self.hosts.values():
            for command in (("netns", "add", host), ("-n", host, "link", "set", "lo", "up")):
                done = self.ip(*command)
                if done.returncode != 0:
                    harness.not_here("network namespaces are not permitted here: "
                                     + done.stderr.decode().strip())
        self.join("shanghai", SHANGHAI, "tokyo", TOKYO)
        self.join("tokyo", TOKYO_OUTSIDE, "outside", SES)

    def remove(self):
        for host in self.hosts.values():
            self.ip("netns", "del", host)


@pytest.fixture
def lab():
    one = Lab()
    try:
        one.build()
        yield one
    finally:
        one.remove()


@pytest.fixture
def outside(lab, tmp_path, certs, programs):
    far = parts.Ses(tmp_path / "ses", certs.good, prefix=lab.on("outside"), address=SES, port=587)
    programs.append(far.program)
    return far


@pytest.fixture
def tokyo(lab, outside, tmp_path, certs, programs):
    near = parts.Listener(tmp_path / "tokyo", certs.good, outside.url, start=False, address=TOKYO,
                          prefix=lab.on("tokyo"), allow="172.16.0.0/12")
    near.ports["tls"] = LISTEN_PORT
    near.start()
    programs.append(near.program)
    return near


@pytest.fixture
def shanghai(lab, tmp_path):
    return parts.Queue(tmp_path / "shanghai", prefix=lab.on("shanghai"))


def test_shanghai_can_reach_tokyo_and_nothing_else(lab):
    reach = [*lab.on("shanghai"), "sh", "-c"]
    assert run([*reach, f"ip route get {TOKYO}"]).returncode == 0
    assert run([*reach, f"ip route get {SES}"]).returncode != 0


def test_directly_it_is_deferred_and_nothing_bounces(shanghai, outside):
    shanghai.relay(outside.url)
    message = corpus.Message(1, 1000)
    shanghai.submit(message.given)
    done = shanghai.flush()
    assert re.search(rf"to=<{message.recipient}>.*dsn=4\.4\.1, status=deferred \(.*unreachable",
                     done.log), done.log
    assert "bounced" not in done.log
    row, = shanghai.mailq
    assert (row["state"], row["tries"]) == ("queued", 0)
    assert shanghai.sql("select * from undeliverable") == []
    assert "unreachable" in row["last_reply"]
    assert outside.stop()["connections"] == 0


def test_through_tokyo_it_is_sent(shanghai, tokyo, outside):
    """The same message that could not go directly."""
    shanghai.relay(outside.url)
    message = corpus.Message(1, 1000)
    shanghai.submit(message.given)
    shanghai.flush()
    shanghai.relay(tokyo.url())
    shanghai.sql("update recipient set state='queued'")
    done = shanghai.flush()
    arrived, = outside.messages
    line = re.search(rf"^.*to=<{message.recipient}>.*status=sent.*$", done.log, re.M)
    assert line, done.log
    assert f"relay={TOKYO}[{TOKYO}]:{LISTEN_PORT}" in line.group(0)
    assert "dsn=2.0.0" in line.group(0) and arrived["id"] in line.group(0)
    assert re.search(r"delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+", line.group(0))
    row, = shanghai.delivered
    assert (row["ses_id"], row["recipient"]) == (arrived["id"], message.recipient)
    content = outside.content(arrived)
    assert f"[{SHANGHAI}]".encode() in content  # the listener's Received names its client
    assert corpus.below_received(content) == message.expected


def test_tokyo_alone_can_do_nothing_for_strangers(tokyo, outside, lab, tmp_path, certs):
    """The listener lets in its `allow` list only, and the outside is not on it."""
    stranger = parts.Queue(tmp_path / "stranger", prefix=lab.on("outside"))
    lab.must("-n", lab.hosts["outside"], "route", "add", TOKYO, "via", TOKYO_OUTSIDE)
    stranger.relay(tokyo.url())
    stranger.submit(corpus.Message(2, 1000).given)
    done = stranger.flush()
    assert SES in tokyo.program.log, done.log  # it came as far as Tokyo's door
    assert outside.messages == [] and stranger.states() == {"queued": 1}
