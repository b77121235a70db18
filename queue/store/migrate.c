/*
 * Steps from version to version, each a file of SQL that is never changed again. A database goes
 * through as many as it needs; what it ends as is what schema.sql makes anew.
 */
#include "store/migrate.h"

#include "store/internal.h"

#include "base/flow.h"

#include <assert.h>

static const char to_2[] =
#include "queue/store/migrate_2.sql.h"
	;
static const char to_3[] =
#include "queue/store/migrate_3.sql.h"
	;
/* step[n] leads from version n to n+1. */
static const char *const step[STORE_VERSION] = { [1] = to_2, [2] = to_3 };

bool migrate_knows(int64_t version)
{
	return version >= 1 && version < STORE_VERSION;
}

static int take_steps(struct db *d, int64_t *ret_from, struct err *e)
{
	char set[64];
	int64_t from;
	if (db_pragma(d, "PRAGMA user_version", &from, e) < 0)
		return -1;
	assert(migrate_knows(from)); /* both locks are held: it is as it was seen */
	for (int64_t at = from; at < STORE_VERSION; at++)
		if (db_exec(d, step[at], e) < 0)
			return -1;
	snprintf(set, sizeof set, "PRAGMA user_version=%d", STORE_VERSION);
	if (db_exec(d, set, e) < 0)
		return -1;
	*ret_from = from;
	return 0;
}

/* flow_of(uid, sender, recipients): what version 3 stores with each recipient. */
static void sql_flow_of(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	const char *sender = (const char *)sqlite3_value_text(v[1]);
	sqlite3_result_int(
		ctx, (int)flow_of((uid_t)sqlite3_value_int64(v[0]),
			     span_make(sender ? sender : "", (size_t)sqlite3_value_bytes(v[1])),
			     (unsigned)sqlite3_value_int(v[2])));
}

static int add_functions(struct db *d, struct err *e)
{
	return sqlite3_create_function(d->handle, "flow_of", 3, SQLITE_UTF8, NULL, sql_flow_of,
		       NULL, NULL) == SQLITE_OK
		       ? 0
		       : db_err(d, "can't be migrated", e);
}

int migrate(struct db *d, int64_t *ret_from, struct err *e)
{
	/* An index over millions of rows is sorted beside, and not in memory. */
	if (db_exec(d, "PRAGMA temp_store=FILE", e) < 0 || add_functions(d, e) < 0 ||
		db_exec(d, "BEGIN IMMEDIATE", e) < 0)
		return -1;
	if (take_steps(d, ret_from, e) == 0 && db_exec(d, "COMMIT", e) == 0) {
		db_checkpoint(d); /* if somebody reads, another's will do */
		return 0;
	}
	if (!sqlite3_get_autocommit(d->handle))
		db_exec(d, "ROLLBACK", NULL);
	return -1;
}
