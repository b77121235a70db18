/*
 * Submission: one transaction that stores a message, its content and its recipients.
 */
#include "store/capacity.h"
#include "store/internal.h"

#include "base/crc.h"
#include "base/flow.h"
#include "base/random.h"

#include <assert.h>

/* Larger content is written in pieces, so that SQLite makes no copy of the whole. */
#define DIRECT_MAX ((size_t)256 * 1024)
#define PIECE      ((size_t)64 * 1024)
#define MSGID_MAX  998
#define MS_AN_HOUR 3600000

/* 1 it is new, 0 the key is there already (*ret_id is that message), -1. */
static int put_message(
	struct store *s, const struct store_submission *m, int64_t *ret_id, struct err *e)
{
	sqlite3_stmt *q = db_stmt(&s->db, SQL_PUT_MESSAGE);
	struct span id = span_of(m->message_id);
	if (id.n > MSGID_MAX)
		id.n = MSGID_MAX;
	db_bind_blob(q, 1, m->key, sizeof m->key);
	sqlite3_bind_int64(q, 2, m->submitted);
	sqlite3_bind_int64(q, 3, m->uid);
	db_bind_text(q, 4, m->sender);
	sqlite3_bind_int64(q, 5, (sqlite3_int64)m->content.n);
	sqlite3_bind_int64(q, 6, m->eightbit);
	db_bind_span(q, 7, id);
	db_bind_text(q, 8, m->ret);
	db_bind_text(q, 9, m->envid);
	sqlite3_bind_int64(q, 10, m->notice);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	if (sqlite3_changes(s->db.handle) == 1) {
		*ret_id = sqlite3_last_insert_rowid(s->db.handle);
		return 1;
	}
	q = db_stmt(&s->db, SQL_FIND_KEY);
	db_bind_blob(q, 1, m->key, sizeof m->key);
	int r = db_step(&s->db, q, e);
	if (r == 0)
		return err_set(e, EX_SOFTWARE, "a message key is there and is not");
	if (r < 0)
		return -1;
	*ret_id = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return 0;
}

static int write_pieces(struct store *s, int64_t id, struct span content, struct err *e)
{
	sqlite3_blob *blob = NULL;
	int rc = sqlite3_blob_open(s->db.handle, "main", "content", "data", id, 1, &blob);
	for (size_t at = 0; rc == SQLITE_OK && at < content.n; at += PIECE) {
		size_t n = content.n - at < PIECE ? content.n - at : PIECE;
		rc = sqlite3_blob_write(blob, content.p + at, (int)n, (int)at);
	}
	if (rc != SQLITE_OK)
		db_err(&s->db, "content can't be written", e);
	int closed = sqlite3_blob_close(blob);
	if (rc == SQLITE_OK && closed != SQLITE_OK)
		db_err(&s->db, "content can't be written", e);
	return rc == SQLITE_OK && closed == SQLITE_OK ? 0 : -1;
}

static int put_content(struct store *s, int64_t id, struct span content, struct err *e)
{
	bool direct = content.n <= DIRECT_MAX;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_PUT_CONTENT);
	sqlite3_bind_int64(q, 1, id);
	sqlite3_bind_int64(q, 2, crc32c(0, content.p, content.n));
	if (direct)
		db_bind_blob(q, 3, content.p, content.n);
	else
		sqlite3_bind_zeroblob64(q, 3, content.n);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	return direct ? 0 : write_pieces(s, id, content, e);
}

static int put_recipients(
	struct store *s, int64_t id, const struct store_submission *m, struct err *e)
{
	unsigned flow = flow_of(m->uid, span_of(m->sender), m->rcpts);
	for (unsigned i = 0; i < m->rcpts; i++) {
		unsigned char once[16];
		random_bytes(once, sizeof once);
		sqlite3_stmt *q = db_stmt(&s->db, SQL_PUT_RECIPIENT);
		sqlite3_bind_int64(q, 1, id);
		db_bind_text(q, 2, m->rcpt[i].address);
		db_bind_blob(q, 3, once, sizeof once);
		sqlite3_bind_int64(q, 4, m->submitted);
		db_bind_text(q, 5, m->rcpt[i].notify);
		db_bind_text(q, 6, m->rcpt[i].orcpt);
		sqlite3_bind_int64(q, 7, flow);
		if (db_step(&s->db, q, e) < 0)
			return -1;
	}
	return 0;
}

int store_put_within(
	struct store *s, const struct store_submission *m, int64_t *ret_id, struct err *e)
{
	/* What goes into a file that was moved away would be acknowledged, and not seen again. */
	if (store_in_place(s, e) < 0)
		return -1;
	int r = put_message(s, m, ret_id, e);
	if (r <= 0)
		return r;
	if (capacity_queue(s, m, *ret_id, e) < 0 || put_content(s, *ret_id, m->content, e) < 0 ||
		put_recipients(s, *ret_id, m, e) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(&s->db, SQL_PUT_HOUR);
	sqlite3_bind_int64(q, 1, m->submitted / MS_AN_HOUR);
	sqlite3_bind_int64(q, 2, m->rcpts);
	sqlite3_bind_int64(q, 3, (sqlite3_int64)m->content.n);
	return db_step(&s->db, q, e);
}

int store_put(struct store *s, const struct store_submission *m, int64_t *ret_id, struct err *e)
{
	int64_t id = 0;
	assert(m->rcpts > 0);
	if (m->content.n > INT32_MAX)
		return err_set(e, EX_DATAERR, "a message of more than 2 GiB can't be stored");
	if (store_begin(s, e) < 0)
		return -1;
	if (store_end(s, store_put_within(s, m, &id, e), e) < 0)
		return -1;
	*ret_id = id;
	return 0;
}
