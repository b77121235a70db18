/*
 * How much waits, for people who watch.
 */
#include "store/internal.h"

int store_waiting(struct store *s, int64_t now, int64_t horizon_ms, uint64_t *ret_due,
	uint64_t *ret_later, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_WAITING);
	sqlite3_bind_int64(q, 1, now);
	sqlite3_bind_int64(q, 2, now + horizon_ms);
	int r = db_step(&s->db, q, e);
	if (r != 1)
		return -1;
	const int64_t due = sqlite3_column_int64(q, 0), all = sqlite3_column_int64(q, 1);
	*ret_due = (uint64_t)due;
	*ret_later = (uint64_t)(all - due);
	sqlite3_reset(q);
	return 0;
}
