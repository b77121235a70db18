/*
 * What is due, a message at a time, in the order of its first recipient that is due. Rows are
 * copied out in pages, so that no transaction is open while the caller works.
 */
#include "store/internal.h"

#include "base/address.h"
#include "base/flow.h"
#include "base/number.h"

#define PAGE        50
#define JOURNAL_MAX 64
#define NOTIFY_MAX  30
#define ORCPT_MAX   500

struct row {
	struct store_due due;
	struct address address;
	char journal[JOURNAL_MAX + 1], notify[NOTIFY_MAX + 1], orcpt[ORCPT_MAX + 1];
	bool bad;
};

/* Where the walk stands in the index of one flow. */
struct place {
	unsigned flow;
	int64_t next_try, id, message;
};

struct walk {
	int64_t now, far; /* due: up to now, or beyond far */
	int64_t end;      /* of the range that is gone through */
	struct place place[FLOW_COUNT];
	unsigned places; /* flows that have something left in the range */
	unsigned left;
	bool stopped;
	bool (*fn)(void *arg, const struct store_due *d);
	void *arg;
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
static void read_row(sqlite3_stmt *q, int64_t message, struct row *r)
{
	struct store_due *d = &r->due;
	struct span address, journal;
	int64_t tries = 0, size = 0, notice = 0;
	*d = (struct store_due) { .recipient = sqlite3_column_int64(q, 0), .message = message };
	d->address = r->address.text;
	d->doubt_journal = r->journal;
	r->bad = !store_int(q, 1, 1, INT64_MAX, &d->version) ||
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
		 !store_int(q, 13, 0, 1, &notice) ||
		 (sqlite3_column_type(q, 14) != SQLITE_NULL &&
			 !store_int(q, 14, 0, STORE_TIME_MAX, &d->warned));
	if (r->bad)
		return;
	copy(journal, r->journal);
	d->tries = (unsigned)tries;
	d->size = (uint64_t)size;
	d->notice = notice;
}

/* One page of a message's due recipients. How many, or -1. */
static int read_page(struct store *s, const struct walk *w, int64_t message, int64_t after,
	struct row *row, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_DUE_OF_MESSAGE);
	sqlite3_bind_int64(q, 1, message);
	sqlite3_bind_int64(q, 2, w->now);
	sqlite3_bind_int64(q, 3, w->far);
	sqlite3_bind_int64(q, 4, after);
	sqlite3_bind_int64(q, 5, w->left < PAGE ? w->left : PAGE);
	int n = 0, r;
	while ((r = db_step(&s->db, q, e)) == 1)
		read_row(q, message, &row[n++]);
	return r < 0 ? -1 : n;
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

static int show_message(
	struct store *s, struct walk *w, int64_t message, struct row *row, struct err *e)
{
	int64_t after = 0;
	int n;
	do {
		n = read_page(s, w, message, after, row, e);
		if (n < 0)
			return -1;
		for (int i = 0; i < n && !w->stopped; i++) {
			after = row[i].due.recipient;
			if (row[i].bad) {
				if (hold(s, after, e) < 0)
					return -1;
				continue;
			}
			w->left--;
			w->stopped = !w->fn(w->arg, &row[i].due) || w->left == 0;
		}
	} while (n == PAGE && !w->stopped);
	return 0;
}

/* The next after where p stands: by the same time, or later. 1, 0 or -1. */
static int find(
	struct store *s, const struct walk *w, enum sql which, struct place *p, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, which);
	sqlite3_bind_int64(q, 1, p->next_try);
	sqlite3_bind_int64(q, 2, p->id);
	sqlite3_bind_int64(q, 3, w->end);
	sqlite3_bind_int64(q, 4, w->now);
	sqlite3_bind_int64(q, 5, w->far);
	sqlite3_bind_int64(q, 6, p->flow);
	int r = db_step(&s->db, q, e);
	if (r != 1)
		return r;
	p->next_try = sqlite3_column_int64(q, 0);
	p->id = sqlite3_column_int64(q, 1);
	p->message = sqlite3_column_int64(q, 2);
	sqlite3_reset(q);
	return 1;
}

static int find_next(struct store *s, const struct walk *w, struct place *p, struct err *e)
{
	int r = find(s, w, SQL_DUE_SAME, p, e);
	return r == 0 ? find(s, w, SQL_DUE_LATER, p, e) : r;
}

/* The first of each flow after the time `after`. A seek for each, once in a range. */
static int find_places(struct store *s, struct walk *w, int64_t after, struct err *e)
{
	w->places = 0;
	for (unsigned flow = 0; flow < FLOW_COUNT; flow++) {
		struct place *p = &w->place[w->places];
		*p = (struct place) { .flow = flow, .next_try = after, .id = INT64_MAX };
		int r = find(s, w, SQL_DUE_LATER, p, e);
		if (r < 0)
			return -1;
		w->places += r == 1;
	}
	return 0;
}

static struct place *longest_due(struct walk *w)
{
	struct place *first = w->place;
	for (struct place *p = first; p < w->place + w->places; p++)
		if (p->next_try < first->next_try ||
			(p->next_try == first->next_try && p->id < first->id))
			first = p;
	return first;
}

/* Goes through what lies after the time `after`, up to `end`. */
static int walk_range(
	struct store *s, struct walk *w, int64_t after, int64_t end, struct row *row, struct err *e)
{
	w->end = end;
	if (find_places(s, w, after, e) < 0)
		return -1;
	while (!w->stopped && w->places > 0) {
		struct place *p = longest_due(w);
		if (show_message(s, w, p->message, row, e) < 0)
			return -1;
		int r = w->stopped ? 1 : find_next(s, w, p, e);
		if (r < 0)
			return -1;
		if (r == 0)
			*p = w->place[--w->places];
	}
	return 0;
}

int store_due(struct store *s, int64_t now, int64_t horizon_ms, unsigned limit,
	bool (*fn)(void *arg, const struct store_due *d), void *arg, struct err *e)
{
	struct walk w = {
		.now = now, .far = now + horizon_ms, .left = limit, .fn = fn, .arg = arg
	};
	if (limit == 0)
		return 0;
	struct row *row = malloc(PAGE * sizeof *row);
	if (!row)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	int r = walk_range(s, &w, INT64_MIN, now, row, e);
	if (r == 0 && !w.stopped)
		r = walk_range(s, &w, w.far, INT64_MAX, row, e);
	free(row);
	return r;
}

int store_next_due(struct store *s, int64_t *ret_at, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_NEXT_DUE);
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	bool none = r == 0 || sqlite3_column_type(q, 0) == SQLITE_NULL;
	*ret_at = none ? INT64_MAX : sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
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
