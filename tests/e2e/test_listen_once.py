"""The listener's journal: a token that it has an answer for is not sent again."""

import sqlite3

import pytest
from dialogue import BODY, Dialogue, journal, mail, sent_once, ses_id, token
from harness import run


def test_a_token_that_was_answered_for_is_not_sent_again(plain):
    near = plain()
    once = token()
    answers = []
    for attempt in range(3):
        client = Dialogue(near.port)
        client.hello()
        client.send(*mail(BODY, ("b@example.org", once)))
        answers.append(client.replies(3)[2])
        client.close()
        if attempt == 1:  # the journal outlives the process
            near.stop()
            near.start()
    assert answers[0] == answers[1] == answers[2]
    ses_id(answers[0][1])
    sent_once(near, 1)


def test_only_the_rest_is_sent(plain):
    near = plain()
    one, two = token(), token()
    client = Dialogue(near.port)
    client.hello()
    near.ses.faults("rcpt <c@*> 1 451 Temporary service failure")
    client.send(*mail(BODY, ("b@example.org", one), ("c@example.org", two)))
    first = client.replies(5)[3:]
    assert [code for code, _ in first] == [250, 451]
    client.send(*mail(BODY, ("b@example.org", one), ("c@example.org", two), ("b@example.org", one)))
    again = client.replies(7)[4:]
    assert again[0] == again[2] == first[0] and again[1][0] == 250
    assert [m["recipients"] for m in sent_once(near, 2)] == [["b@example.org"], ["c@example.org"]]


def test_twins_get_one_answer(plain):
    """The same tokens on two connections, and twice within one, crosswise, at once."""
    near = plain()
    near.ses.faults("dot * stall 1")
    one, two = ("b@example.org", token()), ("c@example.org", token())
    clients = [Dialogue(near.port), Dialogue(near.port)]
    for client, order in zip(clients, ([one, two], [two, one, two])):
        client.hello()
        client.send(*mail(BODY, *order))
    first, second = clients[0].replies(5)[3:], clients[1].replies(7)[4:]
    assert {code for code, _ in first + second} == {250}
    assert first[0] == second[1] and first[1] == second[0] == second[2]
    assert sorted(sum((m["recipients"] for m in near.ses.messages), [])) == [
        "b@example.org", "c@example.org"]


def test_a_token_is_its_clients_own(listener, ses):
    """E14: B brings A's token: it is another token."""
    far = ses()
    near = listener(far.url)
    near.clients({"a": "pa", "b": "pb"})
    near.stop()
    near.start()
    once = token()
    for name, password in (("a", "pa"), ("b", "pb"), ("a", "pa")):
        client = Dialogue(near.port, "tls")
        assert client.login(name, password)[0] == 235
        client.send(*mail(BODY, ("b@example.org", once)))
        assert client.replies(3)[2][0] == 250
    assert len(far.messages) == 2
    assert [row[0] for row in journal(near, "select client from once order by 1")] == ["a", "b"]


@pytest.mark.parametrize("policy, code, copies", [("resend", 250, 2), ("hold", 451, 1)])
def test_in_doubt(plain, policy, code, copies):
    near = plain(in_doubt=policy)
    near.ses.faults("dot 1 close-before-reply")
    once = token()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    reply = client.replies(3)[2]
    assert reply[0] == 451 and "in doubt" in reply[1] and reply[1].endswith("class=later")
    assert journal(near, "select state, doubts from in_doubt") == [("sending", 0)]
    client.send(*mail(BODY, ("b@example.org", once)))
    reply = client.replies(3)[2]
    assert reply[0] == code
    assert policy != "hold" or reply[1].endswith("class=held")
    sent_once(near, copies)
    assert journal(near, "select state, doubts from in_doubt") == [
        ("sent", 1) if policy == "resend" else ("sending", 0)]
    assert near.stop() == 0
    assert journal(near, "select unanswered, resent from hourly") == [(1, copies - 1)]


def test_a_doubt_outlives_a_recipient_that_ses_refuses(plain):
    """SES may have the first try; that it takes no RCPT for it now says nothing of that one."""
    near = plain()
    near.ses.faults("dot 1 close-before-reply")
    once, other = token(), token()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    assert client.replies(3)[2][0] == 451
    near.ses.faults("rcpt <b@*> 1 451 Temporary service failure")
    client.send(*mail(BODY, ("b@example.org", once), ("c@example.org", other)))
    assert [code for code, _ in client.replies(5)[3:]] == [451, 250]
    assert journal(near, "select state, doubts from once order by recipient") == [
        ("sending", 0), ("sent", 0)]
    client.send(*mail(BODY, ("b@example.org", once)))
    assert client.replies(3)[2][0] == 250
    assert journal(near, "select state, doubts from once order by recipient") == [
        ("sent", 1), ("sent", 0)]


def test_killed_while_ses_has_it(plain, wait_for):
    near = plain()
    near.ses.faults("dot 1 stall 20")
    once = token()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    near.ses.wait(1)
    near.kill()
    near.start()
    client = Dialogue(near.port)
    client.hello()
    client.send(*mail(BODY, ("b@example.org", once)))
    assert client.replies(3)[2][0] == 250
    assert journal(near, "select state, doubts from once") == [("sent", 1)]
    sent_once(near, 2)


def test_two_listeners_never_share_a_journal(plain, listener):
    near = plain()
    other = listener(near.ses.url, kinds=("plain",), password=None, start=False,
                     journal=near.directory / "journal.db")
    done = run(other.argv(), deadline=60)
    assert done.returncode == 75 and b"another cenmail-listen is using it" in done.stderr


def test_a_foreign_journal_is_left_alone(listener):
    near = listener("smtp://127.0.0.1:9", kinds=("plain",), password=None, start=False)
    with sqlite3.connect(near.directory / "journal.db") as db:
        db.execute("create table theirs(x)")
    before = (near.directory / "journal.db").read_bytes()
    done = run(near.argv(), deadline=60)
    assert done.returncode == 78 and b"journal.db" in done.stderr, done.stderr
    assert (near.directory / "journal.db").read_bytes() == before
