/*
 * What is due, flow by flow, in the order of time. The index alone is gone through, in pages, so
 * that what the caller has in hand already costs little; a row is read when he wants it. No
 * transaction is open while he works.
 */
#include "store/internal.h"

#include "base/address.h"
#include "base/flow.h"
#include "base/number.h"

#define PAGE        64
#define JOURNAL_MAX 64
#define NOTIFY_MAX  30
#define ORCPT_MAX   500

struct row {
	struct store_due due;
	struct address address;
	char journal[JOURNAL_MAX + 1], notify[NOTIFY_MAX + 1], orcpt[ORCPT_MAX + 1];
	bool bad;
};

static void copy(struct span s, char *out)
{
	memcpy(out, s.p, s.n);
	out[s.n] = 0;
}

static bool is_printable(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

/* An optional word that goes out in a RCPT line. */
static bool read_word(sqlite3_stmt *q, int col, size_t max, char *out, const char **ret)
{
	struct span s;
	if (sqlite3_column_type(q, col) == SQLITE_NULL) {
		*ret = NULL;
		return true;
	}
	if (!store_text(q, col, max, &s) || !is_printable(s))
		return false;
	copy(s, out);
	*ret = out;
	return true;
}

static bool read_once(sqlite3_stmt *q, int col, char out[33])
{
	if (sqlite3_column_type(q, col) != SQLITE_BLOB || sqlite3_column_bytes(q, col) != 16)
		return false;
	const void *p = sqlite3_column_blob(q, col);
	if (!p)
		return false;
	hex_encode(p, 16, out);
	return true;
}

/* Everything is looked at again, whatever the schema promises: this goes out on the wire. */
static void read_row(sqlite3_stmt *q, int64_t recipient, struct row *r)
{
	struct store_due *d = &r->due;
	struct span address, journal;
	int64_t tries = 0, size = 0, notice = 0, last_code = 0;
	*d = (struct store_due) { .recipient = recipient };
	d->address = r->address.text;
	d->doubt_journal = r->journal;
	r->bad = !store_int(q, 0, 1, INT64_MAX, &d->message) ||
		 !store_int(q, 1, 1, INT64_MAX, &d->version) ||
		 !store_text(q, 2, ADDRESS_PATH_MAX, &address) ||
		 address_parse(address, &r->address, NULL) < 0 || !read_once(q, 3, d->once) ||
		 !store_int(q, 4, 0, 1000000, &tries) ||
		 !store_int(q, 5, 0, STORE_TIME_MAX, &d->next_try) ||
		 !store_int(q, 6, 0, STORE_TIME_MAX, &d->since) ||
		 !store_int(q, 7, 0, STORE_TIME_MAX, &d->submitted) ||
		 !store_int(q, 8, 0, INT32_MAX, &size) ||
		 !store_text(q, 9, JOURNAL_MAX, &journal) || !is_printable(journal) ||
		 !store_int(q, 10, 0, STORE_TIME_MAX, &d->doubt_until) ||
		 !read_word(q, 11, NOTIFY_MAX, r->notify, &d->notify) ||
		 !read_word(q, 12, ORCPT_MAX, r->orcpt, &d->orcpt) ||
		 !store_int(q, 13, 0, 1, &notice) || !store_int(q, 15, 0, 999, &last_code) ||
		 (sqlite3_column_type(q, 14) != SQLITE_NULL &&
			 !store_int(q, 14, 0, STORE_TIME_MAX, &d->warned));
	if (r->bad)
		return;
	copy(journal, r->journal);
	d->tries = (unsigned)tries;
	d->size = (uint64_t)size;
	d->notice = notice;
	d->last_code = (int)last_code;
}

/* What can't be trusted is held, so that it is in nobody's way. */
static int hold(struct store *s, int64_t recipient, struct err *e)
{
	if (store_begin(s, e) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_HOLD);
	sqlite3_bind_int64(q, 1, recipient);
	db_bind_text(q, 2,
		"cenmail: a value of this row is not what the queue stores: look at it, "
		"correct or delete it");
	return store_end(s, db_step(&s->db, q, e), e);
}

struct entry { /* of the index */
	int64_t next_try, id;
};

/* What follows the cursor in the index, up to `end`: of the same time, then later. Two statements,
 * so that a million rows of one time (an UPDATE by hand) are still gone through in linear time. How
 * many, or -1. */
static int read_index(struct store *s, const struct store_walk *w, const struct store_cursor *at,
	int64_t end, struct entry page[PAGE], struct err *e)
{
	static const enum sql which[] = { SQL_DUE_SAME, SQL_DUE_LATER };
	int n = 0, r = 0;
	for (unsigned i = 0; i < 2 && n < PAGE; i++) {
		sqlite3_stmt *q = db_stmt(&s->db, which[i]);
		sqlite3_bind_int64(q, 1, w->flow);
		sqlite3_bind_int64(q, 2, at->next_try);
		sqlite3_bind_int64(q, 3, at->id);
		sqlite3_bind_int64(q, 4, end);
		sqlite3_bind_int64(q, 5, PAGE - n);
		while ((r = db_step(&s->db, q, e)) == 1)
			page[n++] = (struct entry) { sqlite3_column_int64(q, 0),
				sqlite3_column_int64(q, 1) };
		if (r < 0)
			return -1;
	}
	return n;
}

/* Shows the row, if it is still due. 1; 0: the caller has enough; -1. */
static int show(struct store *s, const struct store_walk *w, int64_t recipient, struct row *row,
	struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_DUE_ROW);
	sqlite3_bind_int64(q, 1, recipient);
	int r = db_step(&s->db, q, e);
	if (r <= 0)
		return r < 0 ? -1 : 1; /* changed by hand meanwhile */
	read_row(q, recipient, row);
	sqlite3_reset(q);
	if (row->bad)
		return hold(s, recipient, e) < 0 ? -1 : 1;
	return w->fn(w->arg, &row->due);
}

