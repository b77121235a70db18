/*
 * What a flusher knows of its roads, so that the next one need not learn it anew: which relay is in
 * use, which is not to be asked before when, and the times for which a road was down.
 */
#include "store/event.h"
#include "store/internal.h"

#include <assert.h>

#define OUTAGES_AT_ONCE 100 /* old ones that go with one that ends */
#define GONE_AT_ONCE    50  /* roads that are configured no longer; others with the next flusher */
#define ROAD_MAX        4096

/* One row into the relay it speaks of; of one that is configured no longer, into none. */
static void read_relay(sqlite3_stmt *q, struct store_relay *relay, unsigned n)
{
	struct store_relay got = { 0 };
	struct span text, reason;
	int64_t in_use;

	if (!store_text(q, 0, STORE_RELAY_MAX, &text) || !store_int(q, 1, 0, 1, &in_use) ||
		!store_int(q, 2, 0, STORE_TIME_MAX, &got.resume_at) ||
		!store_text(q, 4, sizeof got.reason - 1, &reason) ||
		!store_int(q, 5, 0, INT32_MAX, &got.rate) ||
		!store_int(q, 6, 0, STORE_TIME_MAX, &got.full_at))
		return;
	if (sqlite3_column_type(q, 3) != SQLITE_NULL &&
		!store_int(q, 3, 1, STORE_TIME_MAX, &got.down_since))
		return;
	for (unsigned i = 0; i < n; i++)
		if (span_eq(span_of(relay[i].relay), text)) {
			got.relay = relay[i].relay;
			got.in_use = in_use;
			memcpy(got.reason, reason.p, reason.n);
			relay[i] = got;
		}
}

/* A row that is open is an outage, whatever stands in it: it has to end. */
static int read_outage(struct store *s, const char *road, struct store_outage *ret, struct err *e)
{
	struct store_outage o = { .began = 1 };
	struct span reason;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OUTAGE_READ);

	db_bind_text(q, 1, road);
	int r = db_step(&s->db, q, e);
	if (r <= 0)
		return r;
	(void)store_int(q, 0, 1, STORE_TIME_MAX, &o.began);
	(void)store_int(q, 1, 0, STORE_TIME_MAX, &o.hours);
	if (store_text(q, 2, sizeof o.reason - 1, &reason))
		memcpy(o.reason, reason.p, reason.n);
	sqlite3_reset(q);
	*ret = o;
	return 0;
}

int store_road_read(struct store *s, const char *road, struct store_relay *relay, unsigned n,
	struct store_outage *ret_outage, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ROAD_READ);
	int r;

	db_bind_text(q, 1, road);
	while ((r = db_step(&s->db, q, e)) == 1)
		read_relay(q, relay, n);
	*ret_outage = (struct store_outage) { 0 };
	return r < 0 ? -1 : read_outage(s, road, ret_outage, e);
}

static int write_relay(
	struct store *s, const char *road, const struct store_relay *v, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ROAD_WRITE);

	db_bind_text(q, 1, road);
	db_bind_text(q, 2, v->relay);
	sqlite3_bind_int64(q, 3, v->in_use);
	sqlite3_bind_int64(q, 4, v->resume_at);
	if (v->down_since != 0)
		sqlite3_bind_int64(q, 5, v->down_since);
	db_bind_text(q, 6, v->reason);
	sqlite3_bind_int64(q, 7, v->rate);
	sqlite3_bind_int64(q, 8, v->full_at);
	return db_step(&s->db, q, e);
}

/* One that lasts gets a row, if it has none. */
static int note_outage(
	struct store *s, const char *road, const struct store_outage *o, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OUTAGE_NOTE);

	sqlite3_bind_int64(q, 1, o->hours);
	db_bind_text(q, 2, o->reason);
	db_bind_text(q, 3, road);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	if (sqlite3_changes(s->db.handle) > 0)
		return 0;
	q = db_stmt(&s->db, SQL_OUTAGE_BEGIN);
	db_bind_text(q, 1, road);
	sqlite3_bind_int64(q, 2, o->began);
	sqlite3_bind_int64(q, 3, o->hours);
	db_bind_text(q, 4, o->reason);
	return db_step(&s->db, q, e);
}

static int end_outage(struct store *s, const char *road, int64_t now, int64_t keep, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OUTAGE_END);

	sqlite3_bind_int64(q, 1, now);
	db_bind_text(q, 2, road);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	if (sqlite3_changes(s->db.handle) == 0)
		return 0;
	q = db_stmt(&s->db, SQL_DROP_OUTAGES);
	sqlite3_bind_int64(q, 1, now - keep);
	sqlite3_bind_int64(q, 2, OUTAGES_AT_ONCE);
	return db_step(&s->db, q, e);
}

static int write_road(struct store *s, const struct store_road *v, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ROAD_CLEAR);

	db_bind_text(q, 1, v->road);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	for (unsigned i = 0; i < v->n; i++)
		if (write_relay(s, v->road, &v->relay[i], e) < 0)
			return -1;
	return v->outage.began != 0 ? note_outage(s, v->road, &v->outage, e)
				    : end_outage(s, v->road, v->now, v->keep_history, e);
}

int store_road_write(struct store *s, const struct store_road *v, struct err *e)
{
	assert(v->n > 0);
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, write_road(s, v, e), e);
}

static bool is_one_of(const char *const *road, unsigned n, struct span name)
{
	for (unsigned i = 0; i < n; i++)
		if (span_eq(span_of(road[i]), name))
			return true;
	return span_eq(span_of(STORE_HELD_ROAD), name);
}

/* The first that is none of them. 1, 0 or -1. */
static int find_gone(
	struct store *s, const char *const *road, unsigned n, struct buf *ret, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ROADS);
	struct span name;
	int r;

	while ((r = db_step(&s->db, q, e)) == 1)
		if (store_text(q, 0, ROAD_MAX, &name) && !is_one_of(road, n, name)) {
			buf_clear(ret);
			buf_add_span(ret, name);
			sqlite3_reset(q);
			return ret->failed ? err_set(e, EX_OSERR, "out of memory") : 1;
		}
	return r;
}

static int forget_road(struct store *s, const char *road, int64_t now, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ROAD_CLEAR);

	db_bind_text(q, 1, road);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	q = db_stmt(&s->db, SQL_OUTAGE_END);
	sqlite3_bind_int64(q, 1, now);
	db_bind_text(q, 2, road);
	return db_step(&s->db, q, e);
}

int store_road_keep(
	struct store *s, const char *const *road, unsigned n, int64_t now, struct err *e)
{
	struct buf gone;
	int r = 0;

	buf_init(&gone, ROAD_MAX + 1);
	for (unsigned i = 0; i < GONE_AT_ONCE; i++) {
		r = find_gone(s, road, n, &gone, e);
		if (r <= 0)
			break;
		r = store_begin(s, e);
		if (r == 0)
			r = store_end(s, forget_road(s, buf_str(&gone), now, e), e);
		if (r < 0)
			break;
	}
	buf_done(&gone);
	return r < 0 ? -1 : 0;
}

int store_road_down(
	struct store *s, const char *road, int64_t from, int64_t to, int64_t *ret_ms, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OUTAGE_SUM);

	db_bind_text(q, 1, road);
	sqlite3_bind_int64(q, 2, from);
	sqlite3_bind_int64(q, 3, to);
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	*ret_ms = r == 1 ? sqlite3_column_int64(q, 0) : 0;
	sqlite3_reset(q);
	return 0;
}
