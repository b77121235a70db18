/*
 * The journal's SQL.
 */
#include "listen/journal_db.h"

#include "base/clock.h"
#include "base/number.h"
#include "listen/journal_make.h"

#include <assert.h>
#include <sys/stat.h>

#define WAL_PAGES  300 /* beyond it, checkpoint: what all wait for is short */
#define PRUNE_ROWS 20  /* by one statement */
#define PRUNE_MS   1   /* by one step, about */

enum {
	BEGIN,
	COMMIT,
	ROLLBACK,
	FIND,
	SELF,
	SET_SELF,
	SET_RAN,
	FILL,
	SENDING,
	SETTLE,
	TALLY,
	PRUNE,
	PRUNE_TALLY,
	STATEMENTS
};

static const char *const sql[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[FIND] = "SELECT state,answer FROM once WHERE client=?1 AND token=?2",
	[SELF] = "SELECT id,mark,mark_before,ran,saved,given FROM journal",
	[SET_SELF] = "UPDATE journal SET id=?1,mark=?2,mark_before=?3,ran=?4,saved=?5,given=?6",
	[SET_RAN] = "UPDATE journal SET ran=?1",
	[FILL] = "UPDATE once SET until=?1 WHERE until=0",
	[SENDING] = ("INSERT INTO once(client,token,state,at,until,recipient,message)"
		     " VALUES(?1,?2,'sending',?3,?7,?4,?5) ON CONFLICT(client,token) DO UPDATE SET"
		     " doubts=doubts+?6,state='sending',at=excluded.at,until=excluded.until,"
		     "message=excluded.message,answer=NULL"),
	[SETTLE] = "UPDATE once SET state=?3,at=?4,answer=?5 WHERE client=?1 AND token=?2",
	[TALLY] = ("INSERT INTO tally(hour,client,sent,failed,repeated,throttled,unanswered,resent)"
		   " VALUES(?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT(hour,client) DO UPDATE SET"
		   " sent=sent+?3,failed=failed+?4,repeated=repeated+?5,throttled=throttled+?6,"
		   "unanswered=unanswered+?7,resent=resent+?8"),
	[PRUNE] = ("DELETE FROM once WHERE (client,token) IN"
		   " (SELECT client,token FROM once WHERE until<?1 ORDER BY until LIMIT ?2)"),
	[PRUNE_TALLY] = ("DELETE FROM tally WHERE (hour,client) IN"
			 " (SELECT hour,client FROM tally WHERE hour<?1 ORDER BY hour LIMIT ?2)"),
};

static int on_wal(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct journal_db *j = arg;

	(void)handle;
	(void)name;
	j->wal_pages = pages;
	return SQLITE_OK;
}

int journal_db_open(struct journal_db *j, const char *path, bool create, struct err *e)
{
	struct stat st;
	/* A file that holds something is opened as it is: a foreign one must not be changed. */
	bool fresh = create && (stat(path, &st) < 0 || st.st_size == 0);

	*j = (struct journal_db) { .wal_pages = 0 };
	if (db_open(&j->db, path, fresh, DB_BUSY_MS, e) < 0 &&
		(!create || fresh || !journal_is_blank(path) ||
			db_open(&j->db, path, true, DB_BUSY_MS, e) < 0))
		return -1;
	if (journal_check(&j->db, path, create, e) < 0 ||
		db_prepare(&j->db, sql, STATEMENTS, e) < 0) {
		db_close(&j->db);
		return -1;
	}
	sqlite3_wal_hook(j->db.handle, on_wal, j);
	return 0;
}

void journal_db_close(struct journal_db *j)
{
	if (j->db.handle)
		db_close(&j->db);
}

static void copy_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	snprintf(out, size, "%s", text ? text : "");
}

/* Hours ago, as numbers in a row, and how far the hour under way is. What can't be read is nothing.
 */
static void read_given(const char *text, struct pace_given *ret)
{
	struct span rest = span_of(text);

	*ret = (struct pace_given) { .into_ms = 0 };
	for (unsigned i = 0; i <= PACE_HOURS && rest.n > 0; i++) {
		long blank = span_find(rest, ' ');
		size_t n = blank < 0 ? rest.n : (size_t)blank;
		uint64_t v = 0;
		if (number_parse(span_make(rest.p, n), UINT32_MAX, &v) < 0)
			v = 0;
		if (i == 0)
			ret->into_ms = (int64_t)v;
		else
			ret->hour[i - 1] = v;
		rest = span_from(rest, blank < 0 ? n : n + 1);
	}
}

static void write_given(const struct pace_given *g, char *out, size_t size)
{
	size_t at = (size_t)snprintf(out, size, "%lld", (long long)g->into_ms);

	for (unsigned i = 0; i < PACE_HOURS; i++)
		at += (size_t)snprintf(
			out + at, size - at, " %llu", (unsigned long long)g->hour[i]);
	assert(at < size);
}

int journal_db_self(struct journal_db *j, struct journal_self *ret, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SELF);
	char given[PACE_HOURS * 21 + 21];
	int r = db_step(&j->db, s, e);

	if (r == 1) {
		copy_text(s, 0, ret->id, sizeof ret->id);
		copy_text(s, 1, ret->mark, sizeof ret->mark);
		copy_text(s, 2, ret->mark_before, sizeof ret->mark_before);
		ret->ran = sqlite3_column_int64(s, 3);
		ret->saved = sqlite3_column_int64(s, 4);
		copy_text(s, 5, given, sizeof given);
		read_given(given, &ret->given);
	}
	sqlite3_reset(s);
	if (r == 0)
		return err_set(e, EX_CONFIG, "the journal has lost its id");
	return r == 1 ? 0 : -1;
}

