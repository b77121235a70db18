"""Bounces, warnings of delay and reports of delivery, by the stand-in for SES: read as a mail
program reads them, by Python's email package."""

import email
import email.policy
import email.utils
import re
import time

import pytest

MAIL = "To: {}\nFrom: app@example.com\nSubject: s\nMessage-ID: <one@example.com>\n\nbody\n"
NO_USER = "rcpt <*@bad.example> * 550 5.1.1 no such user"
SENDER = "bounces@example.com"


def send(queue, mail, *args):
    """By sendmail, from app@example.com unless args say otherwise."""
    sender = [] if "-f" in args else ["-f", "app@example.com"]
    queue.submit(mail, *(() if "-i" in args else ("-t", "-i")), *sender, *args)


@pytest.fixture
def far(queue, ses):
    """SES; mail to @bad.example fails, to @slow.example is put off."""
    one = ses()
    one.faults(NO_USER, "rcpt <*@slow.example> * 451 4.2.1 come back later")
    queue.relay(one.url)
    queue.write(bounce_sender=SENDER)
    return one


def notices(far):
    """What bounce_sender sent: (envelope, message)."""
    found = []
    for message in far.messages:
        if message["sender"] == SENDER:
            content = far.content(message)
            assert b"\n" not in content.replace(b"\r\n", b"")
            assert max(map(len, content.split(b"\r\n"))) <= 998
            found.append((message, email.message_from_bytes(content, policy=email.policy.default)))
    return found


def read(message):
    """Its text, the fields of the message, those of each recipient, and what came back. No defect
    that the package knows, no second field of one name."""
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects and not any(part.defects for part in message.walk())
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
                 "Auto-Submitted"):
        assert len(message.get_all(name)) == 1, name
    assert message["Auto-Submitted"] == "auto-replied"
    assert email.utils.parsedate_to_datetime(message["Date"])
    text, status, *back = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    of_message, *of_recipients = status.get_payload()
    assert of_message["Reporting-MTA"] == "dns; shanghai.example.com"
    assert email.utils.parsedate_to_datetime(of_message["Arrival-Date"])
    for one in of_recipients:
        assert one["Final-Recipient"] and one["Action"]
        assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", one["Status"])
        assert email.utils.parsedate_to_datetime(one["Last-Attempt-Date"])
    return text.get_content(), of_message, of_recipients, back[0] if back else None


def one_notice(far):
    ((envelope, message),) = notices(far)
    return envelope, message, *read(message)


def test_a_recipient_that_fails_is_told_to_the_sender(queue, far):
    send(queue, MAIL.format("a@bad.example, b@good.example"))
    assert queue.flush().failed == 1
    envelope, message, text, of_message, recipients, back = one_notice(far)
    assert envelope["recipients"] == ["app@example.com"]
    assert message["From"] == f"Mail Delivery System <{SENDER}>"
    assert message["To"] == "app@example.com"
    assert message["Subject"] == "Undelivered Mail Returned to Sender"
    assert message["In-Reply-To"] == message["References"] == "<one@example.com>"
    assert "Original-Envelope-Id" not in of_message
    (one,) = recipients
    assert dict(one) == {
        "Final-Recipient": "rfc822; a@bad.example", "Action": "failed", "Status": "5.1.1",
        "Remote-MTA": "dns; [127.0.0.1]", "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": one["Last-Attempt-Date"]}
    assert "<a@bad.example>" in text and "550 5.1.1 no such user" in text
    assert "b@good.example" not in text
    assert back.get_content_type() == "message/rfc822"
    assert back.get_content()["Message-ID"] == "<one@example.com>"
    assert back.get_content().get_content() == "body\r\n"
    (row,) = queue.sql("select * from undeliverable")
    (note,) = queue.sql("select * from message where notice=1")
    assert row["bounce"] == note["id"] and note["sender"] == SENDER
    assert queue.value("select message_id from message where notice=1") == message["Message-ID"]


