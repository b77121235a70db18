/*
 * A hardened SQLite connection. What it may trust is the file's bytes least of all: triggers of
 * the file don't run, its views may call nothing with side effects, its schema can't be written
 * around, and a file that is not there is never made.
 */
#include "store/db.h"

#include "base/clock.h"
#include "store/vfs.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

/* Short sleeps: the one who is in our way is a person's shell, and it is quick or it is not. */
static int on_busy(void *arg, int count)
{
	struct db *d = arg;
	int64_t now = clock_mono_ms();
	if (count == 0)
		d->busy_until = now + d->busy_ms;
	if (now >= d->busy_until)
		return 0;
	long ms = count < 5 ? 1 + count : 10;
	struct timespec ts = { 0, ms * 1000000 };
	nanosleep(&ts, NULL);
	return 1;
}

int db_err(struct db *d, const char *what, struct err *e)
{
	int code = EX_TEMPFAIL, rc = d->handle ? sqlite3_extended_errcode(d->handle) : SQLITE_NOMEM;
	switch (rc & 0xff) {
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* no such table, no such column: it is not what we know */
		code = EX_CONFIG;
		break;
	case SQLITE_CONSTRAINT:
	case SQLITE_TOOBIG:
	case SQLITE_MISMATCH:
		code = EX_DATAERR;
		break;
	default:
		break;
	}
	const char *file = d->handle ? sqlite3_db_filename(d->handle, "main") : NULL;
	return err_set(e, code, "%s: %s: %s (SQLite %d)", file && *file ? file : "database", what,
		d->handle ? sqlite3_errmsg(d->handle) : "out of memory", rc);
}

static int open_handle(struct db *d, const char *path, bool create, struct err *e)
{
	/* An empty file is made here, and SQLite fills it: so its mode is ours, and nothing of
	 * this program ever opens a database with leave to create. mknod, as closing a
	 * descriptor would drop the locks that SQLite has on the same file. */
	if (create && mknod(path, S_IFREG | 0600, 0) < 0 && errno != EEXIST)
		return err_sys(e, EX_CANTCREAT, "%s: can't be created", path);
	/* No SQLITE_OPEN_NOFOLLOW: it refuses a link anywhere in the path, and moving a spool
	 * directory and leaving a link is usual; the directory itself is open to its owner only. */
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	int rc = sqlite3_open_v2(path, &d->handle, flags, vfs_name());
	if (rc == SQLITE_OK && sqlite3_db_readonly(d->handle, "main") == 1)
		return err_set(e, EX_TEMPFAIL,
			"%s: can't be written: its owner or mode is wrong, or"
			" the file system is read-only",
			path);
	if (rc == SQLITE_OK)
		return 0;
	struct stat st;
	if (d->handle && stat(path, &st) < 0 && errno == ENOENT)
		return err_set(e, EX_CONFIG, "%s: does not exist", path);
	if (d->handle && sqlite3_system_errno(d->handle) != 0) {
		errno = sqlite3_system_errno(d->handle);
		return err_sys(e, EX_TEMPFAIL, "%s: can't be opened", path);
	}
	return db_err(d, "can't be opened", e);
}

