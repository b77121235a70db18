/*
 * Verdicts, written back in groups: one transaction, one sync, for many tries.
 */
#include "store/internal.h"

#define MS_AN_HOUR 3600000

static const char *const state_name[] = { "queued", "held", "sent", "failed" };

/* What the hour's row gains; written when the hour changes, and at the end. */
struct tally {
	int64_t hour, delivered, deferred, failed, slowest;
};

static int write_tally(struct store *s, const struct tally *t, struct err *e)
{
	if (t->delivered + t->deferred + t->failed == 0)
		return 0;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_SETTLE_HOUR);
	sqlite3_bind_int64(q, 1, t->hour);
	sqlite3_bind_int64(q, 2, t->delivered);
	sqlite3_bind_int64(q, 3, t->deferred);
	sqlite3_bind_int64(q, 4, t->failed);
	sqlite3_bind_int64(q, 5, t->slowest);
	return db_step(&s->db, q, e);
}

static int count(struct store *s, struct tally *t, const struct store_settlement *v, struct err *e)
{
	int64_t hour = v->at / MS_AN_HOUR;
	if (hour != t->hour) {
		if (write_tally(s, t, e) < 0)
			return -1;
		*t = (struct tally) { .hour = hour };
	}
	int64_t wait = v->queued_ms + v->connect_ms + v->hop_ms + v->ses_ms;
	switch (v->state) {
	case STORE_SENT:
		t->delivered++;
		if (wait > t->slowest)
			t->slowest = wait;
		break;
	case STORE_FAILED:
		t->failed++;
		break;
	case STORE_QUEUED:
	case STORE_HELD:
		t->deferred += !v->quiet;
		break;
	}
	return 0;
}

static int write_attempt(struct store *s, const struct store_settlement *v, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_ATTEMPT);
	sqlite3_bind_int64(q, 1, v->message);
	sqlite3_bind_int64(q, 2, v->recipient);
	db_bind_text(q, 3, v->address);
	sqlite3_bind_int64(q, 4, v->at);
	db_bind_text(q, 5, v->relay ? v->relay : "");
	sqlite3_bind_int64(q, 6, v->reply->code);
	db_bind_text(q, 7, v->reply->enhanced);
	db_bind_text(q, 8, v->reply->text);
	sqlite3_bind_int64(q, 9, v->hop_ms + v->ses_ms);
	sqlite3_bind_int64(q, 10, v->maybe_sent);
	return db_step(&s->db, q, e);
}

static void bind_delays(sqlite3_stmt *q, const struct store_settlement *v)
{
	if (v->state != STORE_SENT)
		return; /* they stay NULL */
	db_bind_text(q, 9, v->ses_id ? v->ses_id : "");
	sqlite3_bind_int64(q, 10, v->queued_ms);
	sqlite3_bind_int64(q, 11, v->connect_ms);
	sqlite3_bind_int64(q, 12, v->hop_ms);
	sqlite3_bind_int64(q, 13, v->ses_ms);
}

/* 1 the recipient is as it was when it was tried, and now has the verdict; 0 it is not; -1. */
static int apply(struct store *s, const struct store_settlement *v, struct err *e)
{
	char reply[REPLY_TEXT_MAX + 32];
	bool settled = v->state == STORE_SENT || v->state == STORE_FAILED;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_SETTLE);
	db_bind_text(q, 1, state_name[v->state]);
	sqlite3_bind_int64(q, 2, v->next_try);
	sqlite3_bind_int64(q, 3, v->counts);
	if (settled)
		sqlite3_bind_int64(q, 4, v->at);
	sqlite3_bind_int64(q, 5, v->reply->code);
	db_bind_text(q, 6, reply_format(v->reply, reply, sizeof reply));
	db_bind_text(q, 7, v->doubt_journal ? v->doubt_journal : "");
	sqlite3_bind_int64(q, 8, v->doubt_until);
	bind_delays(q, v);
	sqlite3_bind_int64(q, 14, v->recipient);
	sqlite3_bind_int64(q, 15, v->message);
	sqlite3_bind_int64(q, 16, v->version);
	sqlite3_bind_int64(q, 17, v->reports && v->state == STORE_SENT);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	return sqlite3_changes(s->db.handle) == 1;
}

/* A recipient that was changed by hand meanwhile keeps what the hand wrote; but if the listener may
 * have sent it, to this address, then where that can be asked is written down. */
