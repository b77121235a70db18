-- From version 1 to 2. What stands here stays as it is: it is the way that queues have gone. A queue
-- that came it has the sqlite_master of a fresh one, word for word.
DROP VIEW mailq;
DROP VIEW delivered;
DROP VIEW undeliverable;
DROP VIEW attempts;
DROP TRIGGER recipient_refused;
DROP TRIGGER recipient_changed;
CREATE INDEX recipient_settled ON recipient(state,settled) WHERE settled IS NOT NULL;
CREATE INDEX attempt_at ON attempt(at);
CREATE TABLE freed(
 state TEXT PRIMARY KEY,
 settled INTEGER NOT NULL,
 recipient INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE place(
 uid INTEGER NOT NULL,
 place INTEGER NOT NULL,
 message INTEGER NOT NULL,
 PRIMARY KEY(uid,place)
) WITHOUT ROWID;
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
CREATE VIEW by_domain AS SELECT
 lower(substr(address,length(rtrim(address,replace(address,'@','')))+1)) AS domain,
 sum(state='queued') AS queued, sum(state='held') AS held,
 sum(state='queued' AND last_reply<>'') AS deferred,
 sum(state='sent') AS delivered, sum(state='failed') AS failed,
 round(avg(CASE state WHEN 'sent' THEN queued_ms+connect_ms+hop_ms+ses_ms END)/1000,3) AS seconds,
 CASE WHEN max(CASE WHEN last_reply<>'' AND state<>'sent' THEN id END) THEN last_reply END AS last_reply
FROM recipient GROUP BY 1;
CREATE TRIGGER message_entry BEFORE INSERT ON message BEGIN
 SELECT RAISE(ABORT,'mail enters by sendmail: give it the message, as in sendmail -t < FILE');
END;
CREATE TRIGGER content_entry BEFORE INSERT ON content BEGIN
 SELECT RAISE(ABORT,'content can''t be put in or replaced: delete the message and submit it again');
END;
CREATE TRIGGER recipient_entry BEFORE INSERT ON recipient BEGIN
 SELECT RAISE(ABORT,'a recipient can''t be added: submit the message again, to this one alone');
END;
CREATE TRIGGER attempt_fixed BEFORE UPDATE ON attempt BEGIN
 SELECT RAISE(ABORT,'what happened can''t be changed');
END;
CREATE TRIGGER recipient_fixed BEFORE UPDATE OF id,rowid,_rowid_,oid,message,once,tries,since,settled,
 last_code,last_reply,doubt_journal,doubt_until,ses_id,queued_ms,connect_ms,hop_ms,ses_ms,bounce,notify,
 orcpt ON recipient WHEN new.version=old.version OR (new.id,new.message)<>(old.id,old.message) BEGIN
 SELECT RAISE(ABORT,'only state, address and next_try of a recipient can be changed');
END;
CREATE TRIGGER recipient_refused BEFORE UPDATE OF state,address ON recipient BEGIN SELECT CASE
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
END; END;
CREATE TRIGGER recipient_changed AFTER UPDATE OF state,address,next_try ON recipient
WHEN new.version=old.version AND (new.state='queued'
 OR (new.state,new.address,new.next_try)<>(old.state,old.address,old.next_try)) BEGIN
 UPDATE recipient SET version=version+1,
  next_try=CASE state WHEN 'queued'
   THEN 1000*strftime('%s','now') ELSE next_try END,
  settled=CASE WHEN state IN ('queued','held') THEN NULL WHEN state=old.state THEN settled
   ELSE 1000*strftime('%s','now') END,
  doubt_journal=CASE WHEN state='sent' OR address<>old.address THEN '' ELSE doubt_journal END
 WHERE id=new.id AND (new.state,new.address)<>(old.state,old.address);
 UPDATE recipient SET version=version+1, tries=0, bounce=NULL,
  since=1000*strftime('%s','now'),
  once=CASE doubt_journal WHEN '' THEN randomblob(16) ELSE once END
 WHERE id=new.id AND (new.address<>old.address
  OR old.state IN ('sent','failed') AND new.state='queued');
 UPDATE recipient SET next_try=1000*strftime('%s','now')
 WHERE id=new.id AND (new.state,new.address,new.next_try)=('queued',old.address,old.next_try)
  AND old.state='queued';
 INSERT INTO attempt(message,recipient,address,reply) VALUES(new.message,new.id,new.address,
  ltrim(CASE new.state WHEN old.state THEN '' ELSE old.state||' to '||new.state END
   ||CASE new.address WHEN old.address THEN '' ELSE ', address was '||old.address END
   ||CASE WHEN (new.state,new.address)<>(old.state,old.address) THEN ''
    WHEN new.next_try=old.next_try THEN 'due now' ELSE 'next try at '
    ||datetime(new.next_try/1000,'unixepoch','localtime') END,', '));
END;
