/*
 * --init and opening: what is made, what is refused, and that a kill at any moment leaves nothing
 * that a second --init does not put right.
 */
#include "tests/unit/store_fixture.h"

#include "store/init.h"

#include <fcntl.h>

static const char *in(struct fixture *f, const char *name)
{
	static char path[160];
	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	return path;
}

static void write_file(const char *path, const char *bytes)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(bytes, file);
	assert_int_equal(fclose(file), 0);
}

static void plain_database(const char *path, const char *sql)
{
	sqlite3 *h;
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
}

static void init_fails(struct fixture *f, int code, const char *words)
{
	struct err e = { 0 };
	int64_t from, to;
	assert_int_equal(store_init(f->path, &from, &to, &e), -1);
	if (!strstr(e.text, words) || e.code != code)
		fail_msg("said \"%s\" (%d), not \"%s\" (%d)", e.text, e.code, words, code);
}

static void open_fails(struct fixture *f, int code, const char *words)
{
	static const enum store_role role[] = { STORE_SUBMIT, STORE_FLUSH, STORE_LIST };
	for (unsigned i = 0; i < 3; i++) {
		struct err e = { 0 };
		struct store *s = NULL;
		assert_int_equal(store_open(&s, f->path, role[i], 100, &e), -1);
		assert_null(s);
		if (!strstr(e.text, words) || e.code != code)
			fail_msg("said \"%s\" (%d), not \"%s\" (%d)", e.text, e.code, words, code);
	}
}

static void makes_everything_private(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
	} row[] = { { "queue.db", S_IFREG | 0600 }, { "queue.db-wal", S_IFREG | S_ISVTX | 0600 },
		{ "queue.lock", S_IFREG | 0600 }, { "flush.lock", S_IFREG | 0600 },
		{ "next.lock", S_IFREG | 0600 }, { "incoming", S_IFDIR | 0700 } };
	struct fixture *f = *state;
	mode_t old = umask(0);
	fixture_init(f);
	umask(old);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct stat st;
		if (stat(in(f, row[i].name), &st) < 0)
			fail_msg("%s is missing", row[i].name);
		assert_int_equal(st.st_mode, row[i].mode);
		assert_int_equal(st.st_nlink, S_ISDIR(st.st_mode) ? 2 : 1);
	}
	assert_int_equal(access(in(f, "queue.db.new"), F_OK), -1);
	int64_t from, to;
	assert_int_equal(store_init(f->path, &from, &to, NULL), 0);
	assert_int_equal(from, to);
	fixture_open(f);
	ask_is(f, "pragma journal_mode", "wal");
	ask_is(f, "pragma auto_vacuum", "2");
	ask_is(f, "pragma page_size", "4096");
	ask_is(f, "pragma user_version", "3");
	fixture_close(f);
	assert_int_equal(access(in(f, "queue.db-wal"), F_OK), 0);
}

static void what_is_no_queue_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	open_fails(f, EX_CONFIG, "does not exist");
	assert_int_equal(access(f->path, F_OK), -1);

	write_file(f->path, "");
	open_fails(f, EX_CONFIG, "is not a cenmail queue; create one with `cenmail-flush --init`");
	init_fails(f, EX_CONFIG, "not a queue that can be used");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 0);

	write_file(f->path, "This is some text, and no database, of more than a hundred octets: "
			    "........................................................");
	open_fails(f, EX_CONFIG, "is not a cenmail queue");
	init_fails(f, EX_CONFIG, "not a queue that can be used");

	unlink(f->path);
	plain_database(f->path, "create table message(x); pragma journal_mode=wal");
	open_fails(f, EX_CONFIG, "is not a cenmail queue");
	init_fails(f, EX_CONFIG, "is not a cenmail queue");

	unlink(f->path);
	plain_database(f->path, "create table message(x)");
	open_fails(f, EX_CONFIG, "is not a cenmail queue");

	/* Our mark, but not our tables. */
	plain_database(f->path, "pragma journal_mode=wal; pragma application_id=0x63656e6d;"
				"pragma user_version=3");
	open_fails(f, EX_CONFIG, "not as this program knows it");
}

