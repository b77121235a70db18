/*
 * What senders have not been told: found by a partial index that holds nothing else, read without
 * the lock, and looked at again under it.
 */
#include "store/notice.h"
#include "store/internal.h"

#include "base/crc.h"

#include <assert.h>

#define PAGE 200

int store_untold_next(struct store *s, int64_t after, int64_t *ret_message, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_UNTOLD);
	sqlite3_bind_int64(q, 1, after);
	int r = db_step(&s->db, q, e);
	if (r == 1) {
		*ret_message = sqlite3_column_int64(q, 0);
		sqlite3_reset(q);
	}
	return r;
}

int store_late_next(
	struct store *s, struct late_walk *w, int64_t cutoff, int64_t *ret_message, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_LATE);
	int r, rows = 0;
	*ret_message = 0;
	sqlite3_bind_int64(q, 1, w->message);
	sqlite3_bind_int64(q, 2, w->recipient);
	sqlite3_bind_int64(q, 3, cutoff);
	sqlite3_bind_int(q, 4, PAGE);
	while ((r = db_step(&s->db, q, e)) == 1) {
		const bool young = sqlite3_column_int64(q, 2) >= cutoff;
		const bool late = sqlite3_column_int(q, 3);
		if (!young) {
			w->message = sqlite3_column_int64(q, 0);
			w->recipient = late ? INT64_MAX : sqlite3_column_int64(q, 1);
		}
		rows++;
		if (young || late) {
			sqlite3_reset(q);
			if (late && !young)
				*ret_message = w->message;
			return late && !young;
		}
	}
	return r < 0 ? -1 : rows == PAGE;
}

/* --- one message --- */

static int64_t read_int(sqlite3_stmt *q, int col, int64_t hi)
{
	int64_t v = 0;
	return store_int(q, col, 0, hi, &v) ? v : 0;
}

static bool is_address(struct span s)
{
	struct address a;
	return address_parse(s, &a, NULL) == 0;
}

/* What is not of that kind, whoever wrote it: none. */
static void read_if(sqlite3_stmt *q, int col, bool (*is)(struct span s), char *out, size_t size)
{
	store_copy(q, col, out, size);
	if (!is(span_of(out)))
		out[0] = '\0';
}

static int read_message(struct store *s, struct untold *u, struct err *e)
{
	char ret[8];
	sqlite3_stmt *q = db_stmt(&s->db, SQL_UNTOLD_MESSAGE);
	sqlite3_bind_int64(q, 1, u->message);
	int r = db_step(&s->db, q, e);
	if (r <= 0)
		return r;
	u->submitted = read_int(q, 0, STORE_TIME_MAX);
	read_if(q, 1, is_address, u->sender, sizeof u->sender);
	store_copy(q, 2, u->message_id, sizeof u->message_id);
	read_if(q, 3, dsn_is_envid, u->envid, sizeof u->envid);
	store_copy(q, 4, ret, sizeof ret);
	u->headers_only = strcmp(ret, "HDRS") == 0;
	u->notice = read_int(q, 5, 1) != 0;
	u->open = sqlite3_column_int(q, 6);
	sqlite3_reset(q);
	return 1;
}

static int read_rcpt(sqlite3_stmt *q, struct untold_rcpt *r, struct err *e)
{
	struct span reply = { "", 0 };
	*r = (struct untold_rcpt) { .recipient = sqlite3_column_int64(q, 0),
		.version = sqlite3_column_int64(q, 1) };
	read_if(q, 2, is_address, r->address, sizeof r->address);
	store_copy(q, 3, r->notify, sizeof r->notify);
	read_if(q, 4, dsn_is_orcpt, r->orcpt, sizeof r->orcpt);
	r->code = (int)read_int(q, 5, 599);
	if (!store_text(q, 6, REPLY_TEXT_MAX + 32, &reply))
		reply.n = 0;
	r->since = read_int(q, 7, STORE_TIME_MAX);
	r->settled = read_int(q, 8, STORE_TIME_MAX);
	r->held = sqlite3_column_int(q, 9);
	r->reply = strndup(reply.p, reply.n);
	return r->reply ? 0 : err_set(e, EX_TEMPFAIL, "out of memory for a notice");
}

static int read_rcpts(
	struct store *s, struct untold *u, enum notice_kind kind, int64_t cutoff, struct err *e)
{
	int r = 0;
	u->rcpt = calloc(NOTICE_RCPTS_MAX, sizeof *u->rcpt);
	if (!u->rcpt)
		return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
	sqlite3_stmt *q =
		db_stmt(&s->db, kind == NOTICE_DELAYED ? SQL_LATE_RCPTS : SQL_UNTOLD_RCPTS);
	sqlite3_bind_int64(q, 1, u->message);
	if (kind == NOTICE_DELAYED)
		sqlite3_bind_int64(q, 2, cutoff);
	else
		db_bind_text(q, 2, kind == NOTICE_FAILED ? "failed" : "sent");
	sqlite3_bind_int(q, 3, NOTICE_RCPTS_MAX);
	while ((r = db_step(&s->db, q, e)) == 1) {
		assert(u->rcpts < NOTICE_RCPTS_MAX);
		if (read_rcpt(q, &u->rcpt[u->rcpts++], e) < 0) {
			sqlite3_reset(q);
			return -1;
		}
	}
	return r;
}

static int by_number(const void *key, const void *of)
{
	const int64_t *n = key;
	const struct untold_rcpt *r = of;
	return *n < r->recipient ? -1 : *n > r->recipient;
}

