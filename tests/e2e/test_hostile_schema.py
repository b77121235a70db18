"""C13: whoever can write the file can write anything into it. Nothing of it runs in our programs, which
refuse what they don't know; senders get in by the second way, and nobody crashes."""

import contextlib
import re
import sqlite3

import pytest

MAIL = "To: {}\nFrom: sender@example.com\nSubject: s\n\nbody\n"


def replaced(table, what):
    """Another text for a table, in the place of its own."""
    return ["pragma writable_schema=1",
            f"update sqlite_master set sql={what} where name='{table}'", "pragma schema_version=99"]


TRAP = "insert into trap values('sprung')"
SCHEMAS = {
    # What is there beside ours, and would run in a shell: it does not run here, and mail flows.
    "triggers": (True, [f"create trigger t{n} {when} on {table} begin {TRAP}; end"
                        for n, (when, table) in enumerate([
                            ("after insert", "message"), ("before insert", "content"),
                            ("after insert", "recipient"), ("after update", "recipient"),
                            ("after insert", "attempt"), ("after insert", "hour")])]),
    "a trigger that drops what is put": (True, [
        "create trigger t after insert on content begin delete from content; end"]),
    "a view that calls": (True, ["create view v as select load_extension('/tmp/x') as x"]),
    "mailq is another": (True, ["drop view mailq", "create view mailq as select * from mailq"]),
    # What can't be used as ours is refused.
    "an index on a call": (False, [
        *replaced("recipient_due", "'CREATE INDEX recipient_due ON recipient(load_extension(next_try))'")]),
    "a table that is a view": (False, ["drop table hour",
                                       "create view hour as select 1 as at, 2 as submitted, 3 as bytes"]),
    "a table that is virtual": (False, ["drop table hour",
                                        "create virtual table hour using fts5(at,submitted,bytes)"]),
    "no such column": (False, ["alter table recipient rename column once to twice"]),
    "no such table": (False, ["drop table content"]),
    "a schema that does not parse": (False, replaced("hour", "'create table hour('")),
    "a table of another": (False, replaced("content", "(select sql from sqlite_master where name='hour')")),
    "a rule that refuses all": (False, replaced(
        "content", "replace(sql,'crc INTEGER NOT NULL','crc INTEGER NOT NULL CHECK(crc=crc+1)')")),
    "a rule that calls": (False, replaced(
        "content", "replace(sql,'crc INTEGER NOT NULL',"
        "'crc INTEGER NOT NULL CHECK(load_extension(''/tmp/x''))')")),
    # Damage that can't be told from sense: no crash is all that is asked.
    "root pages crossed": (None, [
        "pragma writable_schema=1", "update sqlite_master set rootpage=(select rootpage from "
        "sqlite_master where name='hour') where name='recipient'", "pragma schema_version=99"]),
}


def spoil(queue, statements):
    with contextlib.closing(sqlite3.connect(queue.database, isolation_level=None)) as db:
        db.execute("create table trap(x)")
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_hostile_schema(queue, ses, name):
    usable, statements = SCHEMAS[name]
    far = ses(tls="none", user=None)
    queue.relay(far.url)
    queue.write(lock_wait="1s")
    queue.submit(MAIL.format("before@example.net"))
    spoil(queue, statements)
    sent = queue.sendmail("-t", "-i", stdin=MAIL.format("after@example.net"))
    listed, flushed, made = queue.sendmail("-bp"), queue.run_flush(), queue.run_flush("--init")
    for done in (sent, listed, flushed, made):
        assert done.returncode in (0, 65, 70, 74, 75, 78), (name, done)
        assert done.returncode == 0 or done.stderr, (name, done)
    there = [p for p in (queue.database.parent / "incoming").rglob("*") if p.is_file()]
    if usable:
        assert sent.returncode == flushed.returncode == 0
        assert len(far.messages) == 2 and not there
        assert queue.value("select count(*) from trap") == 0
    elif usable is False:
        assert sent.returncode == 65 or len(there) == 1, (name, sent)
        assert 65 == sent.returncode or flushed.returncode != 0 or b"incoming/" in flushed.stderr


VALUES = [
    "message set size=-1", "message set size=1e300", "message set size='x'", "message set submitted=-1",
    f"message set submitted={2**63 - 1}", "message set uid=-5", "message set uid=4294967296",
    "message set sender=x'ff00'", "message set sender='a b'", "message set sender='a@b'||char(10)||'c'",
    "message set sender=hex(zeroblob(100000))", "message set eightbit=7", "message set message_id=9",
    "message set message_id=char(13,10)||'Bcc: x'", "message set ret=x'00'", "message set envid=char(10)",
    "content set data='text'", "content set data=zeroblob(3)", "content set crc=-1", "content set crc='x'",
    "recipient set address=x'00'", "recipient set address='<a@b>'", "recipient set address='a@b c'",
    "recipient set address=hex(zeroblob(100000))", "recipient set once='short'",
    "recipient set once=zeroblob(1000)", "recipient set tries=-1", f"recipient set tries={2**62}",
    "recipient set version=0", f"recipient set version={2**63 - 1}", "recipient set version='x'",
    "recipient set next_try='now'", "recipient set next_try=-9", "recipient set since=x'01'",
    "recipient set last_reply=x'00ff'", "recipient set last_reply=hex(zeroblob(100000))",
    "recipient set doubt_journal=char(10)", "recipient set doubt_until='x'", "recipient set notify=char(10)",
    "recipient set orcpt=char(13,10)", "recipient set state='queued',message=99",
]


def test_values_of_every_wrong_kind(queue, ses):
    """Each row its own message: what can't be trusted is held with words; one more is sent past them."""
    far = ses(tls="none", user=None)
    queue.relay(far.url)
    with contextlib.closing(sqlite3.connect(queue.database, isolation_level=None)) as db:
        for name, in db.execute("select name from sqlite_master where type='trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        db.execute("pragma ignore_check_constraints=1")
        for number, change in enumerate(VALUES, 1):
            queue.submit(MAIL.format(f"r{number}@example.net"))
            key = "message" if change.startswith(("recipient", "content")) else "id"
            db.execute(f"update {change} where {key}={number}")
    queue.submit(MAIL.format("good@example.net"))
    listed = queue.sendmail("-bp")
    assert listed.returncode in (0, 65, 75), listed
    done = queue.flush()
    assert done.code == 0
    assert "good@example.net" in [r for m in far.messages for r in m["recipients"]]
    sent = {r for m in far.messages for r in m["recipients"]}
    assert all(re.fullmatch(r"(r\d+|good)@example\.net", r) for r in sent), sent
    for message in far.messages:
        assert b"Bcc" not in far.content(message).partition(b"\r\n\r\n")[0]
    open_rows = queue.sql("select r.message, r.state, cast(substr(r.last_reply,1,300) as text) as why"
                          " from recipient as r where state in ('queued','held')")
    told = {r["message"]: r["why"] for r in open_rows if r["state"] == "held"}
    harmless = [n for n, change in enumerate(VALUES, 1) if f"r{n}@example.net" in sent]
    print("sent all the same:", [VALUES[n - 1] for n in harmless])
    for number, change in enumerate(VALUES, 1):
        if number not in harmless and "next_try='now'" not in change and "message=99" not in change:
            assert "cenmail: " in told.get(number, "") or "trusted" in told.get(number, ""), \
                (change, [tuple(r) for r in open_rows if r["message"] == number])