/* Settings that need no look into the file. An older library that lacks one is no failure. */
static void set_limits(struct db *d)
{
	sqlite3 *h = d->handle;
	sqlite3_extended_result_codes(h, 1);
	sqlite3_busy_handler(h, on_busy, d);
	sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
#ifdef SQLITE_DBCONFIG_TRUSTED_SCHEMA /* 3.31 */
	sqlite3_db_config(h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
#endif
	sqlite3_wal_autocheckpoint(h, 0);
	int on = 1;
	sqlite3_file_control(h, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	sqlite3_int64 none = 0;
	sqlite3_file_control(h, "main", SQLITE_FCNTL_MMAP_SIZE, &none);
}

/* What has a mark (an empty file and a foreign one have not) was taken out of that mode by hand. */
static int not_wal(struct db *d, struct err *e)
{
	const char *path = sqlite3_db_filename(d->handle, "main");
	int64_t mark = 0;
	if (db_pragma(d, "PRAGMA application_id", &mark, e) < 0)
		return -1;
	if (mark == 0)
		return err_set(e, EX_CONFIG, "%s: is not in WAL mode", path);
	return err_set(e, EX_TEMPFAIL,
		"%s: is not in WAL mode: \"pragma journal_mode=wal\", given to sqlite3 as its "
		"owner, puts that right",
		path);
}

static int check_wal(struct db *d, bool create, struct err *e)
{
	sqlite3_stmt *s = NULL;
	const char *sql = create ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode";
	if (sqlite3_prepare_v2(d->handle, sql, -1, &s, NULL) != SQLITE_OK)
		return db_err(d, "can't be read", e);
	int rc = sqlite3_step(s);
	const unsigned char *mode = rc == SQLITE_ROW ? sqlite3_column_text(s, 0) : NULL;
	bool wal = mode && strcmp((const char *)mode, "wal") == 0;
	int bad = 0;
	if (rc != SQLITE_ROW)
		bad = db_err(d, "can't be read", e);
	else if (!wal)
		bad = not_wal(d, e);
	sqlite3_finalize(s);
	return bad;
}

int db_open(struct db *d, const char *path, bool create, int64_t busy_ms, struct err *e)
{
	*d = (struct db) { .busy_ms = busy_ms };
	if (open_handle(d, path, create, e) < 0)
		goto fail;
	set_limits(d);
	/* temp_store first: the next is the first to read the file. In a new file auto_vacuum has
	 * to be said before anything is written: so space can be given back in small steps later.
	 */
	if (db_exec(d, "PRAGMA temp_store=MEMORY", e) < 0 ||
		(create && db_exec(d, "PRAGMA auto_vacuum=INCREMENTAL", e) < 0) ||
		db_exec(d, "PRAGMA synchronous=FULL", e) < 0)
		goto fail;
	if (check_wal(d, create, e) < 0)
		goto fail;
	return 0;
fail:
	db_close(d);
	return -1;
}

void db_close(struct db *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->stmts; i++)
		sqlite3_finalize(d->stmt[i]);
	free(d->stmt);
	int rc = sqlite3_close(d->handle);
	assert(rc == SQLITE_OK); /* a statement or a blob is still open: a bug */
	*d = (struct db) { 0 };
}

int db_prepare(struct db *d, const char *const *sql, unsigned n, struct err *e)
{
	assert(!d->stmt);
	d->stmt = calloc(n, sizeof *d->stmt);
	if (!d->stmt)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	d->stmts = n;
	for (unsigned i = 0; i < n; i++)
		if (sql[i] &&
			sqlite3_prepare_v2(d->handle, sql[i], -1, &d->stmt[i], NULL) != SQLITE_OK)
			return db_err(d, "is not as this program knows it", e);
	return 0;
}

int db_exec(struct db *d, const char *sql, struct err *e)
{
	if (sqlite3_exec(d->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_err(d, "failed", e);
	return 0;
}

sqlite3_stmt *db_stmt(struct db *d, unsigned i)
{
	assert(i < d->stmts && d->stmt[i]);
	sqlite3_reset(d->stmt[i]);
	sqlite3_clear_bindings(d->stmt[i]);
	return d->stmt[i];
}

int db_step(struct db *d, sqlite3_stmt *s, struct err *e)
{
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		return 1;
	int r = rc == SQLITE_DONE ? 0 : db_err(d, "failed", e);
	sqlite3_reset(s);
	return r;
}

static bool checkpoint(struct db *d, int how)
{
	int64_t patience = d->busy_ms;

	d->busy_ms = 0;
	int rc = sqlite3_wal_checkpoint_v2(d->handle, "main", how, NULL, NULL);
	d->busy_ms = patience;
	return rc == SQLITE_OK;
}

bool db_checkpoint(struct db *d)
{
	return checkpoint(d, SQLITE_CHECKPOINT_TRUNCATE);
}

bool db_checkpoint_keep(struct db *d)
{
	return checkpoint(d, SQLITE_CHECKPOINT_RESTART);
}

int db_pragma(struct db *d, const char *sql, int64_t *ret, struct err *e)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(d->handle, sql, -1, &s, NULL) != SQLITE_OK)
		return db_err(d, "can't be read", e);
	int r = -1;
	if (sqlite3_step(s) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(s, 0);
		r = 0;
	} else {
		db_err(d, "can't be read", e);
	}
	sqlite3_finalize(s);
	return r;
}

/* What is bound is copied by no one: it must live until the statement is reset. A bind that fails
 * for want of memory leaves NULL, and a NOT NULL column then refuses the row. */
void db_bind_span(sqlite3_stmt *s, int i, struct span v)
{
	sqlite3_bind_text64(s, i, v.p ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

void db_bind_text(sqlite3_stmt *s, int i, const char *v)
{
	sqlite3_bind_text(s, i, v, -1, SQLITE_STATIC);
}

void db_bind_blob(sqlite3_stmt *s, int i, const void *p, size_t n)
{
	sqlite3_bind_blob64(s, i, p ? p : "", n, SQLITE_STATIC);
}
