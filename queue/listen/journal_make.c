/*
 * The journal's schema, from nothing or from an earlier version.
 */
#include "listen/journal_make.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/random.h"

static const char schema[] =
#include "queue/listen/journal.sql.h"
	;

#define APPLICATION_ID 0x63656e6a /* "cenj" */
#define VERSION        2

/* step[n] leads from version n to n+1. */
static const char *const step[VERSION] = { [1] =
#include "queue/listen/journal_2.sql.h"
};

static int create_schema(struct db *d, struct err *e)
{
	unsigned char id[16];
	char hex[33], rest[300];

	random_bytes(id, sizeof id);
	hex_encode(id, sizeof id, hex);
	snprintf(rest, sizeof rest,
		"INSERT INTO journal(one,id,created) VALUES(1,'%s',%lld);"
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

static int take_steps(struct db *d, int64_t from, struct err *e)
{
	char set[64];

	for (int64_t at = from; at < VERSION; at++)
		if (db_exec(d, step[at], e) < 0)
			return -1;
	snprintf(set, sizeof set, "PRAGMA user_version=%d;COMMIT", VERSION);
	return db_exec(d, set, e);
}

/* Alone: the journal's lock is held. A shell that reads goes on with what it sees. */
static int migrate(struct db *d, int64_t from, struct err *e)
{
	if (db_exec(d, "PRAGMA temp_store=FILE;BEGIN IMMEDIATE", e) < 0)
		return -1;
	int r = take_steps(d, from, e);
	if (r < 0 && !sqlite3_get_autocommit(d->handle))
		(void)db_exec(d, "ROLLBACK", NULL);
	if (r < 0 || db_exec(d, "PRAGMA temp_store=MEMORY", e) < 0)
		return -1;
	(void)db_checkpoint(d);
	return 0;
}

int journal_check(struct db *d, const char *path, bool create, struct err *e)
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
	if (create && version >= 1 && version < VERSION)
		return migrate(d, version, e);
	if (version != VERSION)
		return err_set(e, EX_CONFIG,
			"%s: is of version %lld, this program knows version %d", path,
			(long long)version, VERSION);
	return 0;
}

bool journal_is_blank(const char *path)
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