static int keep_doubt(struct store *s, const struct store_settlement *v, struct err *e)
{
	if (!v->doubt_journal || !*v->doubt_journal)
		return 0;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_SETTLE_DOUBT);
	db_bind_text(q, 1, v->doubt_journal);
	sqlite3_bind_int64(q, 2, v->doubt_until);
	sqlite3_bind_int64(q, 3, v->recipient);
	sqlite3_bind_int64(q, 4, v->message);
	db_bind_text(q, 5, v->address);
	return db_step(&s->db, q, e);
}

/* 1 the message has no recipient left to settle, 0 it has, -1. */
static int is_done(struct store *s, int64_t message, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_OPEN_LEFT);
	sqlite3_bind_int64(q, 1, message);
	int r = db_step(&s->db, q, e);
	if (r == 1)
		sqlite3_reset(q);
	return r < 0 ? -1 : r == 0;
}

/* After all of the group is written: which messages are done, and their content when it goes. */
static int finish(struct store *s, const struct store_settlement *v, unsigned n, int64_t keep_sent,
	bool *ret_done, struct err *e)
{
	int done = 0;
	for (unsigned i = 0; i < n; i++) {
		if (i > 0 && v[i].message == v[i - 1].message) {
			if (ret_done)
				ret_done[i] = done;
			continue;
		}
		done = is_done(s, v[i].message, e);
		if (done < 0)
			return -1;
		if (ret_done)
			ret_done[i] = done;
		if (!done || keep_sent > 0)
			continue;
		sqlite3_stmt *q = db_stmt(&s->db, SQL_DROP_SENT);
		sqlite3_bind_int64(q, 1, v[i].message);
		if (db_step(&s->db, q, e) < 0)
			return -1;
	}
	return 0;
}

static int settle_all(struct store *s, const struct store_settlement *v, unsigned n,
	int64_t keep_sent, bool *ret_done, struct err *e)
{
	struct tally tally = { 0 };
	for (unsigned i = 0; i < n; i++) {
		int applied = apply(s, &v[i], e);
		if (applied < 0 || (!v[i].quiet && write_attempt(s, &v[i], e) < 0))
			return -1;
		if ((applied ? count(s, &tally, &v[i], e) : keep_doubt(s, &v[i], e)) < 0)
			return -1;
	}
	if (write_tally(s, &tally, e) < 0)
		return -1;
	return finish(s, v, n, keep_sent, ret_done, e);
}

int store_settle(struct store *s, const struct store_settlement *v, unsigned n, int64_t keep_sent,
	bool *ret_done, struct err *e)
{
	if (n == 0)
		return 0;
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, settle_all(s, v, n, keep_sent, ret_done, e), e);
}

/* --- what was in flight when a flusher was killed --- */

#define ENDED "the flusher ended while it was in flight"

/* With another token or number of tries it has had its verdict, or was sent anew by hand; and what
 * is noted already was found by a flusher that was killed, too, before the file was empty. */
static int doubt_one(struct store *s, const struct store_doubt *d, const struct store_flown *r,
	uint64_t *count, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_DOUBT);

	db_bind_text(q, 1, ENDED);
	db_bind_text(q, 2, d->journal);
	sqlite3_bind_int64(q, 3, d->until);
	sqlite3_bind_int64(q, 4, r->recipient);
	sqlite3_bind_int64(q, 5, d->message);
	db_bind_text(q, 6, r->once);
	sqlite3_bind_int64(q, 7, r->tries);
	sqlite3_bind_int64(q, 8, d->at);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	if (sqlite3_changes(s->db.handle) == 0)
		return 0;
	*count += 1;
	q = db_stmt(&s->db, SQL_DOUBT_TRY);
	sqlite3_bind_int64(q, 1, d->at);
	db_bind_text(q, 2, d->relay);
	db_bind_text(q, 3, ENDED);
	sqlite3_bind_int64(q, 4, r->recipient);
	return db_step(&s->db, q, e);
}

static int doubt_all(
	struct store *s, const struct store_doubt *d, unsigned n, uint64_t *count, struct err *e)
{
	for (; n > 0; n--, d++)
		for (unsigned i = 0; i < d->rcpts; i++)
			if (doubt_one(s, d, &d->rcpt[i], count, e) < 0)
				return -1;
	return 0;
}

int store_doubt(
	struct store *s, const struct store_doubt *d, unsigned n, uint64_t *count, struct err *e)
{
	if (n == 0)
		return 0;
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, doubt_all(s, d, n, count, e), e);
}
