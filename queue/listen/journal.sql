-- The journal of cenmail-listen, version 2: what was given to SES, so that nothing is given twice.
-- See cenmail-listen(8). What changes here changes in the step to the next version too: journal_N.sql.
--
-- A row of `once` is one recipient of one client, by the token that the client made for it:
--
--     (nothing) --> sending --> sent      SES took it: its answer is repeated, nothing is sent
--                    ^  |  |
--                    |  |  +--> failed    SES refused it: the token may be brought again
--                    |  |        |
--                    +--|--------+
--                       +--> by hand, either of them: what was in doubt is settled
--
-- `sending` is written before the content is sent. Found so when no live process is sending it, it
-- is in doubt: SES may have it. doubts counts how often it was sent again in spite of that.
--
-- Times are milliseconds since 1970, UTC; in views they are local text. until and ran are not: they
-- count the time for which a listener has run with this journal, so that no jump of a clock makes
-- it forget. A row may go when ran has passed its until. id names the journal to flushers; mark is
-- also in journal.db.lock, and says that this is not an older copy of the file.
--
-- The listener opens this with triggers off. They stand guard over changes by hand.

CREATE TABLE journal(
 one INTEGER PRIMARY KEY CHECK(one=1),
 id TEXT NOT NULL CHECK(length(id)=32),
 created INTEGER NOT NULL,
 mark TEXT NOT NULL DEFAULT '',
 mark_before TEXT NOT NULL DEFAULT '',
 ran INTEGER NOT NULL DEFAULT 0,
 saved INTEGER NOT NULL DEFAULT 0,
 given TEXT NOT NULL DEFAULT ''
);
CREATE TABLE once(
 client TEXT NOT NULL,
 token TEXT NOT NULL CONSTRAINT "token: 32 hexadecimal digits" CHECK(length(token)=32),
 state TEXT NOT NULL CONSTRAINT "state: sending, sent or failed"
  CHECK(state IN ('sending','sent','failed')),
 at INTEGER NOT NULL,
 until INTEGER NOT NULL,
 doubts INTEGER NOT NULL DEFAULT 0,
 recipient TEXT NOT NULL,
 message TEXT NOT NULL,
 answer TEXT,
 PRIMARY KEY(client,token)
) WITHOUT ROWID;
CREATE INDEX once_until ON once(until);
CREATE INDEX once_doubt ON once(at) WHERE state='sending' OR doubts>0;
CREATE TABLE tally(
 hour INTEGER NOT NULL,
 client TEXT NOT NULL,
 sent INTEGER NOT NULL,
 failed INTEGER NOT NULL,
 repeated INTEGER NOT NULL,
 throttled INTEGER NOT NULL,
 unanswered INTEGER NOT NULL,
 resent INTEGER NOT NULL,
 PRIMARY KEY(hour,client)
) WITHOUT ROWID;

CREATE VIEW relayed AS SELECT
 datetime(at/1000,'unixepoch','localtime') AS at, client, recipient, state,
 CASE state WHEN 'sent' THEN substr(answer,instr(answer,' Ok ')+4,
  instr(answer,' wait=')-instr(answer,' Ok ')-4) END AS ses_id,
 message, doubts, answer, token FROM once WHERE state<>'sending';
CREATE VIEW in_doubt AS SELECT
 datetime(at/1000,'unixepoch','localtime') AS at, client, recipient, state, doubts,
 message, answer, token FROM once WHERE state='sending' OR doubts>0;
CREATE VIEW hourly AS SELECT
 strftime('%Y-%m-%d %H:00',hour*3600,'unixepoch','localtime') AS hour,
 sum(sent) AS sent, sum(failed) AS failed, sum(repeated) AS repeated,
 sum(throttled) AS throttled, sum(unanswered) AS unanswered, sum(resent) AS resent
FROM tally GROUP BY tally.hour;
CREATE VIEW clients AS SELECT client,
 strftime('%Y-%m-%d %H:00',min(hour)*3600,'unixepoch','localtime') AS since,
 strftime('%Y-%m-%d %H:00',max(hour)*3600,'unixepoch','localtime') AS last,
 sum(sent) AS sent, sum(failed) AS failed, sum(repeated) AS repeated,
 sum(throttled) AS throttled, sum(unanswered) AS unanswered, sum(resent) AS resent
FROM tally GROUP BY client;

CREATE TRIGGER journal_fixed BEFORE UPDATE ON journal BEGIN
 SELECT RAISE(ABORT,'this is the listener''s own');
END;
CREATE TRIGGER journal_kept BEFORE DELETE ON journal BEGIN
 SELECT RAISE(ABORT,'this is the listener''s own');
END;
CREATE TRIGGER tally_entry BEFORE INSERT ON tally BEGIN
 SELECT RAISE(ABORT,'what happened can''t be changed');
END;
CREATE TRIGGER tally_fixed BEFORE UPDATE ON tally BEGIN
 SELECT RAISE(ABORT,'what happened can''t be changed');
END;
CREATE TRIGGER once_entry BEFORE INSERT ON once BEGIN
 SELECT RAISE(ABORT,'only the listener knows what it sends');
END;
CREATE TRIGGER once_kept BEFORE DELETE ON once BEGIN
 SELECT RAISE(ABORT,'what is forgotten here may be sent twice: rows go by themselves, after keep_journal');
END;
CREATE TRIGGER once_fixed BEFORE UPDATE OF client,token,at,until,doubts,recipient,message ON once
BEGIN
 SELECT RAISE(ABORT,'only state and answer can be changed');
END;
CREATE TRIGGER once_settled BEFORE UPDATE OF state,answer ON once
WHEN old.state<>'sending' OR new.state='sending' BEGIN
 SELECT RAISE(ABORT,'only what is in doubt can be settled by hand: set state=''sent'' or ''failed'' where state=''sending''');
END;
