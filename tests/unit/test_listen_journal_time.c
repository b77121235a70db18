/*
 * The journal over the time: what it forgets and when, clocks that jump, backups, versions, counts.
 */
#include "journal_fixture.h"

/* Both are the caller's to free. */
static char *whole_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 65536);

	assert_non_null(f);
	assert_true(fread(text, 1, 65535, f) > 0);
	fclose(f);
	return text;
}

static char *text_of(struct world *w, const char *question)
{
	struct journal_db db;
	struct err e = { 0 };
	sqlite3_stmt *s;

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(sqlite3_prepare_v2(db.db.handle, question, -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	char *text = strdup((const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	journal_db_close(&db);
	return text;
}

static void send_one(struct world *w, const char *token)
{
	char answer[ANSWER_MAX + 1];
	struct message *m = fixture_message(w->replies, "a", token, true);

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	give_to_ses(w, m, false);
	settle(w, m, "250 2.0.0 Ok 1");
	message_unref(m);
}

static enum journal_says says_of(struct world *w, const char *token)
{
	char answer[ANSWER_MAX + 1];
	struct message *m = fixture_message(w->replies, "a", token, true);
	enum journal_says says = claim(w, m, answer);

	if (says == JOURNAL_SEND || says == JOURNAL_DOUBT)
		journal_release(w->journal, m, 0, "-");
	message_unref(m);
	return says;
}

static void prune(struct world *w, int64_t ran)
{
	struct journal_db db;
	struct err e = { 0 };
	bool more = true;

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(journal_db_prune(&db, (struct journal_age) { ran, 0 }, &more, &e), 0);
	assert_false(more);
	journal_db_close(&db);
}

static void test_pruned(void **state)
{
	struct world *w = *state;

	send_one(w, "1");
	prune(w, KEEP_MS);
	assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
	prune(w, KEEP_MS + 7200000);
	assert_int_equal(says_of(w, "1"), JOURNAL_SEND);
}

#define OLD_ROWS  20000
#define OLD_HOURS 5000

/* Much that is old at once, as after keep_journal was made shorter: mail never waits for more than
 * one small step. */
static void test_pruned_in_small_steps(void **state)
{
	static const char fill[] =
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) "
		"INSERT INTO once SELECT 'a',lower(hex(randomblob(16))),'sent',1,i,0,'r@x','M1',"
		"'250 2.0.0 Ok 0106-1' FROM n;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000) "
		"INSERT INTO tally SELECT i,'a',1,0,0,0,0,0 FROM n";
	const struct journal_age before = { OLD_ROWS / 2, OLD_HOURS / 2 };
	struct world *w = *state;
	struct journal_db db;
	struct err e = { 0 };
	int64_t rows = OLD_ROWS, hours = OLD_HOURS;
	bool more = true;

	journal_close(w->journal); /* its thread has a step of its own to make */
	w->journal = NULL;
	by_hand(w, fill);
	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	while (more) {
		int64_t had_rows = rows, had_hours = hours;
		assert_int_equal(journal_db_prune(&db, before, &more, &e), 0);
		assert_int_equal(db_pragma(&db.db, "SELECT count(*) FROM once", &rows, &e), 0);
		assert_int_equal(db_pragma(&db.db, "SELECT count(*) FROM tally", &hours, &e), 0);
		assert_in_range(had_rows - rows, 0, OLD_ROWS / 10);
		assert_in_range(had_hours - hours, 0, OLD_HOURS / 10);
		assert_true(!more || had_rows > rows || had_hours > hours);
	}
	journal_db_close(&db);
	/* what is not old is there: until and hour are its first moments */
	assert_int_equal(rows, OLD_ROWS / 2 + 1);
	assert_int_equal(hours, OLD_HOURS / 2 + 1);
}

/* The thread does it by itself, step by step, as soon as it is there. */
static void test_the_thread_prunes(void **state)
{
	struct world *w = *state;

	send_one(w, "1");
	journal_close(w->journal);
	by_hand(w, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) "
		   "INSERT INTO once SELECT 'a',lower(hex(randomblob(16))),'sent',1,i,0,'r@x','M1',"
		   "'250 2.0.0 Ok 0106-1' FROM n;UPDATE journal SET ran=100000");
	open_it(w);
	for (int64_t end = clock_mono_ms() + 20000;
		number_of(w, "SELECT count(*) FROM once") > 1 && clock_mono_ms() < end;)
		(void)usleep(20000);
	assert_int_equal(number_of(w, "SELECT count(*) FROM once"), 1);
	assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
}

/* F8, C12: the clock jumps, while it runs and in between: nothing is forgotten before its time. The
 * thread prunes when it starts. */
static void test_the_clock_jumps(void **state)
{
	static const int64_t jump[] = { 3650 * (int64_t)86400000, -7300 * (int64_t)86400000,
		3650 * (int64_t)86400000 };
	struct world *w = *state;

	send_one(w, "1");
	for (size_t i = 0; i < sizeof jump / sizeof *jump; i++) {
		clock_shift_wall(jump[i]);
		send_one(w, i == 0 ? "2" : i == 1 ? "3" : "4");
		journal_close(w->journal);
		open_it(w);
		assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
	}
	assert_int_equal(number_of(w, "SELECT count(*) FROM once"), 4);
	assert_true(number_of(w, "SELECT ran FROM journal") < 60000);
}

/* keep_journal made shorter: what was promised before is kept. */
static void test_a_shorter_memory(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	send_one(w, "1");
	journal_close(w->journal);
	assert_int_equal(
		journal_open(&w->journal, &(struct journal_options) { w->path, 3600000, NULL }, &e),
		0);
	send_one(w, "2");
	prune(w, 3 * (int64_t)3600000);
	assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
	assert_int_equal(says_of(w, "2"), JOURNAL_SEND);
}

static void copy_file(const char *from, const char *to)
{
	char octets[65536];
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	size_t n;

	assert_true(in && out);
	while ((n = fread(octets, 1, sizeof octets, in)) > 0)
		assert_int_equal(fwrite(octets, 1, n, out), n);
	fclose(in);
	assert_int_equal(fclose(out), 0);
}

/* F8: an older copy is put back: flushers must not take its silence for an answer. */
static void test_an_old_backup(void **state)
{
	struct world *w = *state;
	char offer[100], backup[200], path[200];

	send_one(w, "1");
	journal_close(w->journal);
	snprintf(backup, sizeof backup, "%s/backup", w->dir);
	copy_file(w->path, backup);
	open_it(w);
	snprintf(offer, sizeof offer, "%s", journal_offer(w->journal));
	send_one(w, "2");
	journal_close(w->journal);
	open_it(w);
	assert_string_equal(journal_offer(w->journal), offer);
	journal_close(w->journal);
	snprintf(path, sizeof path, "%s-wal", w->path);
	(void)unlink(path);
	copy_file(backup, w->path);
	open_it(w);
	assert_string_not_equal(journal_offer(w->journal), offer);
	assert_int_equal(says_of(w, "1"), JOURNAL_DONE); /* what it knows it knows */
	snprintf(offer, sizeof offer, "%s", journal_offer(w->journal));
	journal_close(w->journal);
	open_it(w);
	assert_string_equal(journal_offer(w->journal), offer);
	assert_int_equal(unlink(backup), 0);
}

/* A process that dies at any point of renewing the mark does not take the journal for a copy. */
static void test_a_mark_half_renewed(void **state)
{
	struct world *w = *state;
	char offer[100];

	snprintf(offer, sizeof offer, "%s", journal_offer(w->journal));
	journal_close(w->journal);
	by_hand(w, "UPDATE journal SET mark_before=mark,mark='00112233445566778899aabbccddeeff'");
	open_it(w);
	assert_string_equal(journal_offer(w->journal), offer);
}

/* A journal of version 1, in use until now. */
static void test_migration(void **state)
{
	static const char data[] =
		"INSERT INTO journal VALUES(1,'000102030405060708090a0b0c0d0e0f',1764000000000);"
		"INSERT INTO once "
		"VALUES('a','11111111111111111111111111111111','sent',1764000000000,0,"
		"'r@x','M1','250 2.0.0 Ok 0106-1 wait=0.001 ses=0.002');"
		"INSERT INTO once VALUES('a','22222222222222222222222222222222','sending',"
		"1764000000000,2,'r@x','M2',NULL);"
		"INSERT INTO once VALUES('b','11111111111111111111111111111111','failed',"
		"1764000000000,0,'r@x','M3','554 5.0.0 no');"
		"PRAGMA application_id=1667591786;PRAGMA user_version=1;";
	static const char schema[] = "SELECT group_concat(sql,';') FROM (SELECT sql FROM"
				     " sqlite_master WHERE sql IS NOT NULL ORDER BY type,name)";
	struct world *w = *state;
	char *sql = whole_file("tests/data/journal-1.sql"), *made, *fresh;
	sqlite3 *db;

	fresh = text_of(w, schema);
	journal_close(w->journal);
	remove_database(w->path);
	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA auto_vacuum=INCREMENTAL;PRAGMA journal_mode=WAL",
				 NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, data, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	open_it(w);
	assert_string_equal(journal_offer(w->journal), "000102030405060708090a0b0c0d0e0f 2592000");
	made = text_of(w, schema);
	assert_string_equal(made, fresh);
	assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
	assert_int_equal(says_of(w, "2"), JOURNAL_DOUBT);
	assert_int_equal(number_of(w, "SELECT count(*) FROM once WHERE until>=2592000000"), 3);
	assert_int_equal(number_of(w, "SELECT doubts FROM in_doubt"), 2);
	assert_int_equal(number_of(w, "SELECT ses_id='0106-1' FROM relayed WHERE state='sent'"), 1);
	prune(w, KEEP_MS);
	assert_int_equal(number_of(w, "SELECT count(*) FROM once"), 3);
	free(sql);
	free(made);
	free(fresh);
}

/* SES throttles, and in the pause the process dies: nothing is in doubt. */
static void test_refused_and_still_claimed(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1];
	struct message *m = fixture_message(w->replies, "a", "1", true);
	struct message *twin = fixture_message(w->replies, "a", "1", true);
	struct journal_row row = { .m = m, .answer = "454 4.0.0 Throttling" };

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	give_to_ses(w, m, false);
	assert_int_equal(journal_refused(w->journal, &row, 1, NULL), 0);
	assert_int_equal(number_of(w, "SELECT count(*) FROM in_doubt"), 0);
	assert_int_equal(claim(w, twin, answer), JOURNAL_TWIN);
	give_to_ses(w, m, false);
	settle(w, m, "250 2.0.0 Ok 1");
	assert_string_equal(twin->rcpt[0].answer, "250 2.0.0 Ok 1");
	message_unref(m);
	message_unref(twin);
}

/* What the views count, before and after a restart; and what the pace has given. */
static void test_counts(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	struct pace pace;
	int64_t ms;

	journal_close(w->journal);
	for (int i = 0; i < 2; i++) {
		const struct journal_options o = { w->path, KEEP_MS, &pace };
		pace_init(&pace, 0, 5, clock_mono_ms());
		assert_int_equal(journal_open(&w->journal, &o, &e), 0);
		assert_int_equal(pace.used, i == 0 ? 0 : 3);
		(void)pace_take(&pace, 3, false, 0, clock_mono_ms(), &ms);
		if (i == 0)
			send_one(w, "1");
		assert_int_equal(says_of(w, "1"), JOURNAL_DONE);
		for (unsigned k = 0; k < 40; k++) { /* more clients than are told apart */
			char name[8];
			snprintf(name, sizeof name, "c%u", k);
			journal_count(w->journal, name, TALLY_THROTTLED, 2);
		}
		journal_close(w->journal);
		pace_done(&pace);
	}
	open_it(w);
	assert_int_equal(number_of(w, "SELECT sum(sent)*1000+sum(repeated)*100+sum(throttled)"
				      " FROM hourly"),
		1000 + 200 + 160);
	assert_int_equal(number_of(w, "SELECT sent*10+repeated FROM clients WHERE client='a'"), 12);
	assert_true(number_of(w, "SELECT throttled FROM clients WHERE client='others'") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pruned),
		TEST(test_pruned_in_small_steps),
		TEST(test_the_thread_prunes),
		TEST(test_the_clock_jumps),
		TEST(test_a_shorter_memory),
		TEST(test_an_old_backup),
		TEST(test_a_mark_half_renewed),
		TEST(test_migration),
		TEST(test_refused_and_still_claimed),
		TEST(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