def test_it_is_in_the_log_in_postfix_s_words(queue, far):
    send(queue, MAIL.format("a@bad.example"))
    log = queue.flush().log
    assert re.search(r"cenmail/bounce\[\d+\]: 0000000001: sender non-delivery notification: "
                     r"0000000002\n", log)
    assert re.search(rf"cenmail/qmgr\[\d+\]: 0000000002: from=<{SENDER}>, size=\d+, nrcpt=1", log)
    assert "0000000002: to=<app@example.com>" in log


def test_all_recipients_of_a_message_are_told_at_once(queue, far):
    send(queue, MAIL.format(", ".join(f"u{i}@bad.example" for i in range(120))))
    queue.flush()
    _, _, text, _, recipients, _ = one_notice(far)
    assert len(recipients) == 120 and text.count("@bad.example>:") == 100
    assert "and 20 more" in text


def test_what_fails_waits_a_while_for_the_rest(queue, far):
    """One that is put off may fail too; after five minutes the first is told of."""
    send(queue, MAIL.format("a@bad.example, b@slow.example"))
    assert queue.flush().failed == 1
    assert notices(far) == []
    assert queue.value("select bounce is null from recipient where state='failed'") == 1
    queue.as_program("update recipient set settled=settled-300000 where state='failed'")
    queue.flush()
    assert len(one_notice(far)[4]) == 1
    far.faults("rcpt <*@slow.example> * 550 5.1.1 no such user")
    queue.as_program("update recipient set next_try=0")
    queue.flush()
    assert [read(m)[2][0]["Final-Recipient"] for _, m in notices(far)] == [
        "rfc822; a@bad.example", "rfc822; b@slow.example"]


@pytest.mark.parametrize("sender, words", [
    ("<>", ()), (SENDER, ()), ("app@example.com", ("-N", "never")),
    ("app@example.com", ("-N", "delay")), ("app@example.com", ("-N", "success,delay"))])
def test_who_is_not_told(queue, far, sender, words):
    """A null sender, bounce_sender itself, and who did not ask (RFC 3461)."""
    send(queue, MAIL.format("a@bad.example"), "-f", sender, *words)
    assert queue.flush().failed == 1
    assert notices(far) == []
    assert queue.value("select bounce from undeliverable") == 0


def test_without_bounce_sender_it_is_recorded_only(queue, far):
    queue.write(bounce_sender=None)
    send(queue, MAIL.format("a@bad.example"))
    queue.flush()
    queue.write(bounce_sender=SENDER)
    queue.flush()
    assert notices(far) == [] and queue.value("select bounce from undeliverable") == 0


def test_a_bounce_that_fails_is_not_bounced(queue, far):
    far.faults("rcpt * 550 5.1.1 no such user")
    send(queue, MAIL.format("a@bad.example"))
    queue.flush()
    queue.flush()
    rows = queue.sql("select id, recipient, bounce from undeliverable order by id")
    assert [tuple(r) for r in rows] == [(1, "a@bad.example", 2), (2, "app@example.com", 0)]
    assert queue.value("select sum(failed) from hourly") == 2


def test_ret_envid_orcpt(queue, far):
    send(queue, MAIL.format("x@example.com") + "secret\n", "-i",
         "-R", "hdrs", "-V", "a+2Bb", "-N", "failure,success", "a@bad.example")
    queue.as_program("update recipient set orcpt='rfc822;old+2Bname@example.org'")
    queue.flush()
    _, _, _, of_message, (one,), back = one_notice(far)
    assert of_message["Original-Envelope-Id"] == "a+b"
    assert one["Original-Recipient"] == "rfc822; old+name@example.org"
    assert back.get_content_type() == "text/rfc822-headers"
    assert "Subject: s" in back.as_string() and "secret" not in back.as_string()


def test_large_and_8_bit_content(queue, far):
    text = "Grüße, 你好\n"
    send(queue, MAIL.format("a@bad.example").replace("\n\n", "\nMIME-Version: 1.0\nContent-Type: "
                 "text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n") + text)
    send(queue, MAIL.format("b@bad.example") + ("x" * 70 + "\n") * 1000)
    queue.flush()
    (_, first), (_, second) = notices(far)
    assert first["Content-Transfer-Encoding"] == "8bit"
    assert read(first)[3].get_content().get_content().endswith("Grüße, 你好\r\n")
    back = read(second)[3]
    assert back.get_content_type() == "text/rfc822-headers" and "xxx" not in back.as_string()


