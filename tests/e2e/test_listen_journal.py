"""The journal to look into and to settle by hand, beside the running listener; put back from a backup."""

import re
import shutil
import sqlite3
import subprocess
import time

import corpus
import pytest
from dialogue import BODY, Dialogue, journal, mail, ses_id, token
from harness import wait_for


def by_hand(near, statement):
    """A bare sqlite3, as a person has it."""
    done = subprocess.run(["sqlite3", near.directory / "journal.db", statement],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def bring(near, *recipients):
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, *recipients))
    replies = client.replies(1 + 2 * len(recipients))[1 + len(recipients):]
    client.close()
    return replies


@pytest.fixture
def used(plain):
    """One sent, one refused, one in doubt."""
    near = plain(in_doubt="hold")
    near.ses.faults("dot 1 554 Message rejected")
    near.tokens = [token() for _ in range(3)]
    bring(near, ("refused@example.org", near.tokens[0]))
    near.answer = bring(near, ("sent@example.org", near.tokens[1]))[0]
    near.ses.faults("dot 1 close-before-reply")
    bring(near, ("doubt@example.org", near.tokens[2]))
    return near


def test_the_views(used):
    near, now = used, time.strftime("%Y-%m-%d %H:")
    assert journal(near, "select recipient, state, ses_id, doubts, client from relayed order by 1") == [
        ("refused@example.org", "failed", None, 0, "[127.0.0.1]"),
        ("sent@example.org", "sent", ses_id(near.answer[1]), 0, "[127.0.0.1]")]
    (at, to, message), = journal(near, "select at, recipient, message from in_doubt")
    assert to == "doubt@example.org" and at.startswith(now) and message in near.program.log
    wait_for(lambda: journal(near, "select unanswered from hourly") == [(1,)], 15)
    assert journal(near, "select * from hourly") == [(f"{now}00", 1, 1, 0, 0, 1, 0)]
    assert journal(near, "select * from clients") == [
        ("[127.0.0.1]", f"{now}00", f"{now}00", 1, 1, 0, 0, 1, 0)]


@pytest.mark.parametrize("statement, words", [
    ("delete from once", "may be sent twice"), ("insert into once select * from once", "only the l"),
    ("replace into once select * from once", "only the listener knows"),
    ("update once set token=lower(hex(randomblob(16)))", "only state and answer"),
    ("update once set doubts=0", "only state and answer"), ("update once set at=0", "only state and"),
    ("update once set state='failed' where state='sent'", "only what is in doubt"),
    ("update once set state='sending' where state='failed'", "only what is in doubt"),
    ("update once set state='lost' where state='sending'", "state: sending, sent or failed"),
    ("update journal set id='x'", "the listener's own"), ("delete from journal", "the listener's own"),
    ("update tally set sent=0", "can't be changed"), ("insert into tally select * from tally", "can't"),
])
def test_what_would_harm_is_refused(used, statement, words):
    before = journal(used, "select * from once")
    code, said = by_hand(used, statement)
    assert code != 0 and words in said, said
    assert journal(used, "select * from once") == before


@pytest.mark.parametrize("state, answer, copies", [
    ("sent", r"2\.0\.0 cenmail: sent, as the journal says$", 2), ("failed", r"2\.0\.0 Ok \S+ wait", 3)])
def test_what_is_held_in_doubt_is_settled_by_hand(used, state, answer, copies):
    near, one = used, ("doubt@example.org", used.tokens[2])
    assert bring(near, one)[0][1].endswith(" class=held")
    assert by_hand(near, f"update once set state='{state}' where state='sending'") == (0, "")
    code, text = bring(near, one)[0]
    assert code == 250 and re.match(answer, text), text
    assert len(near.ses.messages) == copies