/* From the cursor to `end`. 1 the caller has enough, or has looked at enough; 0; -1. */
static int walk_range(struct store *s, const struct store_walk *w, struct store_cursor *at,
	int64_t end, unsigned *left, struct err *e)
{
	struct entry page[PAGE];
	struct row row;
	int n;
	do {
		n = read_index(s, w, at, end, page, e);
		if (n < 0)
			return -1;
		for (int i = 0; i < n; i++) {
			if ((*left)-- == 0)
				return 1;
			int r = w->skip(w->arg, page[i].id) ? 1 : show(s, w, page[i].id, &row, e);
			if (r <= 0)
				return r < 0 ? -1 : 1;
			*at = (struct store_cursor) { page[i].next_try, page[i].id };
		}
	} while (n == PAGE);
	return 0;
}

int store_due(struct store *s, const struct store_walk *w, struct store_cursor *at, struct err *e)
{
	const int64_t far = w->now + w->horizon_ms;
	unsigned left = w->most;
	if (at->next_try <= w->now) {
		int r = walk_range(s, w, at, w->now, &left, e);
		if (r != 0)
			return r;
	}
	if (at->next_try < far)
		*at = (struct store_cursor) { far, INT64_MAX };
	return walk_range(s, w, at, INT64_MAX, &left, e);
}

int store_flows(
	struct store *s, int64_t now, int64_t horizon_ms, struct store_flows *ret, struct err *e)
{
	struct store_flows f = { .next = INT64_MAX };
	for (int64_t flow = 0;;) {
		sqlite3_stmt *q = db_stmt(&s->db, SQL_FLOW);
		sqlite3_bind_int64(q, 1, flow);
		sqlite3_bind_int64(q, 2, now);
		sqlite3_bind_int64(q, 3, now + horizon_ms);
		int r = db_step(&s->db, q, e);
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		const int64_t from = flow;
		flow = sqlite3_column_int64(q, 0);
		bool due = sqlite3_column_int(q, 1) || sqlite3_column_int(q, 2);
		int64_t next = sqlite3_column_type(q, 3) == SQLITE_INTEGER
				       ? sqlite3_column_int64(q, 3)
				       : INT64_MAX;
		sqlite3_reset(q);
		if (flow < from || flow >= FLOW_COUNT)
			break; /* no flow of ours */
		if (due)
			f.due |= UINT64_C(1) << flow;
		if (next < f.next)
			f.next = next;
		if (++flow >= FLOW_COUNT)
			break;
	}
	*ret = f;
	return 0;
}

int store_unchanged(struct store *s, int64_t recipient, int64_t version, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_UNCHANGED);
	sqlite3_bind_int64(q, 1, recipient);
	sqlite3_bind_int64(q, 2, version);
	int r = db_step(&s->db, q, e);
	if (r == 1)
		sqlite3_reset(q);
	return r;
}
