/*
 * The statements of the queue. Parameters are numbered; beside each stands who binds them.
 */
#include "store/sql.h"

#define PUT  (1u << STORE_SUBMIT | 1u << STORE_FLUSH) /* the flusher imports, and bounces */
#define TX   (PUT | HAND)
#define WORK (1u << STORE_FLUSH)
#define HAND (1u << STORE_HAND)
#define LIST (1u << STORE_LIST | HAND | WORK) /* the flusher's --dry-run */

static const struct {
	unsigned roles;
	const char *text;
} table[SQL_COUNT] = {
	[SQL_BEGIN] = { TX, "BEGIN IMMEDIATE" },
	[SQL_COMMIT] = { TX, "COMMIT" },
	[SQL_ROLLBACK] = { TX, "ROLLBACK" },
	[SQL_VERSION] = { TX, "PRAGMA user_version" },

	/* put.c */
	[SQL_PUT_MESSAGE] = { PUT,
		"INSERT INTO message(key,submitted,uid,sender,size,eightbit,message_id,ret,envid,"
		"notice) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT(key) DO NOTHING" },
	[SQL_PUT_CONTENT] = { PUT, "INSERT INTO content(message,crc,data) VALUES(?1,?2,?3)" },
	[SQL_PUT_RECIPIENT] = { PUT,
		"INSERT INTO recipient(message,address,once,next_try,since,notify,orcpt,flow)"
		" VALUES(?1,?2,?3,?4,?4,?5,?6,?7)" },
	[SQL_PUT_HOUR] = { PUT,
		"INSERT INTO hour(at,submitted,bytes) VALUES(?1,?2,?3) ON CONFLICT(at) DO UPDATE"
		" SET submitted=submitted+excluded.submitted,bytes=bytes+excluded.bytes" },
	[SQL_FIND_KEY] = { PUT, "SELECT id FROM message WHERE key=?1" },

	/* capacity.c; those of no role are prepared when they are needed */
	[SQL_FREE_PAGES] = { WORK, "PRAGMA freelist_count" },
	[SQL_PAGES] = { WORK, "PRAGMA page_count" },
	[SQL_PLACE_TAKEN] = { 0,
		"SELECT 1 FROM place AS p WHERE uid=?1 AND place=?2 AND EXISTS(SELECT 1"
		" FROM recipient AS r WHERE r.message=p.message AND r.state IN "
		"('queued','held'))" },
	[SQL_PLACE_TAKE] = { 0,
		"INSERT OR REPLACE INTO place(uid,place,message) VALUES(?1,?2,?3)" },

	/* due.c: the index of flow ?1, after the time ?2 and the recipient ?3, up to ?4 */
	[SQL_DUE_SAME] = { WORK,
		"SELECT next_try,id FROM recipient WHERE state='queued' AND flow=?1"
		" AND next_try=?2 AND id>?3 AND next_try<=?4 ORDER BY id LIMIT ?5" },
	[SQL_DUE_LATER] = { WORK,
		"SELECT next_try,id FROM recipient WHERE state='queued' AND flow=?1"
		" AND next_try>?2 AND ?3=?3 AND next_try<=?4 ORDER BY next_try,id LIMIT ?5" },
	[SQL_DUE_ROW] = { WORK,
		"SELECT r.message,r.version,r.address,r.once,r.tries,r.next_try,r.since,"
		"m.submitted,m.size,r.doubt_journal,r.doubt_until,r.notify,r.orcpt,m.notice,"
		"r.warned,r.last_code"
		" FROM recipient AS r LEFT JOIN message AS m ON m.id=r.message"
		" WHERE r.id=?1 AND r.state='queued'" },
	/* the first flow from ?1 on; whether something of it is due, at ?2 or beyond the horizon
	 * ?3; and when the next one will be */
	[SQL_FLOW] = { WORK,
		"SELECT f.flow,f.next_try<=?2,"
		"EXISTS(SELECT 1 FROM recipient WHERE state='queued' AND flow=f.flow"
		" AND next_try>?3),"
		"(SELECT next_try FROM recipient WHERE state='queued' AND flow=f.flow"
		" AND next_try>?2 ORDER BY next_try LIMIT 1)"
		" FROM (SELECT flow,next_try FROM recipient WHERE state='queued' AND flow>=?1"
		" ORDER BY flow,next_try LIMIT 1) AS f" },
	[SQL_WAITING] = { WORK,
		"SELECT count(CASE WHEN next_try<=?1 OR next_try>?2 THEN 1 END),count(*)"
		" FROM recipient WHERE state='queued'" },
	[SQL_UNCHANGED] = { WORK,
		"SELECT 1 FROM recipient WHERE id=?1 AND version=?2 AND state='queued'" },
	[SQL_LOAD] = { WORK,
		"SELECT m.submitted,m.uid,m.sender,m.message_id,m.eightbit,m.ret,m.envid,m.size,"
		"c.crc,typeof(c.data),length(c.data)"
		" FROM message AS m LEFT JOIN content AS c ON c.message=m.id WHERE m.id=?1" },
	[SQL_HOLD] = { WORK,
		"UPDATE recipient SET state='held',last_code=0,last_reply=?2,"
		"version=CASE WHEN typeof(version)='integer' AND version BETWEEN 1 AND 1000000000"
		" THEN version+1 ELSE 1 END WHERE id=?1 AND state='queued'" },

	/* settle.c */
	[SQL_SETTLE] = { WORK,
		"UPDATE recipient SET state=?1,next_try=?2,tries=min(tries+?3,1000000),settled=?4,"
		"last_code=CASE WHEN ?1='queued' AND ?3=0 THEN last_code ELSE ?5 END,"
		"last_reply=?6,doubt_journal=?7,doubt_until=?8,ses_id=?9,"
		"queued_ms=?10,connect_ms=?11,hop_ms=?12,ses_ms=?13,"
		"bounce=CASE ?17 WHEN 0 THEN bounce ELSE 0 END"
		" WHERE id=?14 AND message=?15 AND version=?16 AND state='queued'" },
	[SQL_SETTLE_DOUBT] = { WORK,
		"UPDATE recipient SET doubt_journal=?1,doubt_until=?2"
		" WHERE id=?3 AND message=?4 AND address=?5 AND state IN ('queued','held')" },
	[SQL_DOUBT] = { WORK, "UPDATE recipient SET last_code=0,last_reply=?1,"
			      "doubt_journal=CASE ?2 WHEN '' THEN doubt_journal ELSE ?2 END,"
			      "doubt_until=CASE ?2 WHEN '' THEN doubt_until ELSE ?3 END"
			      " WHERE id=?4 AND message=?5 AND lower(hex(once))=?6 AND tries=?7"
			      " AND state IN ('queued','held') AND NOT EXISTS(SELECT 1"
			      " FROM attempt WHERE message=?5 AND recipient=?4 AND at=?8"
			      " AND maybe_sent=1)" },
	[SQL_DOUBT_TRY] = { WORK,
		"INSERT INTO attempt(message,recipient,address,at,relay,reply,maybe_sent)"
		" SELECT message,id,address,?1,?2,?3,1 FROM recipient WHERE id=?4" },
	[SQL_ATTEMPT] = { WORK,
		"INSERT INTO attempt(message,recipient,address,at,relay,code,enhanced,reply,ms,"
		"maybe_sent) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)" },
	[SQL_SETTLE_HOUR] = { WORK,
		"INSERT INTO hour(at,delivered,deferred,failed,slowest_ms) VALUES(?1,?2,?3,?4,?5)"
		" ON CONFLICT(at) DO UPDATE SET delivered=delivered+excluded.delivered,"
		"deferred=deferred+excluded.deferred,failed=failed+excluded.failed,"
		"slowest_ms=max(slowest_ms,excluded.slowest_ms)" },
	[SQL_OPEN_LEFT] = { WORK,
		"SELECT 1 FROM recipient WHERE message=?1 AND state IN ('queued','held') LIMIT 1" },
	[SQL_DROP_SENT] = { WORK,
		"DELETE FROM content WHERE message=?1"
		" AND NOT EXISTS(SELECT 1 FROM recipient WHERE message=?1 AND (state<>'sent'"
		" OR bounce IS NULL AND instr(notify,'SUCCESS')>0))" },

	/* road.c */
	[SQL_ROAD_READ] = { WORK,
		"SELECT relay,in_use,resume_at,down_since,reason,rate,full_at FROM road"
		" WHERE road=?1" },
	[SQL_ROAD_CLEAR] = { WORK, "DELETE FROM road WHERE road=?1" },
	[SQL_ROADS] = { WORK,
		"SELECT road FROM outage WHERE ended IS NULL UNION SELECT road FROM road" },
	[SQL_ROAD_WRITE] = { WORK,
		"INSERT OR REPLACE INTO"
		" road(road,relay,in_use,resume_at,down_since,reason,rate,full_at)"
		" VALUES(?1,?2,?3,?4,?5,?6,?7,?8)" },
	[SQL_OUTAGE_READ] = { WORK, "SELECT began,hours,reason FROM outage"
				    " WHERE road=?1 AND ended IS NULL ORDER BY id LIMIT 1" },
	[SQL_OUTAGE_NOTE] = { WORK,
		"UPDATE outage SET hours=?1,reason=?2 WHERE road=?3 AND ended IS NULL" },
	[SQL_OUTAGE_BEGIN] = { WORK,
		"INSERT INTO outage(road,began,hours,reason) VALUES(?1,?2,?3,?4)" },
	[SQL_OUTAGE_END] = { WORK, "UPDATE outage SET ended=max(?1,began)"
				   " WHERE road=?2 AND ended IS NULL" },
	[SQL_OUTAGE_SUM] = { WORK,
		"SELECT coalesce(sum(min(coalesce(ended,?3),?3)-max(began,?2)),0) FROM outage"
		" WHERE road=?1 AND began<?3 AND coalesce(ended,?3)>?2" },
	[SQL_DROP_OUTAGES] = { WORK,
		"DELETE FROM outage WHERE id IN"
		" (SELECT id FROM outage WHERE ended<?1 ORDER BY id LIMIT ?2)" },

/* keep.c. Those settled are gone through in the order of (settled, id), in two steps as what is due
 * is: a million may have been settled in one moment, by one UPDATE. */
#define SETTLED                                                                                    \
	"SELECT settled,id,message,"                                                               \
	"EXISTS(SELECT 1 FROM content WHERE content.message=recipient.message)"                    \
	" FROM recipient WHERE state=?1 AND settled"
	[SQL_FREED] = { WORK, "SELECT settled,recipient FROM freed WHERE state=?1" },
	[SQL_FREED_SET] = { WORK,
		"INSERT OR REPLACE INTO freed(state,settled,recipient) VALUES(?1,?2,?3)" },
	[SQL_SETTLED_SAME] = { WORK, SETTLED "=?2 AND id>?3 AND +settled<?4 ORDER BY id LIMIT ?5" },
	[SQL_SETTLED_LATER] = { WORK,
		SETTLED ">?2 AND ?3=?3 AND settled<?4 ORDER BY settled,id LIMIT ?5" },
	[SQL_FREE_CONTENT] = { WORK,
		"DELETE FROM content WHERE message=?1 AND NOT EXISTS(SELECT 1 FROM recipient"
		" WHERE message=?1 AND state IN ('queued','held'))"
		" AND NOT EXISTS(SELECT 1 FROM recipient WHERE message=?1 AND"
		" CASE state WHEN 'sent' THEN settled>=?2 ELSE settled>=?3 END)" },
	[SQL_OLDEST_RECIPIENT] = { WORK,
		"SELECT settled,id,message FROM recipient WHERE state=?1 AND settled IS NOT NULL"
		" ORDER BY settled,id LIMIT 1" },
	[SQL_OLDEST_ATTEMPT] = { WORK, "SELECT at FROM attempt ORDER BY at LIMIT 1" },
	[SQL_OLDEST_HOUR] = { WORK, "SELECT at FROM hour ORDER BY at LIMIT 1" },
	[SQL_DROP_RECIPIENT] = { WORK, "DELETE FROM recipient WHERE id=?1" },
	[SQL_DROP_MESSAGE] = { WORK, "DELETE FROM message WHERE id=?1"
				     " AND NOT EXISTS(SELECT 1 FROM recipient WHERE message=?1)" },
	[SQL_DROP_CONTENT] = { WORK, "DELETE FROM content WHERE message=?1" },
	[SQL_DROP_ATTEMPTS] = { WORK,
		"DELETE FROM attempt WHERE id IN"
		" (SELECT id FROM attempt WHERE at<?1 ORDER BY at LIMIT ?2)" },
	[SQL_DROP_HOURS] = { WORK, "DELETE FROM hour WHERE at IN"
				   " (SELECT at FROM hour WHERE at<?1 ORDER BY at LIMIT ?2)" },
	[SQL_GIVE_BACK] = { WORK, "PRAGMA incremental_vacuum(16)" },

/* notice.c. UNTOLD is the condition of the index recipient_untold, in its words. */
#define UNTOLD     "bounce IS NULL AND (state='failed' OR state='sent' AND instr(notify,'SUCCESS')>0)"
#define UNTOLD_ROW "id,version,address,notify,orcpt,last_code,last_reply,since,settled,state='held'"
	[SQL_UNTOLD] = { WORK, "SELECT message FROM recipient WHERE " UNTOLD
			       " AND message>?1 ORDER BY message LIMIT 1" },
	[SQL_LATE] = { WORK,
		"SELECT r.message,r.id,m.submitted,r.warned IS NULL AND m.notice=0 AND r.since<?3"
		" AND (r.state='held' OR r.tries>0)"
		" FROM recipient AS r CROSS JOIN message AS m ON m.id=r.message"
		" WHERE r.state IN ('queued','held') AND (r.message,r.id)>(?1,?2)"
		" ORDER BY r.message,r.id LIMIT ?4" },
	[SQL_UNTOLD_MESSAGE] = { WORK,
		"SELECT submitted,sender,message_id,envid,ret,notice,EXISTS(SELECT 1 FROM recipient"
		" WHERE message=?1 AND state IN ('queued','held')) FROM message WHERE id=?1" },
	[SQL_UNTOLD_RCPTS] = { WORK, "SELECT " UNTOLD_ROW " FROM recipient WHERE " UNTOLD
				     " AND message=?1 AND state=?2 ORDER BY id LIMIT ?3" },
	[SQL_LATE_RCPTS] = { WORK,
		"SELECT " UNTOLD_ROW " FROM recipient WHERE state IN ('queued','held')"
		" AND message=?1 AND warned IS NULL AND since<?2 AND (state='held' OR tries>0)"
		" ORDER BY id LIMIT ?3" },
	[SQL_UNTOLD_TRIES] = { WORK,
		"SELECT recipient,at,relay FROM attempt WHERE message=?1 ORDER BY id" },
	[SQL_NOTICES_TO] = { WORK,
		"SELECT count(*) FROM (SELECT 1 FROM message AS m CROSS JOIN recipient AS r"
		" ON r.message=m.id WHERE m.notice=1 AND m.submitted>?1 AND r.address=?2"
		" LIMIT ?3)" },
	[SQL_TELL_CHECK] = { WORK,
		"SELECT 1 FROM recipient WHERE id=?1 AND version=?2 AND message=?3 AND CASE ?4"
		" WHEN 0 THEN bounce IS NULL AND state IN ('sent','failed')"
		" ELSE warned IS NULL AND state IN ('queued','held') END" },
	[SQL_TELL] = { WORK, "UPDATE recipient SET bounce=?1 WHERE id=?2" },
	[SQL_TELL_WARNED] = { WORK, "UPDATE recipient SET warned=?1 WHERE id=?2" },

	/* event.c */
	[SQL_HELD] = { WORK,
		"SELECT EXISTS(SELECT 1 FROM recipient WHERE state='held'),"
		"EXISTS(SELECT 1 FROM outage WHERE road=?1 AND ended IS NULL),"
		"coalesce((SELECT substr(last_reply,1,500) FROM recipient WHERE state='held'"
		" ORDER BY id LIMIT 1),'')" },
	[SQL_HELD_BEGINS] = { WORK, "INSERT INTO outage(began,road,reason) VALUES(?1,?2,?3)" },
	[SQL_HELD_ENDS] = { WORK, "UPDATE outage SET ended=?1 WHERE road=?2 AND ended IS NULL" },
	[SQL_EVENT] = { WORK,
		"SELECT id,road,began,coalesce(ended,0),reason FROM outage WHERE"
		" told=0 AND ended IS NULL AND began<=?1 OR told=1 AND ended IS NOT NULL"
		" ORDER BY id LIMIT 1" },
	[SQL_EVENT_TOLD] = { WORK, "UPDATE outage SET told=?1 WHERE id=?2" },

	/* list.c */
	[SQL_LIST] = { LIST,
		"SELECT r.message,r.id,m.submitted,m.uid,m.size,m.sender,r.address,r.state,"
		"r.last_reply,r.tries,r.next_try,r.doubt_until"
		" FROM recipient AS r CROSS JOIN message AS m ON m.id=r.message"
		" WHERE r.state IN ('queued','held') AND (r.message,r.id)>(?1,?2)"
		" ORDER BY r.message,r.id LIMIT ?3" },

	/* hand.c: what the trigger does for a change by hand */
	[SQL_MAKE_DUE] = { HAND, "UPDATE recipient SET next_try=?1"
				 " WHERE id=?2 AND state='queued' AND next_try>?1" },
	[SQL_NOTE_DUE] = { HAND,
		"INSERT INTO attempt(message,recipient,address,at,reply)"
		" SELECT message,id,address,?1,'due now' FROM recipient WHERE id=?2" },
};

void sql_of_role(enum store_role role, const char *ret[SQL_COUNT])
{
	for (unsigned i = 0; i < SQL_COUNT; i++)
		ret[i] = table[i].roles & 1u << role ? table[i].text : NULL;
}

const char *sql_text(enum sql which)
{
	return table[which].text;
}
