/*
 * A queue of an earlier version, with data: it becomes what a fresh one is, keeps every value, and
 * a kill at any moment leaves the one version or the other. Needs the source tree as the current
 * directory (or CENMAIL_SOURCE).
 */
#include "tests/unit/store_fixture.h"

#include "base/flow.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

#define SCHEMA                                                                                     \
	"select group_concat(type||name||tbl_name||coalesce(sql,''),char(10)) from"                \
	" (select * from sqlite_master order by type,name)"

static char *whole_file(const char *name)
{
	const char *source = secure_getenv("CENMAIL_SOURCE");
	char path[512];
	snprintf(path, sizeof path, "%s/%s", source ? source : ".", name);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	char *text = calloc(1, 200000);
	assert_non_null(text);
	size_t n = fread(text, 1, 199999, in);
	assert_true(n > 0 && n < 199999);
	fclose(in);
	return text;
}

/* The answer in full; the caller's to free. */
static char *answer(const char *path, const char *sql)
{
	sqlite3 *h;
	sqlite3_stmt *q = NULL;
	assert_int_equal(sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(h, sql, -1, &q, NULL) != SQLITE_OK || sqlite3_step(q) != SQLITE_ROW)
		fail_msg("%s: %s", sql, sqlite3_errmsg(h));
	const char *text = (const char *)sqlite3_column_text(q, 0);
	char *own = strdup(text ? text : "");
	assert_non_null(own);
	sqlite3_finalize(q);
	sqlite3_close(h);
	return own;
}

static void answers_same(const char *sql, const char *path, const char *other)
{
	char *a = answer(path, sql), *b = answer(other, sql);
	assert_true(strlen(a) > 0);
	assert_string_equal(a, b);
	free(a);
	free(b);
}

