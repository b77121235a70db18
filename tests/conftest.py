"""Fixtures that start the real programs, each test its own, on ports that the kernel picks.
What they said is shown when a test fails; whatever still runs is stopped by its pid."""

import pathlib
import signal
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "tools"))

import filled  # noqa: E402
import harness  # noqa: E402
import installed  # noqa: E402
import parts  # noqa: E402


# Programs inherit what is ignored; under nohup or in a shell's background some signals are.
for number, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL),
                      (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for program in item.funcargs.get("programs", []):
            report.sections.append((f"{program.name} [{program.pid}]", tail(program.log)))


def tail(text, limit=12000):
    return text if len(text) <= limit else "…" + text[-limit:]


@pytest.fixture(scope="session")
def build():
    """Where the binaries are: CENMAIL_BUILD, or build/."""
    return harness.build_dir()


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """good, other (same name, other key), wrong_name, expired."""
    directory = tmp_path_factory.mktemp("certs")
    other = directory / "other"
    other.mkdir()
    return types.SimpleNamespace(
        good=parts.Certificate(directory), other=parts.Certificate(other),
        wrong_name=parts.Certificate(directory, "elsewhere.example.net"),
        expired=parts.Certificate(directory, expired=True))


@pytest.fixture
def wait_for():
    return harness.wait_for


@pytest.fixture
def programs():
    """All that a test has running."""
    running = []
    yield running
    for program in reversed(running):
        program.close()


@pytest.fixture
def spawn(programs):
    """Starts any program as a harness.Program that ends with the test."""

    def start(name, argv, **more):
        program = harness.Program(name, argv, **more)
        programs.append(program)
        return program

    return start


@pytest.fixture
def ses(tmp_path, certs, programs):
    """ses(**options): a stand-in for SES."""
    count = [0]

    def start(certificate=None, **options):
        count[0] += 1
        one = parts.Ses(tmp_path / f"ses{count[0]}", certificate or certs.good, **options)
        programs.append(one.program)
        return one

    return start


@pytest.fixture
def long_link(tmp_path, programs):
    """long_link(port, **options): a long link to a port here."""

    def start(to_port, **options):
        one = parts.LongLink(to_port, tmp_path, **options)
        programs.append(one.program)
        return one

    return start


class _Remembering:
    """Makes what a part starts later known to the test's list of programs."""

    def __init__(self, programs, part, method):
        self._method = getattr(part, method)
        self._programs = programs
        self._part = part

    def __call__(self, *args, **more):
        result = self._method(*args, **more)
        program = result if isinstance(result, harness.Program) else self._part.program
        self._programs.append(program)
        return result


@pytest.fixture(scope="session")
def installation():
    """cenmail as it is installed, in a namespace of its own; of users that are not root."""
    why = installed.why_not()
    if why:
        harness.not_here(why)
    one = installed.Installed()
    yield one
    one.close()


@pytest.fixture
def host(installation):
    """The same, with an empty queue."""
    installation.fresh()
    return installation


@pytest.fixture
def queue(tmp_path, programs):
    """A queue without a relay yet: queue.relay(url)."""
    one = parts.Queue(tmp_path / "shanghai")
    one.flusher = _Remembering(programs, one, "flusher")
    return one


@pytest.fixture
def listener(tmp_path, certs, programs):
    """listener(upstream, kinds=…, **settings): a started cenmail-listen."""
    count = [0]

    def start(upstream, certificate=None, start=True, **settings):
        count[0] += 1
        one = parts.Listener(tmp_path / f"tokyo{count[0]}", certificate or certs.good, upstream,
                             start=False, **settings)
        one.start = _Remembering(programs, one, "start")
        if start:
            one.start()
        return one

    return start


@pytest.fixture
def plain(listener, ses):
    """plain(ses={…}, **settings): a listener without TLS or names, its SES in .ses."""

    def start(ses_options=None, **settings):
        far = ses(**(ses_options or {}))
        near = listener(far.url, kinds=("plain",), password=None, **settings)
        near.ses = far
        return near

    return start


@pytest.fixture
def road(queue, listener, ses, long_link):
    """road(ses_options={…}, link={…}, listener_options={…}, **cenmail_conf): all of it, joined."""

    def join(ses_options=None, link=None, listener_options=None, **settings):
        far = ses(**(ses_options or {}))
        near = listener(far.url, **(listener_options or {}))
        between = long_link(near.port, **link) if link is not None else None
        queue.write(**settings)
        queue.relay(near.url(between.port if between else None))
        return types.SimpleNamespace(queue=queue, listener=near, ses=far, link=between)

    return join


@pytest.fixture(scope="session")
def thousand(tmp_path_factory):
    """1,000 messages of 2 KB: thousand.pour(queue) gives a queue its own copy of them."""
    return filled.Filled(tmp_path_factory.mktemp("thousand") / "queue", 1000)
