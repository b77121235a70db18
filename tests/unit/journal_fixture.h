/*
 * A journal in a directory of its own, and the calls on it that tests make all the time.
 */
#ifndef CENMAIL_JOURNAL_FIXTURE_H
#define CENMAIL_JOURNAL_FIXTURE_H

#include "listen_fixture.h"

#include "base/clock.h"
#include "listen/journal_db.h"

#include <unistd.h>

#define KEEP_MS ((int64_t)30 * 86400000)

struct world {
	char dir[64], path[96];
	struct journal *journal;
	struct replies *replies;
};

static inline void open_it(struct world *w)
{
	struct err e = { 0 };

	if (journal_open(&w->journal, &(struct journal_options) { w->path, KEEP_MS, NULL }, &e) < 0)
		fail_msg("%s", e.text);
}

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	snprintf(w->dir, sizeof w->dir, "/tmp/cenmail-journal.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/journal.db", w->dir);
	open_it(w);
	w->replies = replies_new();
	*state = w;
	return 0;
}

static inline void remove_database(const char *database)
{
	static const char *const ends[] = { "", "-wal", "-shm", ".lock" };

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		char path[160];
		snprintf(path, sizeof path, "%s%s", database, ends[i]);
		(void)unlink(path);
	}
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	journal_close(w->journal);
	replies_abandon(w->replies);
	replies_unref(w->replies);
	remove_database(w->path);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

static inline enum journal_says claim(
	struct world *w, struct message *m, char answer[ANSWER_MAX + 1])
{
	struct err e = { 0 };

	return journal_claim(w->journal, m, 0, answer, &e);
}

static inline int write_sending(struct world *w, const struct journal_row *row, struct err *e)
{
	struct journal_job job;

	journal_begin(w->journal, &job, row, 1);
	return journal_end(&job, e);
}

static inline void give_to_ses(struct world *w, struct message *m, bool doubt)
{
	struct journal_row row = { .m = m, .doubt = doubt };

	assert_int_equal(write_sending(w, &row, NULL), 0);
}

struct awaited {
	struct journal_job job;
	sem_t written;
};

static inline void on_written(struct journal_job *job)
{
	sem_post(&((struct awaited *)job)->written);
}

static inline void settle(struct world *w, struct message *m, const char *answer)
{
	struct journal_row row = { .m = m, .answer = answer, .sent = answer[0] == '2' };

	struct awaited a;

	sem_init(&a.written, 0, 0);
	journal_settle(w->journal, &a.job, &row, 1, on_written);
	while (sem_wait(&a.written) < 0)
		;
	sem_destroy(&a.written);
	assert_int_equal(a.job.result, 0);
}

static inline void by_hand(struct world *w, const char *statement)
{
	struct journal_db db;
	struct err e = { 0 };

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(db_exec(&db.db, statement, &e), 0);
	journal_db_close(&db);
}

static inline int64_t number_of(struct world *w, const char *question)
{
	struct journal_db db;
	struct err e = { 0 };
	int64_t n = -1;

	assert_int_equal(journal_db_open(&db, w->path, false, &e), 0);
	assert_int_equal(db_pragma(&db.db, question, &n, &e), 0);
	journal_db_close(&db);
	return n;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
