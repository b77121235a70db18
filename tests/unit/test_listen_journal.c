/*
 * The journal: what it says of a token in each of its states, twins, what a restart remembers,
 * and many threads at once.
 */
#include "journal_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* One token's whole life in one process, and what is said of it at each point. */
static void test_states(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1];
	struct message *m = fixture_message(w->replies, "a", "1", true);

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND); /* nothing is known */
	journal_release(w->journal, m, 0, "451 4.4.1 x");
	assert_int_equal(claim(w, m, answer), JOURNAL_SEND); /* nothing was sent */
	give_to_ses(w, m, false);
	settle(w, m, "554 5.0.0 no");
	assert_int_equal(claim(w, m, answer), JOURNAL_SEND); /* refused: may come again */
	give_to_ses(w, m, false);
	journal_release(w->journal, m, 0, "451 4.4.2 lost");
	assert_int_equal(claim(w, m, answer), JOURNAL_DOUBT); /* no answer came */
	give_to_ses(w, m, true);
	settle(w, m, "250 2.0.0 Ok 17 wait=0.001 ses=0.002");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(claim(w, m, answer), JOURNAL_DONE);
		assert_string_equal(answer, "250 2.0.0 Ok 17 wait=0.001 ses=0.002");
	}
	message_unref(m);
	/* the same token of another client is another token */
	m = fixture_message(w->replies, "b", "1", true);
	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	journal_release(w->journal, m, 0, "451 4.4.1 x");
	message_unref(m);
}

static int64_t doubts(struct world *w)
{
	struct journal_db db;
	struct err e = { 0 };
	int64_t n = -1;

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(db_pragma(&db.db, "SELECT total(doubts) FROM once", &n, &e), 0);
	journal_db_close(&db);
	return n;
}

/* A process that dies between the dot and the answer. */
static void test_restart(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1], offer[100];
	struct message *m = fixture_message(w->replies, "a", "1", true);
	struct message *done = fixture_message(w->replies, "a", "2", true);

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	assert_int_equal(claim(w, done, answer), JOURNAL_SEND);
	give_to_ses(w, m, false);
	give_to_ses(w, done, false);
	settle(w, done, "250 2.0.0 Ok 2");
	journal_release(w->journal, m, 0, "-"); /* a process that dies does not get so far */
	snprintf(offer, sizeof offer, "%s", journal_offer(w->journal));
	journal_close(w->journal);
	open_it(w);
	assert_string_equal(journal_offer(w->journal), offer);
	assert_non_null(strstr(offer, " 2592000"));
	assert_int_equal(claim(w, done, answer), JOURNAL_DONE);
	assert_string_equal(answer, "250 2.0.0 Ok 2");
	assert_int_equal(doubts(w), 0);
	assert_int_equal(claim(w, m, answer), JOURNAL_DOUBT);
	give_to_ses(w, m, true);
	settle(w, m, "250 2.0.0 Ok 1");
	assert_int_equal(doubts(w), 1);
	message_unref(m);
	message_unref(done);
}

/* The power went, or a kill came, while the file was being made: the next start makes it whole. One
 * that holds something of somebody else's stays as it is. */
static void test_a_making_cut_short(void **state)
{
	static const struct {
		const char *sql;
		int result;
	} table[] = {
		{ "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA user_version=1; PRAGMA user_version=0",
			0 },
		{ "PRAGMA journal_mode=WAL; PRAGMA user_version=1; PRAGMA user_version=0", 0 },
		{ "CREATE TABLE theirs(x)", -1 },
		{ "PRAGMA application_id=7", -1 },
	};
	struct world *w = *state;
	struct journal *journal;
	struct err e = { 0 };
	char path[128];

	snprintf(path, sizeof path, "%s/other.db", w->dir);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		sqlite3 *db;
		assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, table[i].sql, NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		assert_int_equal(journal_open(&journal,
					 &(struct journal_options) { path, KEEP_MS, NULL }, &e),
			table[i].result);
		if (table[i].result == 0)
			journal_close(journal);
		else
			assert_non_null(strstr(e.text, "other.db: is not "));
		remove_database(path);
	}
}

static void test_twins(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1];
	struct buf said;
	struct message *first = fixture_message(w->replies, "a", "1", true);
	struct message *twin = fixture_message(w->replies, "a", "1", true);
	struct message *other = fixture_message(w->replies, "b", "1", true);

	buf_init(&said, 4096);
	assert_int_equal(claim(w, first, answer), JOURNAL_SEND);
	assert_int_equal(claim(w, twin, answer), JOURNAL_TWIN);
	assert_int_equal(claim(w, other, answer), JOURNAL_SEND);
	assert_int_equal(replies_owe(w->replies, twin), 0);
	replies_take(w->replies, &said);
	assert_int_equal(said.len, 0);
	give_to_ses(w, first, false);
	settle(w, first, "250 2.0.0 Ok 1");
	replies_take(w->replies, &said);
	assert_string_equal(buf_str(&said), "250 2.0.0 Ok 1\r\n");
	journal_release(w->journal, other, 0, "-");
	buf_done(&said);
	message_unref(first);
	message_unref(twin);
	message_unref(other);
}

