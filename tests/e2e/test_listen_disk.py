"""The listener whose disk is full: of content, or for the journal. Nothing is sent that could not be
noted, what is refused comes again, and when there is room all is well by itself (E5)."""

import collections
import os

import pytest
import small_disk
from dialogue import BODY, Dialogue, mail, token
from harness import not_here, run


@pytest.fixture
def full(plain, tmp_path, programs):
    """full(kind): a listener whose journal, and place for content, is on a small disk (.disk)."""
    if os.getuid() != 0:
        not_here("a small disk needs root")

    def start(kind, size="8m", **settings):
        why = small_disk.why_not(kind)
        if why:
            not_here(why)
        disk = small_disk.Disk()
        (tmp_path / "state").mkdir()
        disk.mount(tmp_path / "state", tmp_path / "image", programs, kind, size)
        near = plain(prefix=disk.enter, journal=tmp_path / "state" / "journal.db", **settings)
        near.disk = disk
        return near

    return start


def bring(near, recipient, content=BODY):
    """The answer; the first one that is a refusal."""
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(content, recipient))
    replies = client.replies(3)
    client.close()
    return next((r for r in replies if r[0] >= 400), replies[-1])


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_at_every_amount_of_room(full, kind):
    """From none to what some messages need, in blocks: 250 where it was noted, else 451, and SES has
    not seen it; the process lives. Then there is room."""
    near = full(kind)
    block = 1024 if kind == "ext4" else 4096
    sent, codes = [], collections.Counter()
    for n in range(0, 40, 3):
        near.disk.fill(n * block)
        for k in range(4):
            to = f"b{n}.{k}@example.org"
            code, text = bring(near, (to, token()))
            codes[code] += 1
            assert code == 250 or (code == 451 and text.endswith(" class=road retry=30")), text
            if code == 250:
                sent.append(to)
        near.disk.make_room()
    assert near.program.process.poll() is None
    assert codes[451] > 0 and codes[250] > 0, codes
    for n in range(5):
        assert bring(near, (f"after{n}@example.org", token()))[0] == 250
        sent.append(f"after{n}@example.org")
    assert sorted(m["recipients"][0] for m in near.ses.messages) == sorted(sent)
    assert near.stop() == 0
    done = run([*near.disk.enter, "sqlite3", near.settings["journal"], "pragma integrity_check"])
    assert done.stdout == b"ok\n", done


def test_content_that_there_is_no_room_for(full):
    """Whoever brings it is told, and others are served meanwhile."""
    near = full("tmpfs", size="24m")
    held = Dialogue(near.port)
    held.hello()
    held.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "BDAT 12000000",
              b"x" * 12_000_000)
    assert [code for code, _ in held.replies(3)] == [250] * 3
    code, text = bring(near, ("c@example.org", token()), BODY + ("x" * 76 + "\r\n") * 200_000)
    assert (code, text) == (452, "4.3.1 cenmail: no room for the content class=road retry=60")
    assert bring(near, ("d@example.org", token()))[0] == 250
    held.send("RSET")
    assert held.reply()[0] == 250
    assert bring(near, ("c@example.org", token()), BODY + ("x" * 76 + "\r\n") * 200_000)[0] == 250
    assert near.stop() == 0
