/*
 * The journal's SQL.
 */
#include "listen/journal_db.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/random.h"

#include <sys/stat.h>

static const char schema[] =
#include "queue/listen/journal.sql.h"
	;

#define APPLICATION_ID 0x63656e6a /* "cenj" */
#define VERSION        1
#define WAL_PAGES      256 /* beyond it, checkpoint */
#define PRUNE_ROWS     500

enum { BEGIN, COMMIT, ROLLBACK, FIND, ID, SENDING, SETTLE, PRUNE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[FIND] = "SELECT state,answer FROM once WHERE client=?1 AND token=?2",
	[ID] = "SELECT id FROM journal",
	[SENDING] = ("INSERT INTO once(client,token,state,at,recipient,message)"
		     " VALUES(?1,?2,'sending',?3,?4,?5) ON CONFLICT(client,token) DO UPDATE SET"
		     " doubts=doubts+?6,state='sending',at=excluded.at,message=excluded.message,"
		     "answer=NULL"),
	[SETTLE] = "UPDATE once SET state=?3,at=?4,answer=?5 WHERE client=?1 AND token=?2",
	[PRUNE] = ("DELETE FROM once WHERE (client,token) IN"
		   " (SELECT client,token FROM once WHERE at<?1 ORDER BY at LIMIT ?2)"),
};

static int create_schema(struct db *d, struct err *e)
{
	unsigned char id[16];
	char hex[33], rest[300];

	random_bytes(id, sizeof id);
	hex_encode(id, sizeof id, hex);
	snprintf(rest, sizeof rest,
		"INSERT INTO journal VALUES(1,'%s',%lld);"
		"PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT",
		hex, (long long)clock_wall_ms(), APPLICATION_ID, VERSION);
	if (db_exec(d, "BEGIN IMMEDIATE", e) < 0)
		return -1;
	if (db_exec(d, schema, e) < 0 || db_exec(d, rest, e) < 0) {
		(void)db_exec(d, "ROLLBACK", NULL);
		return -1;
	}
	return 0;
}

static int check(struct db *d, const char *path, bool create, struct err *e)
{
	int64_t application, version, objects;

	if (db_pragma(d, "PRAGMA application_id", &application, e) < 0 ||
		db_pragma(d, "PRAGMA user_version", &version, e) < 0 ||
		db_pragma(d, "SELECT count(*) FROM sqlite_master", &objects, e) < 0)
		return -1;
	if (create && application == 0 && version == 0 && objects == 0)
		return create_schema(d, e);
	if (application != APPLICATION_ID)
		return err_set(e, EX_CONFIG, "%s: is not a journal of cenmail-listen", path);
	if (version != VERSION)
		return err_set(e, EX_CONFIG,
			"%s: is of version %lld, this program knows version %d", path,
			(long long)version, VERSION);
	return 0;
}

static int on_wal(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct journal_db *j = arg;

	(void)handle;
	(void)name;
	j->wal_pages = pages;
	return SQLITE_OK;
}

/* A database in which nothing was made yet: whoever was making it was cut short, before it was in
 * WAL mode. */
static bool is_blank(const char *path)
{
	static const char question[] = "SELECT NOT EXISTS(SELECT 1 FROM sqlite_master)"
				       " AND (SELECT application_id FROM pragma_application_id)=0"
				       " AND (SELECT user_version FROM pragma_user_version)=0";
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	sqlite3 *handle = NULL;
	sqlite3_stmt *s = NULL;

	bool blank =
		sqlite3_open_v2(path, &handle, flags, NULL) == SQLITE_OK &&
		sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK &&
		sqlite3_prepare_v2(handle, question, -1, &s, NULL) == SQLITE_OK &&
		sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(handle);
	return blank;
}

int journal_db_open(struct journal_db *j, const char *path, bool create, struct err *e)
{
	struct stat st;
	/* A file that holds something is opened as it is: a foreign one must not be changed. */
	bool fresh = create && (stat(path, &st) < 0 || st.st_size == 0);

	*j = (struct journal_db) { .wal_pages = 0 };
	if (db_open(&j->db, path, fresh, DB_BUSY_MS, e) < 0 &&
		(!create || fresh || !is_blank(path) ||
			db_open(&j->db, path, true, DB_BUSY_MS, e) < 0))
		return -1;
	if (check(&j->db, path, create, e) < 0 || db_prepare(&j->db, sql, STATEMENTS, e) < 0) {
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

int journal_db_id(struct journal_db *j, char *out, size_t size, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, ID);
	int r = db_step(&j->db, s, e);

	if (r == 1)
		copy_text(s, 0, out, size);
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

int journal_db_begin(struct journal_db *j, struct err *e)
{
	return run(j, db_stmt(&j->db, BEGIN), e);
}

int journal_db_sending(struct journal_db *j, const struct journal_row *r, struct err *e)
{
	sqlite3_stmt *s = db_stmt(&j->db, SENDING);

	db_bind_text(s, 1, r->m->client);
	db_bind_text(s, 2, r->m->rcpt[r->i].once);
	sqlite3_bind_int64(s, 3, clock_wall_ms());
	db_bind_text(s, 4, r->m->rcpt[r->i].address);
	db_bind_text(s, 5, r->m->id);
	sqlite3_bind_int(s, 6, r->doubt);
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

int journal_db_commit(struct journal_db *j, struct err *e)
{
	if (run(j, db_stmt(&j->db, COMMIT), e) < 0) {
		journal_db_rollback(j);
		return -1;
	}
	/* Nobody else writes or checkpoints. A person's shell may read. */
	if (j->wal_pages > WAL_PAGES)
		(void)db_checkpoint(&j->db);
	return 0;
}

void journal_db_rollback(struct journal_db *j)
{
	if (!sqlite3_get_autocommit(j->db.handle))
		(void)run(j, db_stmt(&j->db, ROLLBACK), NULL);
}

int journal_db_prune(struct journal_db *j, int64_t before, bool *ret_more, struct err *e)
{
	if (journal_db_begin(j, e) < 0)
		return -1;
	sqlite3_stmt *s = db_stmt(&j->db, PRUNE);
	sqlite3_bind_int64(s, 1, before);
	sqlite3_bind_int64(s, 2, PRUNE_ROWS);
	if (run(j, s, e) < 0) {
		journal_db_rollback(j);
		return -1;
	}
	*ret_more = sqlite3_changes(j->db.handle) == PRUNE_ROWS;
	return journal_db_commit(j, e);
}
