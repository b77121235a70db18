-- The journal of cenmail-listen, version 1: what was given to SES, so that nothing is given twice.
-- A row is one recipient of one client, by the token that the client made for it:
--
--     (nothing) --> sending --> sent      SES took it: its answer is repeated, nothing is sent
--                    ^  |
--                    |  +-----> failed    SES refused it: the token may be brought again
--                    |              |
--                    +--------------+
--
-- `sending` is written just before the final dot. Found so when no live process is sending it, it
-- is in doubt: SES may have it. doubts counts how often it was sent again in spite of that.
-- Times are milliseconds since 1970, UTC; in views they are local text.

CREATE TABLE journal(
 one INTEGER PRIMARY KEY CHECK(one=1),
 id TEXT NOT NULL,
 created INTEGER NOT NULL
);
CREATE TABLE once(
 client TEXT NOT NULL,
 token TEXT NOT NULL CHECK(length(token)=32),
 state TEXT NOT NULL CHECK(state IN ('sending','sent','failed')),
 at INTEGER NOT NULL,
 doubts INTEGER NOT NULL DEFAULT 0,
 recipient TEXT NOT NULL,
 message TEXT NOT NULL,
 answer TEXT,
 PRIMARY KEY(client,token)
) WITHOUT ROWID;
CREATE INDEX once_at ON once(at);

CREATE VIEW relayed AS SELECT datetime(at/1000,'unixepoch','localtime') AS at,
 client,recipient,message,state,doubts,answer FROM once WHERE state<>'sending';
CREATE VIEW in_doubt AS SELECT datetime(at/1000,'unixepoch','localtime') AS at,
 client,recipient,message,state,doubts,token FROM once WHERE state='sending' OR doubts>0;
CREATE VIEW hourly AS SELECT strftime('%Y-%m-%d %H:00',at/1000,'unixepoch','localtime') AS hour,
 sum(state='sent') AS sent,sum(state='failed') AS failed,sum(state='sending') AS unanswered,
 sum(doubts) AS doubts FROM once GROUP BY hour;
CREATE VIEW clients AS SELECT client,sum(state='sent') AS sent,sum(state='failed') AS failed,
 datetime(max(at)/1000,'unixepoch','localtime') AS last FROM once GROUP BY client;