def test_a_hostile_reply_stays_within_its_field(queue, far):
    far.faults("rcpt * 550-5.1.1 " + "long" * 80 + " \x01\x1b[31m words " + "w " * 100)
    send(queue, MAIL.format("a@bad.example"))
    far.faults("rcpt <*@bad.example> * 550 5.1.1 " + "long" * 80 + " \x01\x1b[31m " + "w " * 100)
    queue.flush()
    _, _, _, _, (one,), _ = one_notice(far)
    assert "\x1b" not in one["Diagnostic-Code"] and "?[31m" in one["Diagnostic-Code"]


@pytest.mark.parametrize("aliases, postmaster, told", [
    ("root: ops@example.net\n", None, ["ops@example.net"]),
    ("", "post@example.net", ["post@example.net"]),
    ("root: ops@example.net, other@example.net\n", "post@example.net",
     ["ops@example.net", "other@example.net"]),
    ("", None, ["root@shanghai.example.com"])])
def test_a_local_sender_s_notice_goes_where_his_mail_goes(queue, far, aliases, postmaster, told):
    """Cron's mail comes from root@host: its bounce goes to root's alias, or to postmaster."""
    (queue.directory / "aliases").write_text(aliases)
    queue.write(postmaster=postmaster)
    send(queue, MAIL.format("a@bad.example"), "-f", "root@shanghai.example.com")
    queue.flush()
    envelope, message, *_ = one_notice(far)
    assert sorted(envelope["recipients"]) == told
    assert message["To"] == "root@shanghai.example.com"


def test_a_storm_of_failures_is_no_storm_of_notices(queue, far):
    """A thousand messages of one sender fail: he hears of a hundred in an hour, and that there are
    more; another's notices are not kept back."""
    send(queue, MAIL.format("a@bad.example"))
    queue.as_program(
        "create temp table n as with recursive n(i) as (select 1 union all select i+1 from n where"
        " i<999) select i from n",
        "insert into message(key,submitted,uid,sender,size,eightbit,message_id) select"
        " randomblob(16),submitted,uid,sender,size,0,'' from message,n",
        "insert into content select m.id,c.crc,c.data from message m,content c where m.id>1",
        "insert into recipient(message,address,once,next_try,since) select m.id,'a@bad.example',"
        "randomblob(16),r.next_try,r.since from message m,recipient r where m.id>1")
    send(queue, MAIL.format("a@bad.example"), "-f", "another@example.com")
    assert queue.flush().failed == 1001
    to = [e["recipients"][0] for e, _ in notices(far)]
    assert to.count("app@example.com") == 100 and to.count("another@example.com") == 1
    assert sum("No more notices" in read(m)[0] for _, m in notices(far)) == 1
    assert queue.value("select count(*) from undeliverable where bounce=0") == 900
    assert queue.value("select count(*) from recipient where bounce is null and state='failed'") \
        == 0
    send(queue, MAIL.format("a@bad.example"))
    queue.flush()
    assert len(notices(far)) == 101, "nor in the next flusher"


def test_given_up_by_hand_the_sender_is_told_and_dropped_he_is_not(queue, far):
    send(queue, MAIL.format("a@slow.example"))
    send(queue, MAIL.format("b@slow.example"))
    queue.flush()
    queue.sql("update recipient set state='failed' where message=1")
    queue.sql("delete from message where id=2")
    queue.flush()
    _, _, text, _, (one,), _ = one_notice(far)
    assert one["Status"] == "5.0.0" and "Diagnostic-Code" not in one
    assert "given up by the operator" in text and "a@slow.example" in text


def late(queue, hours=5):
    """As if all that waits had come hours ago, and is not due yet."""
    queue.as_program(f"update recipient set since=since-{hours * 3600000},next_try=next_try+600000",
                     f"update message set submitted=submitted-{hours * 3600000}")


