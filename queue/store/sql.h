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
	/* the flusher's choice */
	SQL_DUE_SAME,
	SQL_DUE_LATER,
	SQL_DUE_OF_MESSAGE,
	SQL_NEXT_DUE,
	SQL_UNCHANGED,
	SQL_LOAD,
	SQL_HOLD,
	/* verdicts */
	SQL_SETTLE,
	SQL_SETTLE_DOUBT,
	SQL_ATTEMPT,
	SQL_SETTLE_HOUR,
	SQL_OPEN_LEFT,
	SQL_DROP_SENT,
	/* mailq, and by hand */
	SQL_LIST,
	SQL_MAKE_DUE,
	SQL_NOTE_DUE,
	SQL_COUNT
};

/* The texts a role uses; NULL where it does not use one. */
void sql_of_role(enum store_role role, const char *ret[SQL_COUNT]);

#endif
