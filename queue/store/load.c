/*
 * A message as it will be sent, with everything about it checked again: SQLite has no checksums of
 * its own, and what is sent can't be called back.
 */
#include "store/internal.h"

#include "base/address.h"
#include "base/crc.h"

#include <assert.h>

#define PIECE (1 << 20)

static int distrust(int64_t message, const char *what, struct err *e)
{
	return err_set(e, EX_DATAERR, "message %lld as it is stored can't be trusted: %s",
		(long long)message, what);
}

/* NULL is NULL. false: out of bounds, or no memory (then *ret_oom). */
static bool own_text(sqlite3_stmt *q, int col, size_t max, char **ret, bool *ret_oom)
{
	struct span s;
	if (sqlite3_column_type(q, col) == SQLITE_NULL)
		return true;
	if (!store_text(q, col, max, &s))
		return false;
	*ret = strndup(s.p, s.n);
	if (!*ret)
		*ret_oom = true;
	return *ret != NULL;
}

static int read_envelope(sqlite3_stmt *q, struct store_message *m, int64_t *ret_size,
	int64_t *ret_crc, struct err *e)
{
	bool oom = false;
	int64_t uid = 0, eightbit = 0, length = -1;
	struct address a;
	if (!store_int(q, 0, 0, STORE_TIME_MAX, &m->submitted) ||
		!store_int(q, 1, 0, UINT32_MAX, &uid) ||
		!own_text(q, 2, ADDRESS_PATH_MAX, &m->sender, &oom) || !m->sender ||
		(*m->sender && address_parse(span_of(m->sender), &a, NULL) < 0) ||
		!own_text(q, 3, 998, &m->message_id, &oom) || !m->message_id ||
		!store_int(q, 4, 0, 1, &eightbit) || !own_text(q, 5, 4, &m->ret, &oom) ||
		!own_text(q, 6, 100, &m->envid, &oom))
		return oom ? err_set(e, EX_OSERR, "out of memory for a message")
			   : distrust(m->id, "a value of its envelope is out of range", e);
	struct span type;
	if (!store_int(q, 7, 0, INT32_MAX, ret_size) || !store_int(q, 8, 0, UINT32_MAX, ret_crc) ||
		!store_text(q, 9, 8, &type) || !span_eq(type, span_of("blob")) ||
		!store_int(q, 10, 0, INT32_MAX, &length) || length != *ret_size)
		return distrust(m->id, "its content is not of the size that was stored", e);
	m->uid = (uid_t)uid;
	m->eightbit = eightbit;
	return 0;
}

/* Straight into the buffer: a column would be copied once more. */
static int read_content(struct store *s, struct store_message *m, int64_t size, struct err *e)
{
	sqlite3_blob *blob = NULL;
	int rc = sqlite3_blob_open(s->db.handle, "main", "content", "data", m->id, 0, &blob);
	if (rc == SQLITE_OK && sqlite3_blob_bytes(blob) != size)
		rc = SQLITE_CORRUPT;
	char *to = rc == SQLITE_OK ? buf_room(&m->content, (size_t)size) : NULL;
	bool oom = rc == SQLITE_OK && !to;
	for (int64_t at = 0; rc == SQLITE_OK && to && at < size; at += PIECE) {
		int n = size - at < PIECE ? (int)(size - at) : PIECE;
		rc = sqlite3_blob_read(blob, to + at, n, (int)at);
	}
	int r = 0;
	if (oom)
		r = err_set(
			e, EX_OSERR, "out of memory for a message of %lld octets", (long long)size);
	else if ((rc & 0xff) == SQLITE_CORRUPT)
		r = distrust(m->id, "the database is damaged where its content is", e);
	else if (rc != SQLITE_OK)
		r = db_err(&s->db, "content can't be read", e);
	else
		buf_added(&m->content, (size_t)size);
	sqlite3_blob_close(blob);
	return r;
}

static int load(struct store *s, sqlite3_stmt *q, struct store_message *m, struct err *e)
{
	int64_t size = 0, crc = 0;
	if (read_envelope(q, m, &size, &crc, e) < 0)
		return -1;
	buf_init(&m->content, (size_t)size);
	if (size > 0 && read_content(s, m, size, e) < 0)
		return -1;
	if (crc32c(0, m->content.data, m->content.len) != (uint32_t)crc)
		return distrust(m->id, "its content does not fit its checksum", e);
	return 1;
}

int store_load(struct store *s, int64_t message, struct store_message *ret, struct err *e)
{
	struct store_message m = { .id = message };
	/* The statement stays open while the content is read: both see one state. */
	sqlite3_stmt *q = db_stmt(&s->db, SQL_LOAD);
	sqlite3_bind_int64(q, 1, message);
	int r = db_step(&s->db, q, e);
	if (r < 0 && (sqlite3_errcode(s->db.handle) & 0xff) == SQLITE_CORRUPT)
		return distrust(message, "the database is damaged where it is", e);
	if (r <= 0)
		return r;
	r = load(s, q, &m, e);
	sqlite3_reset(q);
	if (r < 0)
		store_message_done(&m);
	else
		*ret = m;
	return r;
}

void store_message_done(struct store_message *m)
{
	if (!m)
		return;
	free(m->sender);
	free(m->message_id);
	free(m->ret);
	free(m->envid);
	buf_done(&m->content);
	*m = (struct store_message) { 0 };
}