int journal_db_find(struct journal_db *j, const char *client, const char *token,
	struct journal_found *ret, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, FIND);

	db_bind_text(s, 1, client);
	db_bind_text(s, 2, token);
	int r = db_step(&j->db, s, e);
	if (r == 1) {
		copy_text(s, 0, ret->state, sizeof ret->state);
		copy_text(s, 1, ret->answer, sizeof ret->answer);
	}
	sqlite3_reset(s);
	return r;
}

static int run(struct journal_db *j, sqlite3_stmt *s, struct err *e)
{
	int r = db_step(&j->db, s, e);

	sqlite3_reset(s);
	return r < 0 ? -1 : 0;
}

int journal_db_set_self(struct journal_db *j, const struct journal_self *self, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SET_SELF);
	char given[PACE_HOURS * 21 + 21];

	write_given(&self->given, given, sizeof given);
	db_bind_text(s, 1, self->id);
	db_bind_text(s, 2, self->mark);
	db_bind_text(s, 3, self->mark_before);
	sqlite3_bind_int64(s, 4, self->ran);
	sqlite3_bind_int64(s, 5, self->saved);
	db_bind_text(s, 6, given);
	return run(j, s, e);
}

int journal_db_set_ran(struct journal_db *j, int64_t ran, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SET_RAN);

	sqlite3_bind_int64(s, 1, ran);
	return run(j, s, e);
}

int journal_db_fill(struct journal_db *j, int64_t until, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, FILL);

	sqlite3_bind_int64(s, 1, until);
	return run(j, s, e);
}

int journal_db_begin(struct journal_db *j, struct err *e)
{
	return run(j, db_stmt(&j->db, BEGIN), e);
}

int journal_db_sending(
	struct journal_db *j, const struct journal_row *r, int64_t until, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SENDING);

	db_bind_text(s, 1, r->m->client);
	db_bind_text(s, 2, r->m->rcpt[r->i].once);
	sqlite3_bind_int64(s, 3, clock_wall_ms());
	db_bind_text(s, 4, r->m->rcpt[r->i].address);
	db_bind_text(s, 5, r->m->id);
	sqlite3_bind_int(s, 6, r->doubt);
	sqlite3_bind_int64(s, 7, until);
	return run(j, s, e);
}

int journal_db_settle(struct journal_db *j, const struct journal_row *r, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SETTLE);

	db_bind_text(s, 1, r->m->client);
	db_bind_text(s, 2, r->m->rcpt[r->i].once);
	db_bind_text(s, 3, r->sent ? "sent" : "failed");
	sqlite3_bind_int64(s, 4, clock_wall_ms());
	db_bind_text(s, 5, r->answer);
	return run(j, s, e);
}

int journal_db_tally(struct journal_db *j, const struct tally_row *row, int64_t hour, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, TALLY);

	sqlite3_bind_int64(s, 1, hour);
	db_bind_text(s, 2, row->client);
	for (int k = 0; k < TALLY_KINDS; k++)
		sqlite3_bind_int64(s, 3 + k, (int64_t)row->n[k]);
	return run(j, s, e);
}

int journal_db_commit(struct journal_db *j, struct err *e)
{
	if (run(j, db_stmt(&j->db, COMMIT), e) < 0) {
		journal_db_rollback(j);
		return -1;
	}
	/* Nobody else writes or checkpoints. A person's shell may read. */
	if (j->wal_pages > WAL_PAGES)
		(void)db_checkpoint_keep(&j->db);
	return 0;
}

void journal_db_rollback(struct journal_db *j)
{
	if (!sqlite3_get_autocommit(j->db.handle))
		(void)run(j, db_stmt(&j->db, ROLLBACK), NULL);
}

/* A few of those before it. 1: there may be more; 0; -1. */
static int prune_some(struct journal_db *j, unsigned which, int64_t before, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, which);

	sqlite3_bind_int64(s, 1, before);
	sqlite3_bind_int64(s, 2, PRUNE_ROWS);
	if (run(j, s, e) < 0)
		return -1;
	return sqlite3_changes(j->db.handle) == PRUNE_ROWS;
}

/* Rows of random tokens lie on pages all over the file, so a step ends by the clock. */
static int prune_rows(struct journal_db *j, int64_t ran, struct err *e)
{
	int64_t enough = clock_mono_ms() + PRUNE_MS;
	int more;

	do {
		more = prune_some(j, PRUNE, ran, e);
	} while (more > 0 && clock_mono_ms() < enough);
	return more;
}

int journal_db_prune(struct journal_db *j, struct journal_age before, bool *ret_more, struct err *e)
{
	if (journal_db_begin(j, e) < 0)
		return -1;
	int hours = prune_some(j, PRUNE_TALLY, before.hour, e);
	int rows = hours < 0 ? -1 : prune_rows(j, before.ran, e);
	if (rows < 0) {
		journal_db_rollback(j);
		return -1;
	}
	*ret_more = hours > 0 || rows > 0;
	return journal_db_commit(j, e);
}
