"""The listener under a service manager: sockets that outlive it, what it tells, its sandbox."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from dialogue import BODY, Dialogue, mail, token
from harness import ROOT, not_here, run
from restarts import Bringing

# As systemd starts a service with sockets: descriptor 3 and on, and whom they are for.
ACTIVATED = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
"""


def bound(port=0, address="127.0.0.1", backlog=128):
    sock = socket.socket()
    sock.bind((address, port))
    if backlog:
        sock.listen(backlog)
    return sock


def activated(listener, sock, upstream, **more):
    return listener(upstream, kinds=("plain",), password=None, start=False,
                    prefix=[sys.executable, "-c", ACTIVATED, sock.fileno()],
                    pass_fds=(sock.fileno(),), **more)


def test_a_restart_refuses_no_connection(listener, ses):
    """Clients that connect all the time while it is restarted three times: none is refused, and
    each message gets through, once."""
    far, sock = ses(), bound()
    near = activated(listener, sock, far.url)
    near.ports["plain"] = sock.getsockname()[1]
    near.start()

    def send(to, once):
        client = Dialogue(near.port, greeting=False)
        code = client.reply()[0]
        if code == 220:
            code = client.say("LHLO test")[0]
        if code == 250:
            client.send(*mail(BODY, (to, once)))
            code = client.replies(3)[2][0]
        client.close()
        return code

    def restart():
        assert near.stop() == 0
        near.start()

    clients = Bringing(send, 4)
    clients.during(restart, between=20)
    sock.close()
    assert not clients.refused
    assert sorted(m["recipients"][0] for m in far.messages) == sorted(clients.sent)


def test_without_the_socket_a_restart_refuses_some(plain):
    """The control of the test above."""
    near = plain()
    clients = Bringing(lambda to, once: Dialogue(near.port).say("NOOP")[0], 1)
    clients.during(near.stop, times=1, between=0)
    assert [type(why) for why in clients.refused] == [ConnectionRefusedError]


@pytest.mark.parametrize("how", ["another port", "not listening"])
def test_sockets_that_do_not_fit_are_refused(listener, how):
    sock = bound(backlog=0 if how == "not listening" else 8)
    port = sock.getsockname()[1]
    other = bound()
    near = activated(listener, other if how == "another port" else sock, "smtp://127.0.0.1:9")
    near.ports["plain"] = port
    near.write()
    done = subprocess.run([str(a) for a in near.argv()], capture_output=True, text=True, timeout=30,
                          pass_fds=near.process["pass_fds"], check=False)
    assert done.returncode == 78
    assert ("ListenStream=127.0.0.1" if how == "another port" else "does not listen") in done.stderr
    sock.close()
    other.close()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_what_the_manager_is_told(listener, ses, tmp_path, abstract):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"cenmail-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager.bind("\0" + name if abstract else name)
    manager.settimeout(30)
    near = listener(ses().url, kinds=("plain",), password=None,
                    env={**os.environ, "NOTIFY_SOCKET": ("@" if abstract else "") + name})

    def told():
        return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))

    assert told()["READY"] == "1"
    near.program.signal(signal.SIGHUP)
    reloading = told()
    assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0
    assert told()["READY"] == "1"
    assert near.stop() == 0
    assert told()["STOPPING"] == "1"
    manager.close()


# --- the sandbox ---

def unit(tmp_path):
    """The unit as it is installed."""
    text = (ROOT / "queue/listen/cenmail-listen.service.in").read_text()
    path = tmp_path / "cenmail-listen.service"
    path.write_text(text.replace("@PREFIX@", "/usr").replace("@STATEDIR@", "/var/lib/cenmail"))
    return path


def analyze(*argv):
    if not shutil.which("systemd-analyze"):
        not_here("systemd-analyze is not installed")
    return run(["systemd-analyze", "--no-pager", *argv]).stdout.decode()


def test_the_unit_is_sandboxed(tmp_path):
    said = analyze("security", "--offline=yes", unit(tmp_path))
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure and float(exposure.group(1)) <= 2.5, said


def allowed_calls(service):
    """The system calls that the unit lets through."""
    calls = set()
    for words in re.findall(r"^SystemCallFilter=(~?)(.*)$", service.read_text(), re.M):
        for word in words[1].split():
            named = expand(word) if word.startswith("@") else {word}
            calls = calls - named if words[0] else calls | named
    return calls


def expand(group):
    found = set()
    for line in analyze("syscall-filter", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= expand(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def test_it_lives_within_the_sandbox(listener, ses, certs, tmp_path):
    """With the unit's capabilities, as another user than root, with all the system calls it makes
    on the unit's list."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("strace"):
        not_here("needs root, setpriv and strace")
    if os.environ.get("CENMAIL_SAN"):
        pytest.skip("a sanitizer makes calls of its own")
    service, far = unit(tmp_path), ses()
    bounds = re.search(r"^CapabilityBoundingSet=(.*)$", service.read_text(), re.M).group(1)
    caps = ",".join(["-all", *("+" + c.removeprefix("CAP_").lower() for c in bounds.split())])
    trace = tmp_path / "trace"
    near = listener(far.url, start=False, prefix=[
        "strace", "-f", "-qq", "-o", trace, "setpriv", "--bounding-set", caps, "--inh-caps", "-all",
        "--no-new-privs"])
    near.settings["journal"] = reachable_state(near.directory) / "journal.db"
    near.settings["key"] = shutil.copy(certs.good.key, near.directory)
    near.settings["certificate"] = shutil.copy(certs.good.cert, near.directory)
    near.start()
    pid = int(run(["pgrep", "-P", str(near.program.pid)]).stdout.split()[0])  # below strace
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert f"\nUid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status
    assert re.search(r"^Groups:\s*$", status, re.M) and re.search(r"^CapEff:\s*0+$", status, re.M)
    client = Dialogue(near.port, "tls")
    assert client.login("shanghai", near.password)[0] == 235
    big = BODY + ("x" * 70 + "\r\n") * 10000
    for content in (BODY, big):
        client.send(*mail(content, ("b@example.org", token())))
        assert client.replies(3)[2][0] == 250
    # it is root no longer: what only root can read stays as it was, what its group can is read
    since = len(near.program.lines)
    os.kill(pid, signal.SIGHUP)
    near.program.line(lambda line: re.search("reload failed.*Permission denied", line), since=since)
    for path in (near.conf, near.settings["clients"], near.settings["key"]):
        os.chown(path, 0, NOBODY)
        os.chmod(path, 0o640)
    os.kill(pid, signal.SIGHUP)
    near.program.line(lambda line: line.endswith(": reloaded"), since=since)
    os.kill(pid, signal.SIGTERM)
    assert near.program.wait() == 0
    lines = trace.read_text(errors="replace").split("\n")
    begin = next(i for i, line in enumerate(lines) if re.search("execve.*cenmail-listen.* = 0$", line)
                 and "setpriv" not in line)
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed)",
                          "\n".join(lines[begin:]), re.M))
    assert {"accept4", "sendto", "setresuid", "fdatasync"} <= made
    assert not made - allowed_calls(service)


NOBODY = 65534


def reachable_state(directory):
    """A directory of nobody's that nobody can come to; pytest's own are root's alone."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    for parent in state.parents:
        if parent.stat().st_uid == os.geteuid() and "pytest" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o011)
    return state
