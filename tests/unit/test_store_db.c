/*
 * The settings that rules 2, 3 and 5 rest on, asked of SQLite itself after every way of opening: a
 * setting that is lost does not show in any other test until a disk loses power.
 */
#include "tests/unit/store_fixture.h"

static void expect(int64_t got, int64_t want, const char *what)
{
	if (got != want)
		fail_msg("%s: %lld, not %lld", what, (long long)got, (long long)want);
}

static void check_settings(struct db *d)
{
	static const struct {
		const char *pragma;
		int64_t want;
	} number[] = {
		{ "PRAGMA synchronous", 2 }, /* FULL */
		{ "PRAGMA wal_autocheckpoint", 0 },
		{ "PRAGMA temp_store", 2 }, /* memory */
#ifdef SQLITE_DBCONFIG_TRUSTED_SCHEMA
		{ "PRAGMA trusted_schema", 0 },
#endif
	};
	static const struct {
		const char *name;
		int op, want;
	} flag[] = {
		{ "triggers", SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ "no checkpoint on close", SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
		{ "defensive", SQLITE_DBCONFIG_DEFENSIVE, 1 },
	};
	for (unsigned i = 0; i < sizeof number / sizeof *number; i++) {
		int64_t got = -1;
		assert_int_equal(db_pragma(d, number[i].pragma, &got, NULL), 0);
		expect(got, number[i].want, number[i].pragma);
	}
	for (unsigned i = 0; i < sizeof flag / sizeof *flag; i++) {
		int got = -1;
		sqlite3_db_config(d->handle, flag[i].op, -1, &got);
		expect(got, flag[i].want, flag[i].name);
	}
	int persist = -1;
	sqlite3_int64 map = -1;
	sqlite3_file_control(d->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	expect(persist, 1, "persistent WAL");
	sqlite3_file_control(d->handle, "main", SQLITE_FCNTL_MMAP_SIZE, &map);
	expect(map, 0, "mmap_size");
}

static void settings_hold(void **state)
{
	struct fixture *f = *state;
	struct err e;
	struct db d;
	char path[128];
	for (int create = 0; create <= 1; create++) {
		snprintf(path, sizeof path, "%s/%s.db", f->dir, create ? "other" : "queue");
		if (db_open(&d, path, create, DB_BUSY_MS, &e) < 0)
			fail_msg("%s", e.text);
		check_settings(&d);
		db_close(&d);
	}
}

/* Nobody checkpoints when it closes as the last, and the WAL stays where it is. */
static void closing_leaves_the_wal(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct stat st;
	char wal[128];
	fixture_mail(&x, "x", "a@x", NULL);
	fixture_put(f, &x.m);
	fixture_close(f);
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0);
}

/* The directory is not synced with each first commit of a process, as the WAL was there: its name
 * is durable since --init. One that had to be made is SQLite's to make. */
static void a_wal_is_opened_not_created(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct stat st;
	char wal[128], shm[128];
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	snprintf(shm, sizeof shm, "%s-shm", f->path);
	for (int gone = 0; gone <= 1; gone++) {
		fixture_close(f);
		if (gone) {
			fixture_open(f);
			store_checkpoint(f->s, true);
			fixture_close(f);
			assert_int_equal(unlink(wal) + unlink(shm), 0);
		}
		fixture_open(f);
		fixture_mail(&x, "x", "a@x", NULL);
		fixture_put(f, &x.m);
		assert_int_equal(stat(wal, &st), 0);
		assert_true(st.st_size > 0);
	}
	ask_is(f, "select count(*) from message", "2");
}

/* A view of the file that calls what could do harm is not run for a program here, nor is a write
 * around the schema taken. */
static void a_hostile_schema_is_not_trusted(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct db d;
	by_hand(f, "create view evil as select load_extension('x')");
	assert_int_equal(db_open(&d, f->path, false, DB_BUSY_MS, &e), 0);
	assert_int_equal(db_exec(&d, "select * from evil", &e), -1);
#ifdef SQLITE_DBCONFIG_TRUSTED_SCHEMA
	assert_non_null(strstr(e.text, "unsafe use"));
#endif
	assert_int_equal(db_exec(&d, "pragma writable_schema=on", &e), 0);
	assert_int_equal(db_exec(&d, "update sqlite_master set sql='x' where name='evil'", &e), -1);
	db_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(settings_hold),
		unit(closing_leaves_the_wal),
		unit(a_wal_is_opened_not_created),
		unit(a_hostile_schema_is_not_trusted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
