/*
 * What an operator does by hand, done by a program: with triggers off, so that their steps are
 * taken here.
 */
#include "store/internal.h"

static int make_due(
	struct store *s, int64_t now, const int64_t *id, int n, unsigned *done, struct err *e)
{
	for (int i = 0; i < n; i++) {
		sqlite3_stmt *q = db_stmt(&s->db, SQL_MAKE_DUE);
		sqlite3_bind_int64(q, 1, now);
		sqlite3_bind_int64(q, 2, id[i]);
		if (db_step(&s->db, q, e) < 0)
			return -1;
		if (sqlite3_changes(s->db.handle) == 0)
			continue; /* tried, or held, since the page was read */
		q = db_stmt(&s->db, SQL_NOTE_DUE);
		sqlite3_bind_int64(q, 1, now);
		sqlite3_bind_int64(q, 2, id[i]);
		if (db_step(&s->db, q, e) < 0)
			return -1;
		++*done;
	}
	return 0;
}

static int make_page_due(
	struct store *s, int64_t now, const int64_t *id, int n, unsigned *done, struct err *e)
{
	if (n == 0)
		return 0;
	if (store_begin(s, e) < 0)
		return -1;
	return store_end(s, make_due(s, now, id, n, done, e), e);
}

int store_make_due(struct store *s, int64_t now,
	bool (*fn)(void *arg, const struct store_listed *l), void *arg, unsigned *ret_n,
	struct err *e)
{
	struct store_row *row = malloc(STORE_PAGE * sizeof *row);
	int64_t id[STORE_PAGE], message = INT64_MIN, recipient = INT64_MIN;
	unsigned done = 0;
	int n, r;
	if (!row)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	do {
		int wanted = 0;
		n = store_list_page(s, message, recipient, row, e);
		for (int i = 0; i < n; i++) {
			message = row[i].l.message;
			recipient = row[i].recipient;
			if (row[i].l.next_try > now && strcmp(row[i].state, "queued") == 0 &&
				fn(arg, &row[i].l))
				id[wanted++] = recipient;
		}
		r = n < 0 ? -1 : make_page_due(s, now, id, wanted, &done, e);
	} while (n == STORE_PAGE && r == 0);
	free(row);
	if (r == 0)
		*ret_n = done;
	return r;
}
