"""The command of `notify`: once when a road is down or mail held for a quarter of an hour, once when
it is over, whichever flusher sees it; and what it is given."""

import os
import time

import pytest

QUARTER = 15 * 60 * 1000


@pytest.fixture
def told(queue):
    """What the command was called with, so far; it writes one line of its environment a call."""
    path = queue.directory / "told"
    queue.write(notify=f"env | sort | tr '\\n' ';' >> {path}; echo >> {path}; echo said so")

    def read(wait_for, count):
        wait_for(lambda: path.exists() and path.read_text().count("\n") >= count,
                 what=f"{count} calls")
        lines = path.read_text().splitlines()
        assert len(lines) == count
        return dict(word.split("=", 1) for word in lines[-1].split(";") if word)

    return read


def outage(queue, road="", began=QUARTER + 5000, reason="connect to x: \x1b[2J$(id) Connection refused"):
    now = int(time.time() * 1000)
    queue.as_program("insert into outage(road,began,reason) values"
                     f"('{road}',{now - began},'{reason}')")


def test_a_road_that_is_down_and_well_again(queue, told, wait_for):
    queue.relay("lmtp://127.0.0.1:1")
    outage(queue)
    queue.flush()
    words = told(wait_for, 1)
    assert words["CENMAIL_EVENT"] == "down" and words["CENMAIL_ROAD"] == "relay"
    assert words["CENMAIL_REASON"] == "connect to x: ?[2J$(id) Connection refused"
    assert 905 <= int(words["CENMAIL_SECONDS"]) <= 960
    queue.flush()
    told(wait_for, 1)
    queue.as_program("update outage set ended=began+1000000")
    queue.flush()
    words = told(wait_for, 2)
    assert words["CENMAIL_EVENT"] == "well" and words["CENMAIL_SECONDS"] == "1000"
    queue.flush()
    told(wait_for, 2)


def test_a_short_outage_is_not_told(queue, told, wait_for):
    queue.write(route="*@example.net lmtp://127.0.0.1:1")
    queue.relay("lmtp://127.0.0.1:1")
    outage(queue, began=QUARTER - 60000)
    queue.flush()
    queue.as_program("update outage set ended=began+1000")
    outage(queue, road="*@example.net")
    queue.flush()
    assert told(wait_for, 1)["CENMAIL_ROAD"] == "*@example.net"


def test_mail_that_is_held_and_released(queue, ses, told, wait_for):
    far = ses(unverified=["app@example.com"])
    queue.relay(far.url)
    queue.submit("To: a@good.example\n\nx\n", "-t", "-i", "-f", "app@example.com")
    queue.flush()
    queue.flush()
    queue.as_program(f"update outage set began=began-{QUARTER}")
    queue.flush()
    words = told(wait_for, 1)
    assert words["CENMAIL_EVENT"] == "held" and "not verified" in words["CENMAIL_REASON"]
    queue.sql("delete from message")
    queue.flush()
    assert told(wait_for, 2)["CENMAIL_EVENT"] == "released"


def test_what_the_command_is_given(queue, wait_for):
    """A clean environment, no descriptor of the flusher's, and a flusher that does not wait."""
    path = queue.directory / "said"
    queue.write(notify=f"ls /proc/self/fd > {path}.part; env | sed s/=.*// | sort | xargs >> {path}.part;"
                f" mv {path}.part {path}; sleep 100", log="syslog")
    queue.relay("lmtp://127.0.0.1:1")
    outage(queue)
    began = time.monotonic()
    done = queue.run_flush(deadline=20)
    assert done.returncode == 0 and time.monotonic() - began < 20
    wait_for(path.exists)
    *descriptors, names = path.read_text().splitlines()
    assert descriptors == ["0", "1", "2", "3"], "3 is ls's own"
    assert names.split() == ["CENMAIL_EVENT", "CENMAIL_HOST", "CENMAIL_REASON", "CENMAIL_ROAD",
                             "CENMAIL_SECONDS", "CENMAIL_SINCE", "LC_ALL", "PATH", "PWD"]


def test_its_output_and_its_failure_are_in_the_log(queue):
    queue.write(notify="echo one; printf 'two\\033\\n' >&2; exit 3")
    queue.relay("lmtp://127.0.0.1:1")
    outage(queue)
    log = (lambda done: (done.stdout + done.stderr).decode())(queue.run_flush())
    assert "down relay, for 90" in log
    for words in ("]: one\n", "]: two?\n", "the command of `notify` ended with 3\n"):
        assert words in log
