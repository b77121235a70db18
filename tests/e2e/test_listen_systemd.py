"""The listener's units under a real systemd, as a host boots them: socket and service, the sandbox,
restart, reload, and what happens when it is killed."""

import hashlib
import re
import threading

import booted
import pytest
from dialogue import BODY, Dialogue, mail, token
from harness import not_here, wait_for
from parts import CLIENT, CLIENT_PASSWORD, Ses, SES_PASSWORD, SES_USER
from peers import free_port
from restarts import Bringing

SERVICE, SOCKET = "cenmail-listen.service", "cenmail-listen.socket"


def client_line(name, password):
    return f"{name}:{hashlib.sha256(password.encode()).hexdigest()}\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory, certs):
    """Booted, configured, its socket and service enabled and started. SES is .ses."""
    why = booted.why_not()
    if why:
        not_here(why)
    far = Ses(tmp_path_factory.mktemp("ses"), certs.good)
    try:
        one = booted.Booted()
    except RuntimeError as fault:
        far.program.close()
        not_here(str(fault))
    one.ses, one.port = far, free_port()
    one.put("/etc/cenmail/ses.secret", f"{SES_USER}:{SES_PASSWORD}\n", 0o600)
    one.put("/etc/cenmail/clients", client_line(CLIENT, CLIENT_PASSWORD), 0o640, booted.CENMAIL)
    one.put("/etc/cenmail/listen.key", certs.good.key.read_text(), 0o640, booted.CENMAIL)
    one.put("/etc/cenmail/listen.crt", certs.good.cert.read_text())
    one.put("/etc/cenmail/listen.conf", f"""
listen 127.0.0.1:{one.port} tls
certificate /etc/cenmail/listen.crt
key /etc/cenmail/listen.key
allow 127.0.0.0/8
clients /etc/cenmail/clients
upstream {far.url.split(" secret=")[0]} secret=/etc/cenmail/ses.secret
rate 0/s
metrics /run/cenmail/listen.prom
""")
    one.put(f"{booted.UNITS}/{SOCKET}.d/override.conf",
            f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{one.port}\n")
    one.systemctl("daemon-reload")
    one.systemctl("start", SOCKET, SERVICE)
    yield one
    one.close()
    far.program.close()


def send(machine, recipient, once=None, name=CLIENT, password=CLIENT_PASSWORD):
    """The code of the answer to a message, or to the login. A refused connection raises."""
    client = Dialogue(machine.port, "tls", greeting=False)
    try:
        code = client.reply()[0]
        if code != 220:
            return code
        code = client.login(name, password)[0]
        if code != 235:
            return code
        client.send(*mail(BODY, (recipient, once or token())))
        return client.replies(3)[-1][0]
    finally:
        client.close()


def sent_to(machine, recipient):
    return [m for m in machine.ses.messages if m["recipients"] == [recipient]]


def status(machine):
    """/proc/PID/status of the service."""
    pid = machine.show(SERVICE, "MainPID")
    return pid, (machine.root / f"proc/{pid}/status").read_text()


def test_the_units_are_what_systemd_wants(machine):
    done = machine.run("systemd-analyze", "verify", f"{booted.UNITS}/{SERVICE}",
                       f"{booted.UNITS}/{SOCKET}")
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_it_is_up_in_its_sandbox_and_sends(machine):
    assert machine.show(SERVICE, "ActiveState") == "active"
    assert machine.show(SERVICE, "StatusText") == "Taking mail"
    pid, said = status(machine)
    uid = booted.CENMAIL
    assert f"\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in said
    assert re.search(r"^CapEff:\s*0+$", said, re.M) and re.search(r"^CapPrm:\s*0+$", said, re.M)
    assert "\nNoNewPrivs:\t1\n" in said and "\nSeccomp:\t2\n" in said
    assert send(machine, "sandbox@example.org") == 250
    assert len(sent_to(machine, "sandbox@example.org")) == 1
    figures = machine.root / "run/cenmail/listen.prom"
    wait_for(figures.exists, what="the figures")
    assert figures.stat().st_uid == uid
    inside = ["nsenter", "-t", pid, "-m", "sh", "-c"]  # what its own mounts let anybody do
    for path in ("/usr/bin/x", "/etc/cenmail/x", "/var/lib/x", "/sys/x"):
        assert machine.run(*inside, f"touch {path}").returncode != 0, path
    assert machine.run(*inside, "touch /var/lib/cenmail/x && rm /var/lib/cenmail/x").returncode == 0
    assert machine.run(*inside, "ls /home /root").stdout.split() in (
        [b"/home:", b"/root:"], [])


def test_a_restart_refuses_no_connection(machine):
    """Clients connect all the time while the service is restarted: each gets its message through."""
    clients = Bringing(lambda to, once: send(machine, to, once))
    clients.during(lambda: machine.systemctl("restart", SERVICE), between=5)
    assert not clients.refused
    assert [len(sent_to(machine, to)) for to in clients.sent] == [1] * len(clients.sent)
    assert machine.show(SERVICE, "Result") == "success"


def test_a_reload_is_over_when_systemctl_says_so(machine):
    pid = machine.show(SERVICE, "MainPID")
    assert send(machine, "osaka@example.org", name="osaka", password="new") == 535
    machine.put("/etc/cenmail/clients", client_line(CLIENT, CLIENT_PASSWORD) +
                client_line("osaka", "new"), 0o640, booted.CENMAIL)
    machine.systemctl("reload", SERVICE)
    wait_for(lambda: "reloaded" in machine.log.text, what="the reload")
    assert send(machine, "osaka@example.org", name="osaka", password="new") == 250
    assert machine.show(SERVICE, "MainPID") == pid


def test_killed_it_is_started_again_and_nobody_is_refused(machine):
    pid = machine.show(SERVICE, "MainPID")
    machine.run("kill", "-KILL", pid)
    assert send(machine, "again@example.org") == 250  # it waited for the new one
    assert machine.show(SERVICE, "MainPID") not in (pid, "0")
    assert machine.show(SERVICE, "NRestarts") >= "1"


def test_stopped_it_is_started_by_who_connects(machine):
    machine.systemctl("stop", SERVICE)
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    assert machine.show(SERVICE, "ExecMainStatus") == "0"
    assert not (machine.root / "run/cenmail/listen.prom").exists()  # what is not there is not shown
    assert send(machine, "woken@example.org") == 250


def test_a_configuration_that_is_mended_needs_no_other_word(machine):
    """It was restarted with a wrong one: it is tried again, and who connected meanwhile is served."""
    good = (machine.root / "etc/cenmail/listen.conf").read_text()
    machine.put("/etc/cenmail/listen.conf", good + "rate fast\n")
    assert machine.run("systemctl", "restart", SERVICE).returncode != 0
    wait_for(lambda: machine.show(SERVICE, "ExecMainStatus") == "78", what="its end")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(send(machine, "patient@example.org")))
    waiting.start()
    machine.put("/etc/cenmail/listen.conf", good)
    waiting.join()
    assert answers == [250]
    assert machine.show(SERVICE, "StartLimitIntervalUSec") == "0"
