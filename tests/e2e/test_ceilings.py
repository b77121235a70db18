"""queue_max and user_max through the programs: who is answered 75, in which words, and that there is
no way around. (min_free is in test_disk.py, where there is a disk to fill.)"""

import re

from installed import ALICE, BOB

OK, TEMPFAIL = 0, 75
MAIL = b"To: r@example.net\nFrom: s@example.com\nSubject: s\n\n"


def test_queue_max(queue):
    """Above it nobody's mail is taken, by no way in; below it again, all is."""
    queue.write(queue_max="1M")
    queue.submit(MAIL + b"0123456789abcde\n" * 80_000)
    done = queue.sendmail("-t", "-i", stdin=MAIL)
    assert done.returncode == TEMPFAIL
    assert re.search(rb"the queue holds \d MB, and no more than 1 MB \(queue_max\) are taken",
                     done.stderr)
    assert list((queue.database.parent / "incoming").iterdir()) == []
    session = queue.sendmail("-bs", stdin=b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n"
                             b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: s\r\n\r\n.\r\nQUIT\r\n")
    assert re.search(rb"^451 4\.3\.0 .*queue_max", session.stdout, re.M)
    assert queue.value("select count(*) from message") == 1
    queue.sql("delete from message")
    queue.submit(MAIL)


def test_user_max(host):
    """One user's job that has run wild is stopped; the others, and root, are not; what leaves makes
    room, whoever removed it."""
    host.fresh(user_max=3)
    for _ in range(3):
        assert host.submit(uid=ALICE).returncode == OK
    done = host.submit(uid=ALICE)
    assert done.returncode == TEMPFAIL
    assert f"uid {ALICE} has 3 messages waiting (user_max)".encode() in done.stderr
    session = host.run(["/usr/sbin/sendmail", "-bs"], b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n"
                       b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: s\r\n\r\n.\r\nQUIT\r\n", uid=ALICE)
    assert re.search(rb"^451 4\.3\.0 .*user_max", session.stdout, re.M)
    assert host.submit(uid=BOB).returncode == OK
    for _ in range(4):
        assert host.submit(uid=0).returncode == OK
    assert host.count() == 8
    host.query("delete from message where id=2")
    assert host.submit(uid=ALICE).returncode == OK
    assert host.submit(uid=ALICE).returncode == TEMPFAIL


def test_a_user_at_his_ceiling_has_no_second_way_in(host):
    """What the queue itself refuses is not kept beside it."""
    host.fresh(user_max=1)
    assert host.submit(uid=ALICE).returncode == OK
    assert host.submit(uid=ALICE).returncode == TEMPFAIL
    incoming = host.path("/var/spool/cenmail/incoming")
    assert not incoming.is_dir() or list(incoming.iterdir()) == []