/* Every value of every table that version 1 has; but that nobody is told now of what had failed. */
static void rows_same(const char *path, const char *other)
{
	static const char *const rows[] = {
		"select group_concat(id||hex(key)||submitted||uid||sender||size||eightbit||"
		"message_id||quote(ret)||quote(envid)) from message",
		"select group_concat(message||typeof(data)||crc||hex(data)) from content",
		"select group_concat(id||message||address||hex(once)||state||version||tries||"
		"next_try||since||quote(settled)||last_code||last_reply||doubt_journal||doubt_until"
		"||quote(ses_id)||quote(queued_ms)||quote(connect_ms)||quote(hop_ms)||quote(ses_ms)"
		"||quote(nullif(bounce,0))||quote(notify)||quote(orcpt)) from recipient",
		"select group_concat(id||message||recipient||address||at||relay||code||enhanced||"
		"reply||quote(ms)||maybe_sent) from attempt",
		"select group_concat(at||submitted||delivered||deferred||failed||bytes||slowest_ms)"
		" from hour",
		"select group_concat(name||seq) from (select * from sqlite_sequence order by name)",
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		answers_same(rows[i], path, other);
}

/* As --init of that version left it, and then used; by two users. */
static void lay(const char *path, const char *sql)
{
	sqlite3 *h;
	char *words = NULL;
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	if (sqlite3_exec(h, sql, NULL, NULL, &words) != SQLITE_OK)
		fail_msg("%s", words);
	sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	if (sqlite3_exec(h, "update message set uid=1000 where id>4", NULL, NULL, &words) !=
		SQLITE_OK)
		fail_msg("%s", words);
	sqlite3_close(h);
	assert_int_equal(chmod(path, 0600), 0);
}

static void copy_file(const char *from, const char *to)
{
	char *bytes = calloc(1, 1 << 20);
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = read(in, bytes, 1 << 20);
	assert_true(n > 0 && n < 1 << 20);
	assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
	free(bytes);
}

struct old {
	char kept[128], fresh[128]; /* the old one, untouched; one made anew */
};

static void prepare(struct fixture *f, struct old *o, unsigned version)
{
	char name[64];
	snprintf(name, sizeof name, "tests/data/queue-%u.sql", version);
	char *sql = whole_file(name);
	int64_t from, to;
	char queue[sizeof f->path];
	snprintf(queue, sizeof queue, "%s", f->path);
	snprintf(o->kept, sizeof o->kept, "%s/kept.db", f->dir);
	snprintf(o->fresh, sizeof o->fresh, "%s/fresh.db", f->dir);
	lay(o->kept, sql);
	assert_int_equal(store_init(o->fresh, &from, &to, NULL), 0);
	copy_file(o->kept, queue);
	free(sql);
}

static bool count_due(void *arg, const struct store_due *d)
{
	++*(unsigned *)arg;
	return true;
}

static bool nothing_in_hand(void *arg, int64_t recipient)
{
	return false;
}

static unsigned due_in_all(struct fixture *f)
{
	unsigned due = 0;
	for (unsigned flow = 0; flow < FLOW_COUNT; flow++) {
		struct store_cursor at = STORE_FROM_THE_FIRST;
		const struct store_walk w = { .flow = flow,
			.now = INT64_C(1900000000000),
			.horizon_ms = 1,
			.most = 100,
			.skip = nothing_in_hand,
			.fn = count_due,
			.arg = &due };
		assert_int_equal(store_due(f->s, &w, &at, NULL), 0);
	}
	return due;
}

/* As if each message that waits had been submitted today. */
static void flows_are_as_of_today(struct fixture *f)
{
	sqlite3 *h;
	sqlite3_stmt *q = NULL;
	unsigned waiting = 0;
	uint64_t numbers = 0;
	assert_int_equal(sqlite3_open_v2(f->path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(h,
				 "select m.uid,m.sender,r.flow,"
				 "(select count(*) from recipient where message=m.id)"
				 " from recipient as r join message as m on m.id=r.message"
				 " where r.state in ('queued','held')",
				 -1, &q, NULL),
		SQLITE_OK);
	for (; sqlite3_step(q) == SQLITE_ROW; waiting++) {
		struct span sender = span_of((const char *)sqlite3_column_text(q, 1));
		unsigned flow = flow_of((uid_t)sqlite3_column_int64(q, 0), sender,
			(unsigned)sqlite3_column_int(q, 3));
		assert_int_equal(sqlite3_column_int(q, 2), flow);
		numbers |= UINT64_C(1) << flow;
	}
	sqlite3_finalize(q);
	sqlite3_close(h);
	assert_true(waiting > 3 && (numbers & (numbers - 1)) != 0); /* more than one */
}

static void becomes_what_a_fresh_one_is(struct fixture *f, unsigned version)
{
	struct fixture_mail x;
	struct err e = { 0 };
	struct old o;
	struct stat st;
	int64_t from, to;
	prepare(f, &o, version);
	if (store_init(f->path, &from, &to, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(from, version);
	assert_int_equal(to, 3);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	answers_same(SCHEMA, f->path, o.fresh);
	answers_same("pragma user_version", f->path, o.fresh);
	answers_same("pragma auto_vacuum", f->path, o.fresh);
	rows_same(f->path, o.kept);
	assert_int_equal(store_init(f->path, &from, &to, &e), 0);
	assert_int_equal(from, 3);

	fixture_open(f);
	ask_is(f, "pragma integrity_check", "ok");
	assert_int_equal(due_in_all(f), 4);
	flows_are_as_of_today(f);
	fixture_mail(&x, "x", "a@x", NULL);
	assert_int_equal(fixture_put(f, &x.m), 8); /* 7 was dropped: no number comes twice */
	by_hand(f, "update recipient set state='queued' where address='failed@example.net'");
	/* The comparison sees a difference. */
	by_hand(f, "create index more on hour(bytes)");
	char *a = answer(f->path, SCHEMA), *b = answer(o.fresh, SCHEMA);
	assert_string_not_equal(a, b);
	free(a);
	free(b);
}

static void from_1(void **state)
{
	becomes_what_a_fresh_one_is(*state, 1);
}

/* What the programs of that version kept for themselves stays too. */
static void from_2(void **state)
{
	struct fixture *f = *state;
	becomes_what_a_fresh_one_is(f, 2);
	ask_is(f, "select group_concat(uid||':'||place||':'||message) from place",
		"0:0:1,0:1:7,1000:0:5");
	ask_is(f, "select group_concat(state||settled||':'||recipient) from freed",
		"failed1795528560546:2,sent1795528560640:5");
}

static int run_init(void *arg)
{
	int64_t from, to;
	return store_init(arg, &from, &to, NULL) < 0;
}

static void killed_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct old o;
	struct sample s = sample_of(10);
	unsigned last = 0, versions[2] = { 0 };
	int rc = -1;
	char wal[128], shm[128];
	prepare(f, &o, 1);
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	snprintf(shm, sizeof shm, "%s-shm", f->path);
	for (unsigned n = s.first; rc < 0; n += s.stride) {
		assert_true(n < 2000);
		last = n;
		unlink(wal);
		unlink(shm);
		copy_file(o.kept, f->path);
		rc = killed_at(n, run_init, f->path);
		char *found = answer(f->path, "pragma user_version");
		bool new = strcmp(found, "3") == 0;
		free(found);
		versions[new]++;
		answers_same(SCHEMA, f->path, new ? o.fresh : o.kept);
		rows_same(f->path, o.kept);
		assert_int_equal(run_init(f->path), 0);
		answers_same(SCHEMA, f->path, o.fresh);
	}
	assert_int_equal(rc, 0);
	assert_true(versions[0] > 5 && versions[1] > 5);
	sample_tell(&s, last);
}

/* flush.lock comes first: while a flusher lingers, senders have the queue. */
static void waits_for_the_flusher_without_the_queue(void **state)
{
	struct fixture *f = *state;
	struct old o;
	char flush[128], queue[128], c;
	int ready[2], status;
	prepare(f, &o, 1);
	snprintf(flush, sizeof flush, "%s/flush.lock", f->dir);
	snprintf(queue, sizeof queue, "%s/queue.lock", f->dir);
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int held = open(flush, O_RDWR | O_CLOEXEC), fd = open(queue, O_RDWR | O_CLOEXEC);
		flock(held, LOCK_EX);
		bool said = write(ready[1], "x", 1) == 1;
		poll(NULL, 0, 300);
		_exit(said && flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	int64_t began = clock_mono_ms();
	assert_int_equal(run_init(f->path), 0);
	assert_true(clock_mono_ms() - began >= 250);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A page of it is garbage: it is said, and it stays of version 1. */
static void damage_stops_it(void **state)
{
	struct fixture *f = *state;
	struct old o;
	struct err e = { 0 };
	int64_t from, to;
	char garbage[4096];
	prepare(f, &o, 1);
	char *root = answer(f->path, "select rootpage from sqlite_master where name='attempt'");
	memset(garbage, 0x5a, sizeof garbage);
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, garbage, sizeof garbage, (strtol(root, NULL, 10) - 1) * 4096),
		sizeof garbage);
	close(fd);
	free(root);
	assert_int_equal(store_init(f->path, &from, &to, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	assert_non_null(strstr(e.text, "is damaged"));
	char *version = answer(f->path, "pragma user_version");
	assert_string_equal(version, "1");
	free(version);
}

/* Somebody's own view is in nobody's way; one of the names that the step makes is. */
static void what_stands_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct old o;
	struct err e = { 0 };
	int64_t from, to;
	prepare(f, &o, 1);
	sqlite3 *h;
	assert_int_equal(sqlite3_open(f->path, &h), SQLITE_OK);
	sqlite3_exec(h, "create view mine as select 1; create view by_domain as select 2", NULL,
		NULL, NULL);
	sqlite3_close(h);
	assert_int_equal(store_init(f->path, &from, &to, &e), -1);
	assert_non_null(strstr(e.text, "by_domain already exists"));
	answers_same("pragma user_version", f->path, o.kept);
	rows_same(f->path, o.kept);
	assert_int_equal(sqlite3_open(f->path, &h), SQLITE_OK);
	sqlite3_exec(h, "drop view by_domain", NULL, NULL, NULL);
	sqlite3_close(h);
	assert_int_equal(store_init(f->path, &from, &to, &e), 0);
	char *mine = answer(f->path, "select * from mine");
	assert_string_equal(mine, "1");
	free(mine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_dir(from_1),
		unit_dir(from_2),
		unit_dir(killed_at_every_call),
		unit_dir(waits_for_the_flusher_without_the_queue),
		unit_dir(damage_stops_it),
		unit_dir(what_stands_in_the_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
