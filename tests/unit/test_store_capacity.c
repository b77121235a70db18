/* The ceilings: who is refused when, and that it costs as much at many as at none. */
#include "tests/unit/store_fixture.h"

#include "store/capacity.h"

#include <sys/statvfs.h>

/* What store_put answers to one more message of that uid: 0, or the code. */
static int put(struct fixture *f, uid_t uid, uint64_t user_max, uint64_t queue_max, struct err *e)
{
	struct fixture_mail x;
	int64_t id;
	fixture_mail(&x, "Subject: x\r\n\r\nbody\r\n", "a@example.com", NULL);
	x.m.uid = uid;
	x.m.user_max = user_max;
	x.m.queue_max = queue_max;
	*e = (struct err) { 0 };
	return store_put(f->s, &x.m, &id, e) == 0 ? 0 : e->code;
}

static void test_user_max(void **state)
{
	struct fixture *f = *state;
	struct err e;
	for (int i = 0; i < 5; i++)
		assert_int_equal(put(f, 1000, 5, 0, &e), 0);
	assert_int_equal(put(f, 1000, 5, 0, &e), EX_UNAVAILABLE);
	assert_non_null(strstr(e.text, "uid 1000 has 5 messages waiting (user_max)"));
	ask_is(f, "select count(*) from message", "5");
	assert_int_equal(put(f, 1001, 5, 0, &e), 0); /* another user's are his own */
	assert_int_equal(put(f, 0, 5, 0, &e), 0);    /* root is exempt */
	assert_int_equal(put(f, 1000, 0, 0, &e), 0); /* and so are all where it is not set */
	ask_is(f, "select count(*) from place", "6");
}

/* However a message ends, its place is free: nobody has to say so. */
static void test_places_become_free(void **state)
{
	static const char *const ends[] = { "update recipient set state='failed' where message=1",
		"delete from message where id=2", "delete from recipient where message=3" };
	struct fixture *f = *state;
	struct err e;
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(f, 1000, 3, 0, &e), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(put(f, 1000, 3, 0, &e), EX_UNAVAILABLE);
		by_hand(f, ends[i]);
		assert_int_equal(put(f, 1000, 3, 0, &e), 0);
	}
	by_hand(f, "update recipient set state='held' where message=4"); /* it waits */
	assert_int_equal(put(f, 1000, 3, 0, &e), EX_UNAVAILABLE);
	by_hand(f,
		"update recipient set state='queued' where message=1"); /* sent again: one more */
	assert_int_equal(put(f, 1000, 3, 0, &e), EX_UNAVAILABLE);
	ask_is(f, "select count(*) from place", "3");
}

static void test_other_ceilings_later(void **state)
{
	struct fixture *f = *state;
	struct err e;
	for (int i = 0; i < 4; i++)
		assert_int_equal(put(f, 1000, 4, 0, &e), 0);
	assert_int_equal(put(f, 1000, 2, 0, &e), EX_UNAVAILABLE);
	assert_int_equal(put(f, 1000, 6, 0, &e), 0);
	assert_int_equal(put(f, 1000, 6, 0, &e), 0);
	assert_int_equal(put(f, 1000, 6, 0, &e), EX_UNAVAILABLE);
}

/* A message that is there already is not counted, nor refused. */
static void test_the_same_again(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct err e;
	int64_t id = 0;
	fixture_mail(&x, "\r\n", "a@example.com", NULL);
	x.m.user_max = 1;
	assert_int_equal(store_put(f->s, &x.m, &id, &e), 0);
	assert_int_equal(store_put(f->s, &x.m, &id, &e), 0);
	assert_int_equal(id, 1);
}

static void test_queue_max(void **state)
{
	struct fixture *f = *state;
	const uint64_t max = 1 << 20;
	struct fixture_mail x;
	struct err e;
	char *big = calloc(1, max);
	int64_t id;
	assert_non_null(big);
	fixture_mail(&x, "", "a@example.com", NULL);
	x.m.content = span_make(big, max);
	x.m.queue_max = max;
	assert_int_equal(store_put(f->s, &x.m, &id, &e), 0); /* it was below it */
	free(big);
	assert_int_equal(put(f, 1000, 0, max, &e), EX_UNAVAILABLE);
	assert_non_null(strstr(e.text, "no more than 1 MB (queue_max)"));
	assert_int_equal(put(f, 0, 0, max, &e), EX_UNAVAILABLE); /* for root too */
	/* Free pages count for nothing, though the file is as large as it was. */
	by_hand(f, "delete from message");
	store_checkpoint(f->s, true);
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	assert_true((uint64_t)st.st_size > max);
	assert_int_equal(put(f, 1000, 0, max, &e), 0);
}

static void test_min_free(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct statvfs fs;
	assert_int_equal(capacity_disk(f->path, 0, &e), 0);
	assert_int_equal(capacity_disk(f->path, 1, &e), 0);
	/* Never more than a quarter of the file system; what is refused is in
	 * tests/e2e/test_disk.py. */
	assert_int_equal(statvfs(f->path, &fs), 0);
	assert_int_equal(
		capacity_disk(f->path, INT64_MAX, &e), fs.f_bavail < fs.f_blocks / 4 ? -1 : 0);
	assert_int_equal(capacity_disk("/nonexistent/queue.db", INT64_MAX, &e), 0);
}

/* Microseconds of a submission, the best of some. */
static int64_t cost(struct fixture *f, uint64_t user_max, int want)
{
	int64_t best = INT64_MAX;
	struct err e;
	for (int i = 0; i < 10; i++) {
		int64_t began = clock_mono_us();
		assert_int_equal(put(f, 1000, user_max, 0, &e), want);
		int64_t took = clock_mono_us() - began;
		best = took < best ? took : best;
	}
	return best;
}

/* A user with 20,000 of 20,000 places is refused, and one with 10,000 served, at the cost of a
 * sample: never that of going through all that waits. */
static void test_cost_with_many(void **state)
{
	struct fixture *f = *state;
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	int64_t before = cost(f, 0, 0);
	by_hand(f, "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n WHERE i<20099)"
		   " INSERT INTO message SELECT i,randomblob(16),1800000000000,1000,'',2,0,'',"
		   "NULL,NULL,0 FROM n");
	by_hand(f, "INSERT INTO recipient(message,address,once,next_try,since)"
		   " SELECT id,'a@example.com',randomblob(16),submitted,submitted FROM message"
		   " WHERE id>=100");
	by_hand(f, "INSERT INTO place SELECT uid,id-100,id FROM message WHERE id>=100");
	int64_t full = cost(f, 20000, EX_UNAVAILABLE), half = cost(f, 40000, 0),
		none = cost(f, 0, 0);
	printf("us: %lld empty; 20,000 waiting: %lld no ceiling, %lld with one, %lld refused\n",
		(long long)before, (long long)none, (long long)half, (long long)full);
	assert_true(full < before + 50000);
	assert_true(half < before + 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_user_max),
		unit(test_places_become_free),
		unit(test_other_ceilings_later),
		unit(test_the_same_again),
		unit(test_queue_max),
		unit(test_min_free),
		unit(test_cost_with_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
