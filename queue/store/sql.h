/*
 * Every statement of the queue, in one table, prepared at open by the roles that use them.
 */
#ifndef CENMAIL_STORE_SQL_H
#define CENMAIL_STORE_SQL_H

#include "store/store.h"

enum sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_VERSION,
	/* submission */
	SQL_PUT_MESSAGE,
	SQL_PUT_CONTENT,
	SQL_PUT_RECIPIENT,
	SQL_PUT_HOUR,
	SQL_FIND_KEY,
	/* ceilings: prepared when they are needed */
	SQL_FREE_PAGES,
	SQL_PAGES,
	SQL_PLACE_TAKEN,
	SQL_PLACE_TAKE,
	/* the flusher's choice */
	SQL_DUE_SAME,
	SQL_DUE_LATER,
	SQL_DUE_ROW,
	SQL_FLOW,
	SQL_WAITING,
	SQL_UNCHANGED,
	SQL_LOAD,
	SQL_HOLD,
	/* verdicts */
	SQL_SETTLE,
	SQL_SETTLE_DOUBT,
	SQL_DOUBT,
	SQL_DOUBT_TRY,
	SQL_ATTEMPT,
	SQL_SETTLE_HOUR,
	SQL_OPEN_LEFT,
	SQL_DROP_SENT,
	/* roads */
	SQL_ROAD_READ,
	SQL_ROAD_CLEAR,
	SQL_ROADS,
	SQL_ROAD_WRITE,
	SQL_OUTAGE_READ,
	SQL_OUTAGE_NOTE,
	SQL_OUTAGE_BEGIN,
	SQL_OUTAGE_END,
	SQL_OUTAGE_SUM,
	SQL_DROP_OUTAGES,
	/* retention */
	SQL_FREED,
	SQL_FREED_SET,
	SQL_SETTLED_SAME,
	SQL_SETTLED_LATER,
	SQL_FREE_CONTENT,
	SQL_OLDEST_RECIPIENT,
	SQL_OLDEST_ATTEMPT,
	SQL_OLDEST_HOUR,
	SQL_DROP_RECIPIENT,
	SQL_DROP_MESSAGE,
	SQL_DROP_CONTENT,
	SQL_DROP_ATTEMPTS,
	SQL_DROP_HOURS,
	SQL_GIVE_BACK,
	/* notices */
	SQL_UNTOLD,
	SQL_LATE,
	SQL_UNTOLD_MESSAGE,
	SQL_UNTOLD_RCPTS,
	SQL_LATE_RCPTS,
	SQL_UNTOLD_TRIES,
	SQL_NOTICES_TO,
	SQL_TELL_CHECK,
	SQL_TELL,
	SQL_TELL_WARNED,
	SQL_HELD,
	SQL_HELD_BEGINS,
	SQL_HELD_ENDS,
	SQL_EVENT,
	SQL_EVENT_TOLD,
	/* mailq, and by hand */
	SQL_LIST,
	SQL_MAKE_DUE,
	SQL_NOTE_DUE,
	SQL_COUNT
};

/* The texts a role uses; NULL where it does not use one. */
void sql_of_role(enum store_role role, const char *ret[SQL_COUNT]);
/* The text of one that no role prepares at open, as it is rarely used. */
const char *sql_text(enum sql which);

#endif