/* The last try of each, in one pass over all that were made of the message. */
static int read_tries(struct store *s, struct untold *u, struct err *e)
{
	int r;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_UNTOLD_TRIES);
	sqlite3_bind_int64(q, 1, u->message);
	while ((r = db_step(&s->db, q, e)) == 1) {
		const int64_t id = sqlite3_column_int64(q, 0);
		struct untold_rcpt *rcpt =
			bsearch(&id, u->rcpt, u->rcpts, sizeof *u->rcpt, by_number);
		char relay[sizeof u->rcpt->relay];
		if (!rcpt)
			continue;
		store_copy(q, 2, relay, sizeof relay);
		rcpt->by_hand = strcmp(relay, "by hand") == 0;
		if (rcpt->by_hand)
			continue;
		rcpt->tried = read_int(q, 1, STORE_TIME_MAX);
		memcpy(rcpt->relay, relay, sizeof relay);
	}
	return r;
}

int store_untold_load(struct store *s, int64_t message, enum notice_kind kind, int64_t cutoff,
	struct untold *ret, struct err *e)
{
	struct untold u = { .message = message };
	buf_init(&u.head, NOTICE_HEAD_MAX);
	int r = read_message(s, &u, e);
	if (r == 1 && read_rcpts(s, &u, kind, cutoff, e) < 0)
		r = -1;
	if (r == 1 && u.rcpts == 0)
		r = 0;
	if (r == 1 && read_tries(s, &u, e) < 0)
		r = -1;
	if (r == 1)
		*ret = u;
	else
		store_untold_done(&u);
	return r;
}

int store_untold_head(struct store *s, struct untold *u, struct err *e)
{
	sqlite3_blob *blob = NULL;
	int rc = sqlite3_blob_open(s->db.handle, "main", "content", "data", u->message, 0, &blob);
	int n = rc == SQLITE_OK ? sqlite3_blob_bytes(blob) : 0;
	int take = n < NOTICE_HEAD_MAX ? n : NOTICE_HEAD_MAX;
	char *to = buf_room(&u->head, (size_t)take);
	if (rc == SQLITE_OK && to)
		rc = sqlite3_blob_read(blob, to, take, 0);
	sqlite3_blob_close(blob);
	if (!to)
		return err_set(e, EX_TEMPFAIL, "out of memory for a notice");
	if (rc != SQLITE_OK)
		return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_BUSY
			       ? db_err(&s->db, "content can't be read", e)
			       : 0; /* it is gone, or not what it should be */
	buf_added(&u->head, (size_t)take);
	u->whole = take == n;
	return 0;
}

void store_untold_done(struct untold *u)
{
	if (!u)
		return;
	for (unsigned i = 0; i < u->rcpts; i++)
		free(u->rcpt[i].reply);
	free(u->rcpt);
	buf_done(&u->head);
	*u = (struct untold) { 0 };
}

int store_notices_to(
	struct store *s, const char *address, int64_t since, unsigned most, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_NOTICES_TO);
	sqlite3_bind_int64(q, 1, since);
	db_bind_text(q, 2, address);
	sqlite3_bind_int64(q, 3, most);
	if (db_step(&s->db, q, e) != 1)
		return -1;
	int n = sqlite3_column_int(q, 0);
	sqlite3_reset(q);
	return n;
}

/* --- telling --- */

/* Whether each recipient still is as it was read. 1, 0 or -1. */
static int still_so(struct store *s, const struct telling *t, struct err *e)
{
	for (unsigned i = 0; i < t->untold->rcpts; i++) {
		sqlite3_stmt *q = db_stmt(&s->db, SQL_TELL_CHECK);
		sqlite3_bind_int64(q, 1, t->untold->rcpt[i].recipient);
		sqlite3_bind_int64(q, 2, t->untold->rcpt[i].version);
		sqlite3_bind_int64(q, 3, t->untold->message);
		sqlite3_bind_int(q, 4, t->kind == NOTICE_DELAYED);
		int r = db_step(&s->db, q, e);
		if (r <= 0)
			return r;
		sqlite3_reset(q);
	}
	return 1;
}

static int mark(struct store *s, const struct telling *t, struct err *e)
{
	const bool delayed = t->kind == NOTICE_DELAYED;
	for (unsigned i = 0; i < t->untold->rcpts; i++) {
		sqlite3_stmt *q = db_stmt(&s->db, delayed ? SQL_TELL_WARNED : SQL_TELL);
		sqlite3_bind_int64(q, 1, delayed ? t->at : t->of && !t->of[i] ? 0 : t->id);
		sqlite3_bind_int64(q, 2, t->untold->rcpt[i].recipient);
		if (db_step(&s->db, q, e) < 0)
			return -1;
	}
	return 0;
}

static int tell(struct store *s, struct telling *t, int64_t keep_sent, struct err *e)
{
	int r = still_so(s, t, e);
	t->done = r == 1;
	t->id = 0;
	if (r <= 0)
		return r;
	if (t->notice && store_put_within(s, t->notice, &t->id, e) < 0)
		return -1;
	if (mark(s, t, e) < 0)
		return -1;
	if (t->kind != NOTICE_RELAYED || keep_sent > 0)
		return 0;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_DROP_SENT);
	sqlite3_bind_int64(q, 1, t->untold->message);
	return db_step(&s->db, q, e) < 0 ? -1 : 0;
}

static int tell_all(
	struct store *s, struct telling *t, unsigned n, int64_t keep_sent, struct err *e)
{
	for (unsigned i = 0; i < n; i++)
		if (tell(s, &t[i], keep_sent, e) < 0)
			return -1;
	return 0;
}

int store_tell(struct store *s, struct telling *t, unsigned n, int64_t keep_sent, struct err *e)
{
	if (n == 0)
		return 0;
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, tell_all(s, t, n, keep_sent, e), e);
}