/* An operator who settles what is in doubt does not know SES's words, or writes his own. */
static void test_settled_by_hand(void **state)
{
	static const char *const answers[] = { "NULL", "''", "'it was sent'",
		"'250 a'||char(13,10)||'b'" };
	struct world *w = *state;
	char answer[ANSWER_MAX + 1], statement[200];
	struct message *m = fixture_message(w->replies, "a", "1", true);

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	give_to_ses(w, m, false);
	journal_release(w->journal, m, 0, "451 4.4.2 lost");
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		snprintf(statement, sizeof statement, "UPDATE once SET state='sent',answer=%s",
			answers[i]);
		by_hand(w, statement);
		assert_int_equal(claim(w, m, answer), JOURNAL_DONE);
		assert_string_equal(answer, "250 2.0.0 cenmail: sent, as the journal says");
	}
	message_unref(m);
}

/* A person's shell that holds a read transaction stops checkpoints, not mail. */
static void test_a_reader_in_the_way(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1], once[33];
	struct journal_db db;
	struct err e = { 0 };
	struct message *m = fixture_message(w->replies, "a", "1", true);

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(db_exec(&db.db, "BEGIN;SELECT * FROM once", &e), 0);
	int64_t began = clock_mono_ms();
	for (unsigned i = 0; i < 150; i++) { /* beyond the WAL's bound */
		snprintf(once, sizeof once, "%032x", i * 2654435761u);
		memcpy(m->rcpt[0].once, once, sizeof once);
		assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
		give_to_ses(w, m, false);
		settle(w, m, "250 2.0.0 Ok");
	}
	assert_true(clock_mono_ms() - began < 4000); /* one wait would have taken five seconds */
	journal_db_close(&db);
	message_unref(m);
}

/* Writes fail when the rules of the schema are broken: nothing may be sent then. */
static void test_a_write_that_fails(void **state)
{
	struct world *w = *state;
	char answer[ANSWER_MAX + 1];
	struct err e = { 0 };
	struct message *m = fixture_message(w->replies, "a", "1", true);
	struct journal_row row = { .m = m };

	assert_int_equal(claim(w, m, answer), JOURNAL_SEND);
	m->rcpt[0].once[31] = '\0';
	assert_int_equal(write_sending(w, &row, &e), -1);
	assert_true(e.text[0] != '\0');
	m->rcpt[0].once[31] = '1';
	assert_int_equal(write_sending(w, &row, &e), 0); /* and the next one works */
	settle(w, m, "250 2.0.0 Ok 1");
	message_unref(m);
}

/* --- many at once --- */

static atomic_uint syncs;
static atomic_bool held; /* the next sync waits for a word */
static sem_t entered, leave;

int fdatasync(int fd)
{
	atomic_fetch_add(&syncs, 1);
	if (atomic_exchange(&held, false)) {
		sem_post(&entered);
		while (sem_wait(&leave) < 0)
			;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

/* What comes while the disk is busy with one shares the next sync. */
static void test_commits_are_shared(void **state)
{
	struct world *w = *state;
	struct message *m[10];
	struct journal_row row[10];
	struct journal_job job[10];

	sem_init(&entered, 0, 0);
	sem_init(&leave, 0, 0);
	for (unsigned i = 0; i < 10; i++) {
		m[i] = fixture_message(w->replies, "a", "0", true);
		snprintf(m[i]->rcpt[0].once, sizeof m[i]->rcpt[0].once, "%032x", i);
		row[i] = (struct journal_row) { .m = m[i] };
	}
	atomic_store(&syncs, 0);
	atomic_store(&held, true);
	journal_begin(w->journal, &job[0], &row[0], 1);
	while (sem_wait(&entered) < 0)
		;
	for (unsigned i = 1; i < 10; i++)
		journal_begin(w->journal, &job[i], &row[i], 1);
	sem_post(&leave);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(journal_end(&job[i], NULL), 0);
		message_unref(m[i]);
	}
	assert_int_equal(atomic_load(&syncs), 2);
	assert_int_equal(number_of(w, "SELECT count(*) FROM in_doubt"), 10);
	sem_destroy(&entered);
	sem_destroy(&leave);
}

#define THREADS 8
#define ROUNDS  40

static atomic_uint sent;

/* All threads bring the same tokens: each is sent by one of them. */
static void *bring(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		char answer[ANSWER_MAX + 1];
		struct message *m = fixture_message(w->replies, "a", "0", true);
		snprintf(m->rcpt[0].once, sizeof m->rcpt[0].once, "%032x", i * 2654435761u);
		enum journal_says says = claim(w, m, answer);
		if (says == JOURNAL_SEND) {
			give_to_ses(w, m, false);
			atomic_fetch_add(&sent, 1);
			settle(w, m, "250 2.0.0 Ok");
		} else {
			assert_true(says == JOURNAL_DONE || says == JOURNAL_TWIN);
		}
		message_unref(m);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct world *w = *state;
	pthread_t t[THREADS];

	atomic_store(&sent, 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, bring, w), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&sent), ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_states),
		TEST(test_restart),
		TEST(test_a_making_cut_short),
		TEST(test_twins),
		TEST(test_settled_by_hand),
		TEST(test_a_reader_in_the_way),
		TEST(test_a_write_that_fails),
		TEST(test_commits_are_shared),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
