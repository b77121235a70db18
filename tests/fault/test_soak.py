"""F11: mail is accepted and sent while either side is killed at random, the link is cut, and SES
falters and throttles. In the end the set that SES has is the set that was accepted, and no more came
twice than the journal counts in doubt. CENMAIL_SOAK_MESSAGES=N says how many; in a soak 100,000. What long
ones came to is in soaks.txt, where they write it themselves."""

import collections
import os
import pathlib
import random
import subprocess
import threading
import time

import corpus
from chaos import Chaos
from dialogue import journal
from harness import ROOT, wait_for

SOAK = "CENMAIL_SOAK" in os.environ
MESSAGES = int(os.environ.get("CENMAIL_SOAK_MESSAGES", 100_000 if SOAK else 400))
SEED = int(os.environ.get("CENMAIL_SEED", random.randrange(1 << 32)))
LONG = MESSAGES >= 10_000
SENDERS = 4 if LONG else 2
PAUSE = 1 if LONG else 0.3  # seconds in the middle between two strokes of fate
DRAIN = 120  # seconds without any progress
RECORD = pathlib.Path(__file__).with_name("soaks.txt")  # of long ones


def submit(queue, serials, accepted):
    for serial in serials:
        if queue.sendmail("-t", "-i", stdin=corpus.plain(serial, 1024)).returncode == 0:
            accepted.append(f"<p{serial}@corpus.example.com>")


def submit_all(queue):
    accepted = []
    threads = [threading.Thread(target=submit, args=(queue, range(i, MESSAGES, SENDERS), accepted))
               for i in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return accepted


def drain(way):
    """The world is well again: flusher after flusher until nothing is left."""
    before, since = None, time.monotonic()
    while set(states := way.queue.states()) != {"sent"}:
        if states != before:
            before, since = states, time.monotonic()
        assert time.monotonic() - since < DRAIN, (states, way.queue.mailq[:3])
        way.queue.flush(deadline=3600)


def record(line):
    """For good, with the day and what was tried."""
    print(line)
    if not LONG:
        return
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    with open(RECORD, "a", encoding="utf-8") as out:
        out.write(f"{time.strftime('%Y-%m-%d')} {done.stdout.strip() or '(no git)'} {line}\n")


def test_f11_what_is_accepted_is_sent_and_no_double_is_hidden(road):
    way = road(ses_options={"latency": 5, "rate": 400}, link={"delay_ms": 5},
               listener_options={"upstream_connections": 5, "rate": "500/s"}, linger="20s")
    began = time.monotonic()
    with Chaos(way, SEED, pause=PAUSE) as chaos:
        accepted = submit_all(way.queue)
        wait_for(lambda: len(way.ses.messages) >= len(accepted) * 3 // 4,
                 max(120, len(accepted) / 20), "three quarters at SES")
    assert not chaos.wrong, "\n".join(chaos.wrong)
    drain(way)
    arrived = collections.Counter(corpus.message_id(way.ses.content(m)) for m in way.ses.messages)
    doubled = sum(arrived.values()) - len(arrived)
    assert way.listener.stop() == 0
    (counted,), = journal(way.listener, "select total(doubts) from in_doubt")
    lost, strange = set(accepted) - set(arrived), set(arrived) - set(accepted)
    record(f"seed {SEED}: {len(accepted)} of {MESSAGES} accepted, {len(lost)} lost, {doubled} came "
           f"twice, {counted:g} counted in doubt, {len(strange)} never given, "
           f"{time.monotonic() - began:.0f} s, {chaos.count}")
    assert len(accepted) == MESSAGES
    assert set(arrived) == set(accepted)
    assert doubled <= counted
    way.queue.whole()
