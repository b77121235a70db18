"""The listener's figures, read by a parser of others, and its log, read by pflogsumm."""

import os
import re
import signal
import threading

import pytest
from dialogue import BODY, Dialogue, journal, mail, token
from harness import not_here, run, wait_for
from parts import CLIENT, CLIENT_PASSWORD
from peers import Peer


def figures(path):
    """Name and labels -> value, by Prometheus's own parser."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        not_here("python3-prometheus-client is not installed")
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type in ("counter", "gauge", "histogram") and family.documentation
        for sample in family.samples:
            key = sample.name.removeprefix("cenmail_") + "".join(
                f" {k}={v}" for k, v in sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def send(client, *recipients, **more):
    client.send(*mail(BODY, *recipients, **more))
    return [code for code, _ in client.replies(1 + 2 * len(recipients))[1 + len(recipients):]]


def test_the_figures_are_right(listener, ses, tmp_path, wait_for):
    far = ses(latency=30)
    far.faults("rcpt <bad@*> * 553 <bad@example.org> address unknown",
               "dot <later@*> * 451 Temporary service failure",
               "dot <slow@*> 1 454 Throttling failure: Maximum sending rate exceeded",
               "dot <lost@*> 1 close-before-reply")
    path = tmp_path / "listen.prom"
    near = listener(far.url, metrics=path, kinds=("tls", "starttls"), client_sessions="2")
    client = Dialogue(near.ports["tls"], "tls")
    client.hello()
    assert client.login(CLIENT, "wrong")[0] == 535
    assert client.login(CLIENT, CLIENT_PASSWORD)[0] == 235
    first = ("a@example.org", token())
    assert send(client, first, "b@example.org") == [250, 250]
    assert send(client, first) == [250]                          # again, from the journal
    assert send(client, ("bad@example.org", token()), "c@example.org") == [553, 250]
    assert send(client, ("d@example.org", token()), sender="later@example.com") == [451]
    assert send(client, ("e@example.org", token()), sender="slow@example.com") == [250]
    lost = ("f@example.org", token())
    assert send(client, lost, sender="lost@example.com") == [451]
    assert send(client, lost, sender="lost@example.com") == [250]  # in spite of doubt
    client.say("MAIL FROM:<a@example.com>")
    assert client.say("RCPT TO:<x%y@example.org>")[0] == 550
    client.say("RSET")
    held = [Dialogue(near.ports["starttls"]) for _ in range(3)]
    assert [one.greeting[0] for one in held] == [220, 220, 421]
    now = wait_for(lambda: (f := figures(path)).get("sessions") == 3 and f, what="the figures")
    assert now["ses_connections"] == 1 and now["messages_sending"] == now["messages_waiting"] == 0
    assert os.stat(path).st_mode & 0o777 == 0o644
    client.close()
    assert near.stop() == 0
    f = figures(path)
    assert {k: v for k, v in f.items() if v and "_seconds" not in k and "octets" not in k} == {
        "messages_total": 7, "recipients_total": 9,
        "answers_total class=sent": 6, "answers_total class=never": 1,
        "answers_total class=later": 2,
        "refused_total class=never": 1, "repeated_total": 1, "throttled_total": 1,
        "in_doubt_total": 1, "resent_total": 1,
        "sessions_total": 3, "turned_away_total reason=client_sessions": 1,
        "logins_total result=right": 1, "logins_total result=wrong": 1,
        "ses_connects_total": f["ses_connects_total"]}
    assert f["octets_total"] >= 7 * len(BODY) and 2 <= f["ses_connects_total"] <= 3
    for name, count, least in (("answer_seconds", 9, 0.03), ("ses_seconds", 5, 0.03)):
        assert f[f"{name}_count"] == f[f"{name}_bucket le=+Inf"] == count, name
        assert f[f"{name}_sum"] >= least
        steps = [f[f"{name}_bucket le={le}"] for le in
                 ("0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0",
                  "60.0")] if f"{name}_bucket le=1.0" in f else \
            [v for k, v in f.items() if k.startswith(f"{name}_bucket")]
        assert steps == sorted(steps)
    assert f["ses_seconds_bucket le=0.025"] == 0  # SES itself takes 30 ms
    assert not list(tmp_path.glob("*.part"))


def test_the_figures_of_what_goes_wrong(listener, ses, tmp_path, wait_for):
    """Those that the test above leaves at 0."""
    far = ses()
    far.faults("dot <slow@*> 1 stall 7", "dot <denied@*> * 554 Access denied: User x",
               "dot <held@*> * 554 Message rejected: Email address is not verified. The following "
               "identities failed the check: held@example.com",
               "dot <pace@*> * 454 Throttling failure: Daily message quota exceeded")
    path = tmp_path / "listen.prom"
    near = listener(far.url, metrics=path, kinds=("starttls",), sessions_max="16",
                    allow="127.0.0.1/32", upstream_connections="1")
    client = Dialogue(near.port, "starttls")
    assert client.login(CLIENT, CLIENT_PASSWORD)[0] == 235
    assert Dialogue(near.port, source="127.0.0.9").greeting[0] == 554
    more = [Dialogue(near.port) for _ in range(16)]
    assert [one.greeting[0] for one in more] == [220] * 15 + [421]
    for one in more:
        one.close()
    client.send(*mail(BODY, ("a@example.org", token()), sender="slow@example.com"),
                *mail(BODY, ("b@example.org", token())), *mail(BODY, ("c@example.org", token())))
    wait_for(lambda: (f := figures(path))["sessions"] == f["messages_sending"] == 1 and
             f["messages_waiting"] == 2, what="the one that is sent, and two that wait")
    assert [code for code, _ in client.replies(9)] == [250] * 9
    assert send(client, ("d@example.org", token()), sender="denied@example.com") == [554]
    assert send(client, ("e@example.org", token()), sender="held@example.com") == [554]
    assert send(client, ("f@example.org", token()), sender="pace@example.com") == [451]
    unheard(near)
    near.program.signal(signal.SIGHUP)  # SES is asked again what it says of its quota
    near.program.line(lambda line: line.endswith(": reloaded"))
    far.program.close()
    assert send(client, ("g@example.org", token())) == [451]
    assert near.stop() == 0
    f = figures(path)
    assert {k: v for k, v in f.items() if v and ("class" in k or "away" in k or "unheard" in k or
                                                 "fail" in k or k.startswith("messages_"))} == {
        "messages_total": 7, "answers_total class=sent": 3, "answers_total class=road": 2,
        "answers_total class=held": 1, "answers_total class=pace": 1,
        "turned_away_total reason=allow": 1, "turned_away_total reason=sessions_max": 1,
        "logins_total result=unheard": 1, "refused_total class=road": 1,
        "ses_connect_failures_total": 1}


def unheard(near):
    """As many wrong passwords as an address may have, side by side, and what that leaves room for."""
    def wrong():
        one = Dialogue(near.port, "starttls")
        codes = [one.login(CLIENT, "wrong")[0] for _ in range(2)]
        one.close()
        return codes

    threads = [threading.Thread(target=wrong) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong() == [535, 454]


def test_a_file_that_can_not_be_written_stops_nothing(listener, ses, tmp_path):
    near = listener(ses().url, kinds=("plain",), password=None, metrics=tmp_path / "none/x.prom")
    near.program.line(lambda line: "metrics: " in line)
    client = Dialogue(near.port)
    client.hello()
    assert send(client, "b@example.org") == [250]
    (tmp_path / "none").mkdir()
    path = tmp_path / "none/x.prom"
    wait_for(path.exists)
    assert near.program.log.count("metrics: ") == 1
    near.write(metrics=tmp_path / "other.prom")  # a reload changes it
    near.program.signal(signal.SIGHUP)
    wait_for((tmp_path / "other.prom").exists)
    assert near.stop() == 0 and figures(tmp_path / "other.prom")["messages_total"] == 1


def test_every_minute_is_in_the_log(plain):
    near = plain()
    client = Dialogue(near.port)
    client.hello()
    assert send(client, "a@example.org", "b@example.org") == [250, 250]
    client.close()
    assert near.stop() == 0
    assert re.search(r"statistics: \d+ s: messages=1 recipients=2 sent=2 never=0 later=0, now: "
                     r"sessions=0 waiting=0 sending=0 ses=0", near.program.log)


def test_pflogsumm_reads_the_log(listener, ses, tmp_path):
    far = ses()
    far.faults("dot <never@*> * 552 Message is too long.",
               "dot <later@*> * 451 Temporary service failure")
    near = listener(far.url)
    client = Dialogue(near.port, "tls")
    client.login(CLIENT, CLIENT_PASSWORD)
    for sender, count, code in (("a@example.com", 3, 250), ("b@example.net", 1, 250),
                                ("never@example.com", 1, 552), ("later@example.com", 2, 451)):
        to = [(f"r{i}@example.org", token()) for i in range(count)]
        assert send(client, *to, sender=sender) == [code] * count
    assert near.stop() == 0
    line = next(line for line in near.program.lines if "status=sent" in line)
    once, = journal(near, "select token from once where recipient='r0@example.org' and "
                          "state='sent' order by at limit 1")
    assert re.fullmatch(
        rf"cenmail/smtp\[\d+\]: [0-9A-F]+: to=<r0@example.org>, relay=127.0.0.1\[127.0.0.1\]:\d+, "
        rf"delay=\d\.\d+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok {far.messages[0]['id']} "
        rf"wait=[\d.]+ ses=[\d.]+\), client=shanghai, once={once[0]}", line), line
    log = tmp_path / "mail.log"
    log.write_text("".join(f"Nov 24 16:00:0{i % 10} tokyo {line}\n"
                           for i, line in enumerate(near.program.lines)))
    peer = Peer("pflogsumm")
    done = run(["perl", peer.program("usr/sbin/pflogsumm"), "--syslog-name=cenmail", log],
               env={**peer.env, "PERL5LIB": str(peer.root / "usr/share/perl5")})
    said = done.stdout.decode()
    for count, what in ((4, "received"), (4, "delivered"), (1, r"deferred +\(2 +deferrals\)"),
                        (1, "bounced"), (4, "senders"), (3, "recipients")):
        assert re.search(rf"^ +{count} +{what}", said, re.M), (what, said)