def test_a_shell_that_holds_a_transaction_stops_no_mail(plain):
    """C16, for the journal: a reader for as long as he likes, a writer until the listener's patience."""
    near = plain()
    with sqlite3.connect(near.directory / "journal.db", isolation_level=None) as db:
        db.execute("begin")
        db.execute("select count(*) from once").fetchone()
        began = time.monotonic()
        for _ in range(20):
            assert bring(near, ("b@example.org", token()))[0][0] == 250
        assert time.monotonic() - began < 10
        db.execute("commit")
        db.execute("begin immediate")
        code, text = bring(near, ("b@example.org", token()))[0]
        assert code == 451 and text == "4.3.0 cenmail: the journal can't be written class=road retry=30"
        db.execute("commit")
    assert bring(near, ("b@example.org", token()))[0][0] == 250
    assert len(near.ses.messages) == 21
    assert by_hand(near, "pragma wal_checkpoint(truncate); pragma integrity_check")[1].endswith("ok")
    near.stop()
    near.start()
    assert journal(near, "select count(*) from relayed where state='sent'") == [(21,)]


def put_back(near, backup):
    """A copy of the journal in its place; its lock file stays."""
    for end in ("", "-wal", "-shm"):
        (near.directory / f"journal.db{end}").unlink(missing_ok=True)
    shutil.copy(backup, near.directory / "journal.db")
    (near.directory / "journal.db").chmod(0o600)


@pytest.mark.parametrize("missing", ["sending", "sent", "nothing"])
def test_f8_a_backup_of_a_moment_ago_is_put_back(plain, missing):
    """However young it is: where one try or one answer is missing in it, it is another journal. The
    listener had no time to say goodbye."""
    near = plain()
    near.ses.faults("dot <slow@*> * stall 20")
    client = Dialogue(near.port)
    ident = client.hello()["XONCE"].split()[0]
    assert bring(near, ("a@example.org", token()))[0][0] == 250
    lines = mail(BODY, ("b@example.org", token()), sender="slow@example.com")
    if missing == "sent":
        near.ses.faults("dot <slow@*> * stall 2")
    if missing != "sending":
        client.send(*lines)
        near.ses.wait(2)
    assert by_hand(near, f".backup {near.directory / 'backup'}") == (0, "")
    if missing == "sending":
        client.send(*lines)
        near.ses.wait(2)
    if missing == "sent":
        assert client.replies(3)[2][0] == 250
    near.kill()
    put_back(near, near.directory / "backup")
    near.ses.faults()
    near.start()
    again = Dialogue(near.port).hello()["XONCE"].split()[0]
    assert (again == ident) == (missing == "nothing")
    assert ("known by a new id" in near.program.log) == (missing != "nothing")


def test_the_lock_file_of_before_is_read(plain):
    """As it was until it said how far the journal has come: it has the mark alone."""
    near = plain()
    ident = Dialogue(near.port).hello()["XONCE"].split()[0]
    assert bring(near, ("a@example.org", token()))[0][0] == 250
    near.stop()
    lock = near.directory / "journal.db.lock"
    lock.write_text(lock.read_text()[:32])
    near.start()
    assert Dialogue(near.port).hello()["XONCE"].split()[0] == ident
    assert "new id" not in near.program.log


def test_f8_an_old_backup_is_put_back(road):
    """What is in doubt at the flusher does not take the silence of an old copy for an answer. It waits
    until the journal's time is over, and then comes twice, and is counted."""
    way = road()
    near, queue = way.listener, way.queue
    near.stop()
    shutil.copy(near.directory / "journal.db", near.directory / "backup")
    near.start()
    way.ses.faults("dot 1 close-before-reply")
    message = corpus.Message(1, 1000)
    queue.submit(message.given)
    flusher = queue.flusher()
    wait_for(lambda: queue.value("select doubt_journal from recipient"), what="the doubt")
    near.kill()
    flusher.stop()
    copies = len(way.ses.messages)
    put_back(near, near.directory / "backup")
    near.start()
    assert "known by a new id" in near.program.log
    queue.sql("update recipient set state='queued' where state='queued'")
    queue.flush()
    assert queue.states() == {"queued": 1} and len(way.ses.messages) == copies
    queue.as_program("update recipient set doubt_until=1, next_try=1")
    queue.flush()
    assert queue.states() == {"sent": 1} and len(way.ses.messages) == copies + 1
    assert queue.value("select count(*) from attempts where maybe_sent") >= copies
