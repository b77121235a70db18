-- From version 2 to 3. What stands here stays as it is: it is the way that queues have gone. A queue
-- that came it has the sqlite_master of a fresh one, word for word. flow_of() is
-- migrate.c's. Of what had failed before nobody is told now.
DROP INDEX recipient_due;
DROP TRIGGER attempt_fixed;
DROP TRIGGER recipient_fixed;
DROP TRIGGER recipient_refused;
DROP TRIGGER recipient_changed;
ALTER TABLE message ADD COLUMN notice INTEGER NOT NULL DEFAULT 0 CONSTRAINT "notice: 0 or 1" CHECK(notice IN (0,1));
ALTER TABLE recipient ADD COLUMN warned INTEGER;
ALTER TABLE recipient ADD COLUMN flow INTEGER NOT NULL DEFAULT 0 CONSTRAINT "flow: 0 to 63"
  CHECK(typeof(flow)='integer' AND flow BETWEEN 0 AND 63);
UPDATE recipient SET bounce=0
 WHERE bounce IS NULL AND (state='failed' OR state='sent' AND instr(notify,'SUCCESS')>0);
UPDATE recipient SET flow=coalesce((SELECT flow_of(uid,sender,(SELECT count(*) FROM
  (SELECT 1 FROM recipient AS r WHERE r.message=m.id LIMIT 100))) FROM message AS m WHERE m.id=recipient.message),0)
 WHERE state IN ('queued','held');
CREATE INDEX recipient_held ON recipient(id) WHERE state='held';
CREATE INDEX recipient_untold ON recipient(message)
 WHERE bounce IS NULL AND (state='failed' OR state='sent' AND instr(notify,'SUCCESS')>0);
CREATE INDEX message_notice ON message(submitted) WHERE notice=1;
CREATE INDEX recipient_due ON recipient(flow,next_try) WHERE state='queued';
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
CREATE TABLE outage(
 id INTEGER PRIMARY KEY,
 road TEXT NOT NULL,
 began INTEGER NOT NULL,
 ended INTEGER,
 reason TEXT NOT NULL DEFAULT '',
 hours INTEGER NOT NULL DEFAULT 0,
 told INTEGER NOT NULL DEFAULT 0
);
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
CREATE TRIGGER attempt_fixed BEFORE UPDATE ON attempt WHEN old.relay<>'by hand' OR old.reply<>'' BEGIN
 SELECT RAISE(ABORT,'what happened can''t be changed');
END;
CREATE TRIGGER recipient_fixed BEFORE UPDATE OF id,rowid,_rowid_,oid,message,once,tries,since,settled,
 last_code,last_reply,doubt_journal,doubt_until,ses_id,queued_ms,connect_ms,hop_ms,ses_ms,bounce,notify,
 orcpt,version,warned,flow ON recipient WHEN NOT EXISTS(SELECT 1 FROM attempt WHERE
 id=(SELECT max(id) FROM attempt) AND (recipient,relay,reply)=(old.id,'by hand','')) BEGIN
 SELECT RAISE(ABORT,'only state, address and next_try of a recipient can be changed');
END;
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