static void other_versions(void **state)
{
	struct fixture *f = *state;
	fixture_init(f);
	plain_database(f->path, "pragma user_version=4");
	open_fails(f, EX_CONFIG, "this program is too old for it");
	init_fails(f, EX_CONFIG, "this program is too old for it");
	plain_database(f->path, "pragma user_version=0");
	open_fails(f, EX_CONFIG, "migrate it");
	init_fails(f, EX_CONFIG, "is of version 0");
}

static void an_upgrade_comes_between(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct err e = { 0 };
	int64_t id;
	fixture_init(f);
	fixture_open(f);
	by_hand(f, "pragma user_version=4");
	fixture_mail(&x, "x", "a@x", NULL);
	assert_int_equal(store_put(f->s, &x.m, &id, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	ask_is(f, "select count(*) from message", "0");
	by_hand(f, "pragma user_version=3");
	fixture_put(f, &x.m);
}

static void wrong_places(void **state)
{
	struct fixture *f = *state;
	struct fixture gone = *f;
	snprintf(gone.path, sizeof gone.path, "%s/none/queue.db", f->dir);
	init_fails(&gone, EX_CONFIG, "does not exist; create it, mode 0700");
	write_file(in(f, "file"), "");
	snprintf(gone.path, sizeof gone.path, "%s/file/queue.db", f->dir);
	init_fails(&gone, EX_CONFIG, "Not a directory");
	write_file(in(f, "queue.db-wal"), "frames of a queue that was there");
	init_fails(f, EX_CONFIG, "is there without its database");
	assert_int_equal(access(f->path, F_OK), -1);
	write_file(in(f, "queue.db-wal"), "");
	fixture_init(f);
	assert_true(init_is_network(0x6969));
	assert_true(init_is_network((long)0xff534d42));
	assert_true(init_is_network((int)0xfe534d42));
	assert_false(init_is_network(0xef53));     /* ext4 */
	assert_false(init_is_network(0x58465342)); /* XFS */
}

static void damage_is_named(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	fixture_init(f);
	fixture_open(f);
	fixture_mail(&x, "x", "a@x", NULL);
	fixture_put(f, &x.m);
	store_checkpoint(f->s, true);
	char root[32];
	snprintf(root, sizeof root, "%.30s",
		ask(f, "select rootpage from sqlite_master where name='content'"));
	fixture_close(f);
	int64_t page = strtol(root, NULL, 10);
	char garbage[4096];
	memset(garbage, 0x5a, sizeof garbage);
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, garbage, sizeof garbage, (page - 1) * 4096), sizeof garbage);
	close(fd);
	init_fails(f, EX_CONFIG, "is damaged");
}

static int run_init(void *arg)
{
	int64_t from, to;
	return store_init(arg, &from, &to, NULL) < 0;
}

static void killed_at_every_call(void **state)
{
	int rc = -1;
	struct sample s = sample_of(8);
	unsigned n, last = 0;
	for (n = s.first; rc < 0; n += s.stride) {
		struct fixture *f = *state;
		struct err e = { 0 };
		int64_t from, to;
		assert_true(n < 2000);
		rc = killed_at(n, run_init, f->path);
		last = n;
		if (store_init(f->path, &from, &to, &e) < 0)
			fail_msg("after a kill at call %u: %s", n, e.text);
		fixture_open(f);
		struct fixture_mail x;
		fixture_mail(&x, "x", "a@x", NULL);
		fixture_put(f, &x.m);
		assert_int_equal(access(in(f, "queue.db.new"), F_OK), -1);
		fixture_teardown(state);
		fixture_dir(state);
	}
	assert_int_equal(rc, 0);
	assert_true(last > 50);
	sample_tell(&s, last);
}

/* Two names for one file, and what a killed one may have left beside: gone after the next. */
static void leftovers_go(void **state)
{
	struct fixture *f = *state;
	write_file(in(f, "queue.db.new"), "half");
	write_file(in(f, "queue.db.new-wal"), "half");
	write_file(in(f, "queue.db.new-journal"), "half");
	fixture_init(f);
	fixture_open(f);
	ask_is(f, "pragma integrity_check", "ok");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_dir(makes_everything_private),
		unit_dir(what_is_no_queue_is_left_alone),
		unit_dir(other_versions),
		unit_dir(an_upgrade_comes_between),
		unit_dir(wrong_places),
		unit_dir(damage_is_named),
		unit_dir(leftovers_go),
		unit_dir(killed_at_every_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
