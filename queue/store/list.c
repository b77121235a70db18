/*
 * mailq: what is not settled, in pages, so that a slow reader of the list holds nothing up.
 */
#include "store/internal.h"

static void read_row(sqlite3_stmt *q, struct store_row *r)
{
	int64_t size = sqlite3_column_int64(q, 4), tries = sqlite3_column_int64(q, 9);
	store_copy(q, 5, r->sender, sizeof r->sender);
	store_copy(q, 6, r->address, sizeof r->address);
	store_copy(q, 7, r->state, sizeof r->state);
	store_copy(q, 8, r->reply, sizeof r->reply);
	r->recipient = sqlite3_column_int64(q, 1);
	r->uid = sqlite3_column_int64(q, 3);
	r->l = (struct store_listed) {
		.message = sqlite3_column_int64(q, 0),
		.submitted = sqlite3_column_int64(q, 2),
		.size = size > 0 ? (uint64_t)size : 0,
		.sender = r->sender,
		.address = r->address,
		.state = r->state,
		.last_reply = r->reply,
		.tries = tries > 0 && tries <= 1000000 ? (unsigned)tries : 0,
		.next_try = sqlite3_column_int64(q, 10),
		.doubt_until = sqlite3_column_int64(q, 11),
	};
}

int store_list_page(
	struct store *s, int64_t message, int64_t recipient, struct store_row *row, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_LIST);
	sqlite3_bind_int64(q, 1, message);
	sqlite3_bind_int64(q, 2, recipient);
	sqlite3_bind_int64(q, 3, STORE_PAGE);
	int n = 0, r;
	while ((r = db_step(&s->db, q, e)) == 1)
		read_row(q, &row[n++]);
	return r < 0 ? -1 : n;
}

int store_list(struct store *s, uid_t uid, bool (*fn)(void *arg, const struct store_listed *l),
	void *arg, struct err *e)
{
	struct store_row *row = malloc(STORE_PAGE * sizeof *row);
	if (!row)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	int64_t message = INT64_MIN, recipient = INT64_MIN;
	int n;
	bool go_on = true;
	do {
		n = store_list_page(s, message, recipient, row, e);
		for (int i = 0; i < n && go_on; i++) {
			message = row[i].l.message;
			recipient = row[i].recipient;
			if (uid == (uid_t)-1 || (int64_t)uid == row[i].uid)
				go_on = fn(arg, &row[i].l);
		}
	} while (n == STORE_PAGE && go_on);
	free(row);
	return n < 0 ? -1 : 0;
}
