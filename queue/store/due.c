/*
 * What is due, a message at a time, in the order of its first recipient that is due. Rows are
 * copied out in pages, so that no transaction is open while the caller works.
 */
#include "store/internal.h"

#include "base/address.h"
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

struct walk {
	int64_t now, far; /* due: up to now, or beyond far */
	int64_t next_try, id, end;
	int64_t message; /* that was found */
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
	int64_t tries = 0, size = 0;
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
		 !read_word(q, 12, ORCPT_MAX, r->orcpt, &d->orcpt);
	if (r->bad)
		return;
	copy(journal, r->journal);
	d->tries = (unsigned)tries;
	d->size = (uint64_t)size;
}

/* One page of a message's due recipients. How many, or -1. */
static int read_page(
	struct store *s, const struct walk *w, int64_t after, struct row *row, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_DUE_OF_MESSAGE);
	sqlite3_bind_int64(q, 1, w->message);
	sqlite3_bind_int64(q, 2, w->now);
	sqlite3_bind_int64(q, 3, w->far);
	sqlite3_bind_int64(q, 4, after);
	sqlite3_bind_int64(q, 5, w->left < PAGE ? w->left : PAGE);
	int n = 0, r;
	while ((r = db_step(&s->db, q, e)) == 1)
		read_row(q, w->message, &row[n++]);
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

static int show_message(struct store *s, struct walk *w, struct row *row, struct err *e)
{
	int64_t after = 0;
	int n;
	do {
		n = read_page(s, w, after, row, e);
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

static int find(struct store *s, enum sql which, struct walk *w, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, which);
	sqlite3_bind_int64(q, 1, w->next_try);
	sqlite3_bind_int64(q, 2, w->id);
	sqlite3_bind_int64(q, 3, w->end);
	sqlite3_bind_int64(q, 4, w->now);
	sqlite3_bind_int64(q, 5, w->far);
	int r = db_step(&s->db, q, e);
	if (r != 1)
		return r;
	w->next_try = sqlite3_column_int64(q, 0);
	w->id = sqlite3_column_int64(q, 1);
	w->message = sqlite3_column_int64(q, 2);
	sqlite3_reset(q);
	return 1;
}

/* Goes through the index from after (next_try, id) to end. */
static int walk_range(struct store *s, struct walk *w, struct row *row, struct err *e)
{
	while (!w->stopped) {
		int r = find(s, SQL_DUE_SAME, w, e);
		if (r == 0)
			r = find(s, SQL_DUE_LATER, w, e);
		if (r <= 0)
			return r;
		if (show_message(s, w, row, e) < 0)
			return -1;
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
	w.next_try = INT64_MIN;
	w.id = INT64_MAX;
	w.end = now;
	int r = walk_range(s, &w, row, e);
	if (r == 0 && !w.stopped) {
		w.next_try = w.far;
		w.id = INT64_MAX;
		w.end = INT64_MAX;
		r = walk_range(s, &w, row, e);
	}
	free(row);
	return r;
}

int store_next_due(struct store *s, int64_t *ret_at, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_NEXT_DUE);
	int r = db_step(&s->db, q, e);
	if (r < 0)
		return -1;
	*ret_at = r == 1 ? sqlite3_column_int64(q, 0) : INT64_MAX;
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
