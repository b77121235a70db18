/*
 * Looked for without the lock, every half a minute; written when there is something.
 */
#include "store/event.h"
#include "store/internal.h"

static int write_held(struct store *s, bool held, int64_t now, const char *reason, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, held ? SQL_HELD_BEGINS : SQL_HELD_ENDS);
	sqlite3_bind_int64(q, 1, now);
	db_bind_text(q, 2, STORE_HELD_ROAD);
	if (held)
		db_bind_text(q, 3, reason);
	return db_step(&s->db, q, e) < 0 ? -1 : 0;
}

int store_event_held(struct store *s, int64_t now, struct err *e)
{
	char reason[512];
	sqlite3_stmt *q = db_stmt(&s->db, SQL_HELD);
	db_bind_text(q, 1, STORE_HELD_ROAD);
	if (db_step(&s->db, q, e) != 1)
		return -1;
	const bool held = sqlite3_column_int(q, 0), noted = sqlite3_column_int(q, 1);
	store_copy(q, 2, reason, sizeof reason);
	sqlite3_reset(q);
	if (held == noted)
		return 0;
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, write_held(s, held, now, reason, e), e);
}

/* 1, 0 or -1. */
static int find(
	struct store *s, int64_t before, int64_t *ret_id, struct store_event *ret, struct err *e)
{
	struct store_event v = { 0 };
	sqlite3_stmt *q = db_stmt(&s->db, SQL_EVENT);
	sqlite3_bind_int64(q, 1, before);
	int r = db_step(&s->db, q, e);
	if (r <= 0)
		return r;
	*ret_id = sqlite3_column_int64(q, 0);
	store_copy(q, 1, v.road, sizeof v.road);
	v.began = sqlite3_column_int64(q, 2);
	v.ended = sqlite3_column_int64(q, 3);
	v.over = v.ended != 0;
	store_copy(q, 4, v.reason, sizeof v.reason);
	sqlite3_reset(q);
	*ret = v;
	return 1;
}

int store_event_next(struct store *s, int64_t before, struct store_event *ret, struct err *e)
{
	int64_t id = 0;
	struct store_event v;
	int r = find(s, before, &id, &v, e);
	if (r <= 0)
		return r;
	if (store_begin(s, e) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_EVENT_TOLD);
	sqlite3_bind_int(q, 1, v.over ? 2 : 1);
	sqlite3_bind_int64(q, 2, id);
	if (store_end(s, db_step(&s->db, q, e), e) < 0)
		return -1;
	*ret = v;
	return 1;
}