def test_a_delay_is_told_once(queue, far):
    send(queue, MAIL.format("a@slow.example, b@slow.example"))
    assert queue.flush().deferred == 2
    assert notices(far) == []
    late(queue)
    queue.flush()
    _, message, text, _, recipients, back = one_notice(far)
    assert message["Subject"] == "Delayed Mail (still being retried)"
    assert [(r["Action"], r["Status"]) for r in recipients] == [("delayed", "4.2.1")] * 2
    arrival = email.utils.parsedate_to_datetime(recipients[0]["Last-Attempt-Date"])
    until = email.utils.parsedate_to_datetime(recipients[0]["Will-Retry-Until"])
    assert 4 * 86400 < (until - arrival).total_seconds() < 5 * 86400
    assert "not send it again" in " ".join(text.split())
    assert back.get_content_type() == "text/rfc822-headers"
    queue.flush()
    assert len(notices(far)) == 1
    assert queue.value("select count(*) from recipient where warned is not null") == 2


@pytest.mark.parametrize("words, told", [
    (("-N", "failure"), 0), (("-N", "delay"), 1), (("-N", "never"), 0), ((), 1)])
def test_a_delay_is_told_to_who_asked(queue, far, words, told):
    send(queue, MAIL.format("a@slow.example"), *words)
    queue.flush()
    late(queue)
    queue.flush()
    assert len(notices(far)) == told


@pytest.mark.parametrize("settings", [{"warn_after": "0"}, {"bounce_sender": None}])
def test_no_delay_is_told(queue, far, settings):
    queue.write(**settings)
    send(queue, MAIL.format("a@slow.example"))
    queue.flush()
    late(queue)
    queue.flush()
    assert notices(far) == []
    assert queue.value("select count(*) from recipient where warned is not null") == 0


def test_a_road_that_is_down_warns_nobody(queue, far):
    """What waited for the road is delivered when it is well, and no warning is sent then either."""
    urls = queue.relays
    for i in range(3):
        send(queue, MAIL.format(f"a{i}@good.example"))
    send(queue, MAIL.format("a@slow.example"))
    queue.flush()
    for i in range(3):
        send(queue, MAIL.format(f"b{i}@good.example"))
    late(queue)
    queue.as_program("update recipient set next_try=0")
    queue.relay("lmtp://127.0.0.1:1")
    queue.flush()
    queue.as_program("update recipient set next_try=0")
    assert queue.value("select count(*) from message where notice=1") == 0
    queue.relay(*urls)
    queue.as_program("delete from road")
    queue.flush()
    assert len([m for m in far.messages if m["sender"] != SENDER]) == 6
    assert one_notice(far)[4][0]["Final-Recipient"] == "rfc822; a@slow.example"


def test_mail_that_is_held_is_late_too(queue, ses):
    far = ses(unverified=["app@example.com"])
    queue.relay(far.url)
    queue.write(bounce_sender=SENDER)
    for _ in range(30):
        send(queue, MAIL.format("a@good.example"))
    assert queue.flush().held == 30
    late(queue)
    queue.flush()
    told = notices(far)
    assert len(told) == 20, "warnings to one address in an hour"
    text, _, (one,), _ = read(told[0][1])
    assert one["Action"] == "delayed" and "Will-Retry-Until" not in one
    assert "not verified" in one["Diagnostic-Code"] and "operator" in text
    queue.flush()
    assert len(notices(far)) == 20


def test_a_delivery_is_told_to_who_asked(queue, far):
    """The next hop has no DSN, so we are the last that can say it; the header is kept for that."""
    send(queue, MAIL.format("a@good.example"), "-N", "success,failure")
    send(queue, MAIL.format("b@good.example"))
    queue.flush()
    _, message, _, _, (one,), back = one_notice(far)
    assert message["Subject"] == "Successful Mail Delivery Report"
    assert (one["Action"], one["Final-Recipient"]) == ("relayed", "rfc822; a@good.example")
    assert one["Status"] == "2.0.0"
    assert back.get_content_type() == "text/rfc822-headers" and "Subject: s" in back.as_string()
    assert queue.contents() == {}
