-- The queue of cenmail, version 3. See cenmail-queue(7). What changes here changes in the step to the
-- next version too: migrate_N.sql. A column that a step has added stands as SQLite puts it.
--
-- A recipient's states, and who moves it:
--
--     sendmail                           the flusher: SES said 2yz to it
--        |         +------------------------------------------------------> sent
--        v         |      by hand, only while its last try is in doubt       |
--     queued ------+------------------------------------------------------->-+
--      | ^ ^ ^     |                                                         |
--      | | | |     |      the flusher: 5yz, or its lifetime is over; by hand |
--      | | | |     +------------------------------------------------> failed |
--      | | | |                                                          |    |
--      | | | +--- the flusher: not now (4yz, the road): at next_try     |    |
--      | | |                                                            |    |
--      | | +--------- by hand: to be sent anew, with a new once token --+----+
--      | |            (while its content is still kept)
--      | +----------- by hand: released -----------+
--      |                                           |
--      +----------------------------------------> held (sent, failed: as from queued)
--          by hand; the flusher: SES does not know the sender, or the content can't be trusted
--
-- Where a message is on the disk. Acknowledged: its sender was told 0 or 250. Outlives: a kill of any
-- program (k), the loss of power or of the kernel (p); a lost disk leaves what the last backup has.
--
--     place                       acknowledged  outlives  who moves it on
--     1  being read               no            -         sendmail: into 2 or 4; a crash drops it
--     2  incoming/*.tmp           no            k         sendmail: its name, 3; after a day it is removed
--     3  incoming/TIME-KEY        yes           k p       the flusher: into 5; its key makes it come once
--     4  transaction              no            -         sendmail: COMMIT, 5; a crash rolls it back
--     5  the WAL, committed       yes           k p       a checkpoint, by whoever commits past the bound
--     6  queue.db                 yes           k p       the flusher, when it is due
--     7  in flight                yes           k p       the verdict; after a crash it is due again, its
--                                                         token tells the listener that it had it
--     8  in doubt                 yes           k p       the flusher, by asking that listener again; by hand
--     9  sent, failed             yes           k p       by hand: queued again, while content is kept
--     10 content freed            yes           k p       the flusher, after keep_sent and keep_failed
--     11 history gone             yes           k p       the flusher, after keep_history
--     12 incoming/damaged         yes           k p       the operator; nothing removes it
--
-- Shown by:
--     1  test_hostile_caller.py::test_a11_killed_at_every_system_call
--     2  test_store_incoming.c::writer_killed_at_every_call
--        test_store_incoming_bad.c::half_written_is_cleared_after_a_day
--     3  test_incoming.py::test_killed_at_a_system_call
--        test_store_incoming.c::importer_killed_at_every_call
--        test_incoming.py::test_the_key_is_what_keeps_it_from_coming_twice
--     4  test_store_put.c::killed_at_every_call
--     5  test_kill_points.py::test_c1_a_submission
--        test_power.py::test_c2_what_was_acknowledged_outlives_the_power
--     6  test_kill_points.py::test_c1_a_submission_that_checkpoints
--        test_power.py::test_c3_the_power_goes_again_during_the_recovery
--     7  test_kill_points.py::test_c1_a_flusher
--        test_kill.py::test_the_flusher_is_killed
--     8  test_store_settle.c::doubt_is_kept_and_cleared
--        test_kill.py::test_what_is_held_in_doubt_can_be_set_sent_by_hand
--     9  test_store_settle.c::a_group_is_whole_or_not_at_all
--        test_store_hand.c::state_by_state
--     10 test_keep.py::test_content_and_history_go_in_their_time
--        test_store_hand.c::content_gone_is_not_sent_again
--     11 test_keep.py::test_content_and_history_go_in_their_time
--     12 test_store_incoming_bad.c::damaged_is_kept
--     and a lost disk: test_backup.py::test_a_backup_put_back_doubles_nothing
--
-- Times in tables are milliseconds since 1970, UTC; in views they are local text. Sizes are octets
-- with lines that end in CRLF. The programs open the database with triggers off and do the same
-- steps themselves: the triggers stand guard over changes by hand. Every sendmail parses all of
-- this, so it is kept short, and what would be a remark inside a statement stands above it.

-- A message is written once and never changed. key: 16 random octets that make a second import of
-- one file do nothing. ret, envid, and notify and orcpt of a recipient: RFC 3461. notice: one of our own
-- (a bounce, a warning), which is never bounced itself.
CREATE TABLE message(
 id INTEGER PRIMARY KEY AUTOINCREMENT,
 key BLOB NOT NULL UNIQUE CONSTRAINT "key: a blob of 16 octets"
  CHECK(typeof(key)='blob' AND length(key)=16),
 submitted INTEGER NOT NULL CONSTRAINT "submitted: milliseconds since 1970"
  CHECK(typeof(submitted)='integer' AND submitted BETWEEN 0 AND 253402300799999),
 uid INTEGER NOT NULL CONSTRAINT "uid: a user's number"
  CHECK(typeof(uid)='integer' AND uid BETWEEN 0 AND 4294967295),
 sender TEXT NOT NULL CONSTRAINT "sender: empty or user@domain, printable ASCII, at most 254 octets"
  CHECK(sender='' OR typeof(sender)='text' AND length(CAST(sender AS BLOB)) BETWEEN 3 AND 254
   AND sender LIKE '_%@_%' AND sender NOT GLOB '*[^ -~]*' AND length(sender)=length(CAST(sender AS BLOB))
   AND (sender LIKE '"%' OR sender NOT GLOB '*[ <>,;()\"]*')),
 size INTEGER NOT NULL CONSTRAINT "size: octets, not negative"
  CHECK(typeof(size)='integer' AND size BETWEEN 0 AND 2147483647),
 eightbit INTEGER NOT NULL CONSTRAINT "eightbit: 0 or 1" CHECK(eightbit IN (0,1)),
 message_id TEXT NOT NULL CONSTRAINT "message_id: text of at most 998 octets"
  CHECK(typeof(message_id)='text' AND length(CAST(message_id AS BLOB))<=998),
 ret TEXT CONSTRAINT "ret: FULL or HDRS" CHECK(ret IN ('FULL','HDRS')),
 envid TEXT CONSTRAINT "envid: printable ASCII, at most 100 octets"
  CHECK(length(CAST(envid AS BLOB))<=100 AND envid NOT GLOB '*[^!-~]*')
, notice INTEGER NOT NULL DEFAULT 0 CONSTRAINT "notice: 0 or 1" CHECK(notice IN (0,1)));
CREATE INDEX message_notice ON message(submitted) WHERE notice=1;

-- The message as it will be sent: select data from content where message=17. crc: CRC-32C.
CREATE TABLE content(
 message INTEGER PRIMARY KEY,
 crc INTEGER NOT NULL,
 data BLOB NOT NULL CONSTRAINT "data: a blob" CHECK(typeof(data)='blob')
);

-- once: names this delivery at the listener (XONCE). version: raised by every change by hand, so
-- that the verdict of a try which was under way does not overwrite it. since: when its lifetime
-- began. settled: when it became sent or failed. doubt_journal: its last try ended in doubt at the
-- listener with this journal, which knows the token until doubt_until. bounce: the message that
-- told the sender; 0: none is to; NULL: not decided yet. warned: when the sender was told that it
-- takes long. flow: flows take turns; made of uid, sender, and whether recipients are many. The delays add up to what the sender waited for.
CREATE TABLE recipient(
 id INTEGER PRIMARY KEY AUTOINCREMENT,
 message INTEGER NOT NULL,
 address TEXT NOT NULL CONSTRAINT "address: one user@domain, printable ASCII, at most 254 octets"
  CHECK(typeof(address)='text' AND length(CAST(address AS BLOB)) BETWEEN 3 AND 254
   AND length(address)=length(CAST(address AS BLOB)) AND address LIKE '_%@_%'
   AND address NOT GLOB '*[^ -~]*'
   AND (address LIKE '"%' OR address NOT GLOB '*[ <>,;()\"]*')),
 once BLOB NOT NULL CONSTRAINT "once: a blob of 16 octets"
  CHECK(typeof(once)='blob' AND length(once)=16),
 state TEXT NOT NULL DEFAULT 'queued' CONSTRAINT "state: queued, held, sent or failed"
  CHECK(state IN ('queued','held','sent','failed')),
 version INTEGER NOT NULL DEFAULT 1 CHECK(typeof(version)='integer' AND version>0),
 tries INTEGER NOT NULL DEFAULT 0 CONSTRAINT "tries: 0 to 1000000"
  CHECK(typeof(tries)='integer' AND tries BETWEEN 0 AND 1000000),
 next_try INTEGER NOT NULL CONSTRAINT "next_try: milliseconds since 1970"
  CHECK(typeof(next_try)='integer' AND next_try BETWEEN 0 AND 253402300799999),
 since INTEGER NOT NULL CHECK(typeof(since)='integer' AND since BETWEEN 0 AND 253402300799999),
 settled INTEGER,
 last_code INTEGER NOT NULL DEFAULT 0,
 last_reply TEXT NOT NULL DEFAULT '',
 doubt_journal TEXT NOT NULL DEFAULT '',
 doubt_until INTEGER NOT NULL DEFAULT 0,
 ses_id TEXT,
 queued_ms INTEGER,
 connect_ms INTEGER,
 hop_ms INTEGER,
 ses_ms INTEGER,
 bounce INTEGER,
 notify TEXT CONSTRAINT "notify: as in RFC 3461"
  CHECK(length(CAST(notify AS BLOB))<=30 AND notify NOT GLOB '*[^A-Z,]*'),
 orcpt TEXT CONSTRAINT "orcpt: printable ASCII, at most 500 octets"
  CHECK(length(CAST(orcpt AS BLOB))<=500 AND orcpt NOT GLOB '*[^!-~]*')
, warned INTEGER, flow INTEGER NOT NULL DEFAULT 0 CONSTRAINT "flow: 0 to 63"
  CHECK(typeof(flow)='integer' AND flow BETWEEN 0 AND 63));
CREATE INDEX recipient_message ON recipient(message);
CREATE INDEX recipient_open ON recipient(message) WHERE state IN ('queued','held');
CREATE INDEX recipient_due ON recipient(flow,next_try) WHERE state='queued';
CREATE INDEX recipient_settled ON recipient(state,settled) WHERE settled IS NOT NULL;
CREATE INDEX recipient_held ON recipient(id) WHERE state='held';
CREATE INDEX recipient_untold ON recipient(message)
 WHERE bounce IS NULL AND (state='failed' OR state='sent' AND instr(notify,'SUCCESS')>0);

-- One try at one recipient; or, by default, one change by hand. Kept when the message goes.
CREATE TABLE attempt(
 id INTEGER PRIMARY KEY,
 message INTEGER NOT NULL,
 recipient INTEGER NOT NULL,
 address TEXT NOT NULL,
 at INTEGER NOT NULL DEFAULT(CAST((julianday('now')-2440587.5)*86400000 AS INTEGER)),
 relay TEXT NOT NULL DEFAULT 'by hand',
 code INTEGER NOT NULL DEFAULT 0,
 enhanced TEXT NOT NULL DEFAULT '',
 reply TEXT NOT NULL,
 ms INTEGER,
 maybe_sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX attempt_message ON attempt(message);
CREATE INDEX attempt_at ON attempt(at);

-- How far the freeing of content has come, of what was sent and of what failed: all that was settled
-- up to (settled, recipient) has been looked at.
CREATE TABLE freed(
 state TEXT PRIMARY KEY,
 settled INTEGER NOT NULL,
 recipient INTEGER NOT NULL
) WITHOUT ROWID;

-- Each user's places for messages that wait (user_max). One whose message has no open recipient is
-- free. Written only where that key is set.
CREATE TABLE place(
 uid INTEGER NOT NULL,
 place INTEGER NOT NULL,
 message INTEGER NOT NULL,
 PRIMARY KEY(uid,place)
) WITHOUT ROWID;

-- What flushers know of the relays of a road (the pattern of its route, '' that of `relay`): until when
-- it is not asked, since when it is down, why; and which is in use:
-- what was in flight when a flusher was killed is known there. rate: recipients in 1,000 seconds, as its
-- throttling has taught (0: it has not); full_at: when what `rate` allows in a second may go at once again.
-- To delete a row is to ask again now.
CREATE TABLE road(
 road TEXT NOT NULL,
 relay TEXT NOT NULL,
 in_use INTEGER NOT NULL DEFAULT 0,
 resume_at INTEGER NOT NULL DEFAULT 0,
 down_since INTEGER,
 reason TEXT NOT NULL DEFAULT '',
 rate INTEGER NOT NULL DEFAULT 0,
 full_at INTEGER NOT NULL DEFAULT 0,
 PRIMARY KEY(road,relay)
) WITHOUT ROWID;

-- A time for which all relays of a road were down; ended is NULL while they are. hours: of it, as far
-- as the log was told. told: what the command of `notify` was run for: that it began (1), that it ended (2).
CREATE TABLE outage(
 id INTEGER PRIMARY KEY,
 road TEXT NOT NULL,
 began INTEGER NOT NULL,
 ended INTEGER,
 reason TEXT NOT NULL DEFAULT '',
 hours INTEGER NOT NULL DEFAULT 0,
 told INTEGER NOT NULL DEFAULT 0
);

-- What happened in an hour (at: hours since 1970), counted as it happens: recipients submitted,
-- delivered, put off, failed; octets submitted; the longest wait for a delivery.
CREATE TABLE hour(
 at INTEGER PRIMARY KEY,
 submitted INTEGER NOT NULL DEFAULT 0,
 delivered INTEGER NOT NULL DEFAULT 0,
 deferred INTEGER NOT NULL DEFAULT 0,
 failed INTEGER NOT NULL DEFAULT 0,
 bytes INTEGER NOT NULL DEFAULT 0,
 slowest_ms INTEGER NOT NULL DEFAULT 0
);

CREATE VIEW mailq AS SELECT
 m.id AS id,
 datetime(m.submitted/1000,'unixepoch','localtime') AS submitted,
 printf('%d:%02d:%02d',a/3600,a/60%60,a%60) AS age,
 m.size AS size, m.sender AS sender, r.address AS recipient, r.state AS state, r.tries AS tries,
 CASE r.state WHEN 'queued'
  THEN datetime(r.next_try/1000,'unixepoch','localtime') END AS next_try,
 r.last_reply AS last_reply
FROM (SELECT *,max(0,strftime('%s','now')-submitted/1000) AS a FROM message) AS m
 JOIN recipient AS r ON r.message=m.id WHERE r.state IN ('queued','held');

CREATE VIEW delivered AS SELECT
 m.id AS id, r.address AS recipient,
 datetime(m.submitted/1000,'unixepoch','localtime') AS submitted,
 datetime(r.settled/1000,'unixepoch','localtime') AS delivered,
 r.ses_id AS ses_id, m.message_id AS message_id,
 r.queued_ms/1000.0 AS queued, r.connect_ms/1000.0 AS connect,
 r.hop_ms/1000.0 AS hop, r.ses_ms/1000.0 AS ses
FROM message AS m CROSS JOIN recipient AS r ON r.message=m.id WHERE r.state='sent';

CREATE VIEW undeliverable AS SELECT
 message AS id, address AS recipient,
 datetime(settled/1000,'unixepoch','localtime') AS failed,
 nullif(last_code,0) AS code, last_reply AS reply, bounce
FROM recipient WHERE state='failed';

CREATE VIEW attempts AS SELECT
 message AS id, address AS recipient,
 datetime(at/1000,'unixepoch','localtime') AS at,
 relay, nullif(code,0) AS code, enhanced, reply, ms/1000.0 AS seconds, maybe_sent
FROM attempt;

CREATE VIEW hourly AS SELECT
 strftime('%Y-%m-%d %H:00',at*3600,'unixepoch','localtime') AS hour,
 submitted, delivered, deferred, failed, bytes, slowest_ms/1000.0 AS slowest
FROM hour;

CREATE VIEW roads AS SELECT
 road, relay, in_use,
 datetime(nullif(resume_at,0)/1000,'unixepoch','localtime') AS next_try,
 datetime(down_since/1000,'unixepoch','localtime') AS down_since, reason,
 nullif(rate,0)/1000.0 AS rate
FROM road;

CREATE VIEW outages AS SELECT
 road,
 datetime(began/1000,'unixepoch','localtime') AS began,
 datetime(ended/1000,'unixepoch','localtime') AS ended,
 (coalesce(ended,1000*strftime('%s','now'))-began)/1000 AS seconds, reason
FROM outage;

-- A domain is what stands after the last @. last_reply is of its youngest recipient whose last try
-- was not taken: beside one max() SQLite shows the other columns of that row.
CREATE VIEW by_domain AS SELECT
 lower(substr(address,length(rtrim(address,replace(address,'@','')))+1)) AS domain,
 sum(state='queued') AS queued, sum(state='held') AS held,
 sum(state='queued' AND last_reply<>'') AS deferred,
 sum(state='sent') AS delivered, sum(state='failed') AS failed,
 round(avg(CASE state WHEN 'sent' THEN queued_ms+connect_ms+hop_ms+ses_ms END)/1000,3) AS seconds,
 CASE WHEN max(CASE WHEN last_reply<>'' AND state<>'sent' THEN id END) THEN last_reply END AS last_reply
FROM recipient GROUP BY 1;

-- Refusals. What is refused by a column's own rule says so by the rule's name.
CREATE TRIGGER message_entry BEFORE INSERT ON message BEGIN
 SELECT RAISE(ABORT,'mail enters by sendmail: give it the message, as in sendmail -t < FILE');
END;
CREATE TRIGGER content_entry BEFORE INSERT ON content BEGIN
 SELECT RAISE(ABORT,'content can''t be put in or replaced: delete the message and submit it again');
END;
CREATE TRIGGER recipient_entry BEFORE INSERT ON recipient BEGIN
 SELECT RAISE(ABORT,'a recipient can''t be added: submit the message again, to this one alone');
END;
CREATE TRIGGER attempt_fixed BEFORE UPDATE ON attempt WHEN old.relay<>'by hand' OR old.reply<>'' BEGIN
 SELECT RAISE(ABORT,'what happened can''t be changed');
END;
CREATE TRIGGER message_fixed BEFORE UPDATE ON message BEGIN
 SELECT RAISE(ABORT,'a message can''t be changed: change its recipients (state, address), or delete it and submit it again');
END;
CREATE TRIGGER content_fixed BEFORE UPDATE ON content BEGIN
 SELECT RAISE(ABORT,'content can''t be changed: delete the message and submit it again');
END;
CREATE TRIGGER content_needed BEFORE DELETE ON content
WHEN EXISTS(SELECT 1 FROM recipient WHERE message=old.message AND state IN ('queued','held')) BEGIN
 SELECT RAISE(ABORT,'content is needed while a recipient is queued or held: delete from message instead, to drop it');
END;
-- recipient_changed has put an attempt without a reply before it sets these: that is how this one
-- knows it.
CREATE TRIGGER recipient_fixed BEFORE UPDATE OF id,rowid,_rowid_,oid,message,once,tries,since,settled,
 last_code,last_reply,doubt_journal,doubt_until,ses_id,queued_ms,connect_ms,hop_ms,ses_ms,bounce,notify,
 orcpt,version,warned,flow ON recipient WHEN NOT EXISTS(SELECT 1 FROM attempt WHERE
 id=(SELECT max(id) FROM attempt) AND (recipient,relay,reply)=(old.id,'by hand','')) BEGIN
 SELECT RAISE(ABORT,'only state, address and next_try of a recipient can be changed');
END;
-- To hold a message passes over its recipients that are settled: a release would send to them again. A
-- next_try that is far ahead is of a clock that was set back, to the flusher, which sends it at once.
CREATE TRIGGER recipient_refused BEFORE UPDATE OF state,address,next_try ON recipient BEGIN SELECT CASE
 WHEN new.state='sent' AND old.state<>'sent' AND old.doubt_journal=''
 THEN RAISE(ABORT,'only a recipient whose last try is in doubt can be set sent: to give it up, set it failed or delete the message')
 WHEN new.state='failed' AND old.state='sent'
 THEN RAISE(ABORT,'it was sent: to send it again, set it queued')
 WHEN new.address<>old.address AND new.state='sent'
 THEN RAISE(ABORT,'it was sent to the old address: to send it to the new one, set state=''queued'' in the same statement')
 WHEN new.state='held' AND old.state IN ('sent','failed')
 THEN RAISE(IGNORE)
 WHEN new.state='queued' AND old.state IN ('sent','failed')
  AND NOT EXISTS(SELECT 1 FROM content WHERE message=new.message)
 THEN RAISE(ABORT,'its content is no longer kept (keep_sent, keep_failed): it has to be submitted again')
 WHEN new.next_try<>old.next_try AND typeof(new.next_try)='integer'
  AND new.next_try>3600000+1000*strftime('%s','now')
 THEN RAISE(ABORT,'next_try can be an hour from now at most: to keep it longer, set state=''held'', and queued later')
END; END;

-- What follows from a change. Another state or address raises version, and queued is due now; what
-- is to be sent anew (after sent or failed, or to another address) begins anew, with a new token,
-- unless its last try, to the same address, is in doubt. Queued that was queued already is due now,
-- and keeps its version: a try that is under way still counts. All of it is noted: first a row without
-- words, for recipient_fixed, and then the words.
CREATE TRIGGER recipient_changed AFTER UPDATE OF state,address,next_try ON recipient
WHEN new.version=old.version AND (new.state='queued'
 OR (new.state,new.address,new.next_try)<>(old.state,old.address,old.next_try)) BEGIN
 INSERT INTO attempt(message,recipient,address,reply) VALUES(new.message,new.id,new.address,'');
 UPDATE recipient SET version=version+1,
  next_try=CASE state WHEN 'queued'
   THEN 1000*strftime('%s','now') ELSE next_try END,
  settled=CASE WHEN state IN ('queued','held') THEN NULL WHEN state=old.state THEN settled
   ELSE 1000*strftime('%s','now') END,
  doubt_journal=CASE WHEN state='sent' OR address<>old.address THEN '' ELSE doubt_journal END
 WHERE id=new.id AND (new.state,new.address)<>(old.state,old.address);
 UPDATE recipient SET version=version+1, tries=0, bounce=NULL, warned=NULL,
  since=1000*strftime('%s','now'),
  once=CASE doubt_journal WHEN '' THEN randomblob(16) ELSE once END
 WHERE id=new.id AND (new.address<>old.address
  OR old.state IN ('sent','failed') AND new.state='queued');
 UPDATE recipient SET next_try=1000*strftime('%s','now')
 WHERE id=new.id AND (new.state,new.address,new.next_try)=('queued',old.address,old.next_try)
  AND old.state='queued';
 UPDATE attempt SET reply=ltrim(CASE new.state WHEN old.state THEN '' ELSE old.state||' to '||new.state END
   ||CASE new.address WHEN old.address THEN '' ELSE ', address was '||old.address END
   ||CASE WHEN (new.state,new.address)<>(old.state,old.address) THEN ''
    WHEN new.next_try=old.next_try THEN 'due now' ELSE 'next try at '
    ||datetime(new.next_try/1000,'unixepoch','localtime') END,', ') WHERE id=last_insert_rowid();
END;
CREATE TRIGGER recipient_dropped AFTER DELETE ON recipient BEGIN
 INSERT INTO attempt(message,recipient,address,reply)
 VALUES(old.message,old.id,old.address,old.state||', dropped');
 DELETE FROM message WHERE id=old.message
  AND NOT EXISTS(SELECT 1 FROM recipient WHERE message=old.message);
END;
CREATE TRIGGER message_dropped AFTER DELETE ON message BEGIN
 DELETE FROM recipient WHERE message=old.id;
 DELETE FROM content WHERE message=old.id;
END;
