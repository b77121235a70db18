/*
 * The token bucket: the rate, what it learns without one, and going on in another process.
 * (Throttling under a limit: test_listen_pace.c.)
 */
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Recipients that may go from `from` to `to`, one at a time, taken whenever it allows. */
static unsigned sent_between(struct bucket *b, int64_t from, int64_t to)
{
	unsigned n = 0;

	for (int64_t now = from; now < to; now++)
		for (; bucket_wait(b, 1, now) == 0 && n < 1000000; n++)
			bucket_take(b, 1, now);
	return n;
}

static void a_second_at_once_and_then_the_rate(void **state)
{
	struct bucket b;

	bucket_init(&b, 14, 0);
	assert_int_equal(sent_between(&b, 0, 1), 14);
	assert_int_equal(sent_between(&b, 1, 10001), 140);
	bucket_init(&b, 0.5, 0);
	assert_int_equal(sent_between(&b, 0, 10000), 5);
}

static void a_wait_is_never_too_short(void **state)
{
	static const double rates[] = { 0.016, 0.3, 1, 7, 14, 333, 99999 };

	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
		for (unsigned n = 1; n <= 50; n++) {
			struct bucket b;
			bucket_init(&b, rates[i], 0);
			bucket_take(&b, 120, 0);
			int64_t ms = bucket_wait(&b, n, 0);
			assert_int_equal(bucket_wait(&b, n, ms), 0);
		}
}

static void without_a_limit_it_begins_from_what_was_taken(void **state)
{
	struct bucket b;

	bucket_init(&b, 0, 0);
	for (int64_t now = 0; now < 5500; now += 10)
		bucket_take(&b, 1, now); /* 100 a second */
	bucket_throttled(&b, 5400, 5500);
	assert_true(b.rate == 50);
	assert_int_equal(bucket_wait(&b, 1, 5500), 21);
	for (int64_t now = 6000; now < 6100; now++)
		bucket_throttled(&b, now, now);
	assert_true(b.rate == 1); /* no account has less */
	for (int64_t now = 7000; now < 70000; now += 1000)
		bucket_well(&b, now);
	assert_false(bucket_is_slow(&b));
	assert_int_equal(bucket_wait(&b, 50, 70000), 0);
	/* what was taken long ago is no measure */
	bucket_init(&b, 0, 0);
	bucket_take(&b, 1000, 0);
	bucket_throttled(&b, 9000, 9000);
	assert_true(b.rate == 1);
}

static void a_limit_that_was_set_far_too_high_is_left_behind(void **state)
{
	struct bucket b;

	bucket_init(&b, 1000, 0);
	for (int64_t now = 0; now < 100; now++)
		bucket_throttled(&b, now, now);
	assert_true(b.rate == 1);
}

static void another_process_goes_on(void **state)
{
	struct bucket b, next;
	int64_t full_ms;
	double rate;

	bucket_init(&b, 14, 0);
	bucket_take(&b, 7, 0);
	bucket_save(&b, 0, &full_ms, &rate);
	assert_int_equal(full_ms, 500);
	assert_true(rate == 0);
	bucket_init(&next, 14, 9);
	bucket_restore(&next, full_ms, rate, 50, 9);
	assert_int_equal(bucket_wait(&next, 7, 9), 0);
	assert_int_equal(bucket_wait(&next, 8, 9), 72);
	/* overdrawn, and throttled */
	bucket_take(&b, 50, 0);
	bucket_throttled(&b, 0, 0);
	bucket_save(&b, 0, &full_ms, &rate);
	assert_true(rate == 7);
	bucket_init(&next, 14, 9);
	bucket_restore(&next, full_ms, rate, 50, 9);
	assert_true(bucket_is_slow(&next) && next.rate == 7);
	assert_int_equal(bucket_wait(&next, 1, 9), bucket_wait(&b, 1, 0));
	/* the limit is lower by now */
	bucket_init(&next, 5, 9);
	bucket_restore(&next, 0, rate, 50, 9);
	assert_true(next.rate == 5);
	/* and gone */
	bucket_init(&next, 0, 9);
	bucket_restore(&next, 0, rate, 50, 9);
	assert_true(next.rate == 7 && bucket_is_slow(&next));
	for (int64_t now = 1000; now < 70000; now += 1000)
		bucket_well(&next, now);
	assert_false(bucket_is_slow(&next));
	/* nothing to say */
	bucket_init(&b, 0, 0);
	bucket_take(&b, 50, 0);
	bucket_save(&b, 0, &full_ms, &rate);
	assert_true(full_ms == 0 && rate == 0);
}

/* What stands in the queue may have been written by anybody: no wait is longer than what a batch of
 * 50 makes at the slowest rate that throttling leads to. */
static void what_another_process_can_not_have_said(void **state)
{
	static const struct {
		double limit;
		int64_t full_ms;
		double rate, becomes;
		int64_t wait;
	} rows[] = {
		{ 0, 0, 0.001, 1, 0 },
		{ 0, 3600000, 0.001, 1, 51000 },
		{ 0, 3600000, 1000, 1000, 51 },
		{ 0, 3600000, 2147483, 2147483, 0 },
		{ 0, 3600000, 0, 0, 0 },
		{ 16, 3600000, 0.001, 1, 51000 },
		{ 8, 3600000, 0.001, 0.5, 102000 },
		{ 14, 3600000, 0, 14, 3642 },
		{ 14, 3600000, 1e9, 14, 3642 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct bucket b;

		bucket_init(&b, rows[i].limit, 9);
		bucket_restore(&b, rows[i].full_ms, rows[i].rate, 50, 9);
		assert_true(b.rate == rows[i].becomes);
		assert_in_range(bucket_wait(&b, 1, 9), rows[i].wait, rows[i].wait + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_at_once_and_then_the_rate),
		cmocka_unit_test(a_wait_is_never_too_short),
		cmocka_unit_test(without_a_limit_it_begins_from_what_was_taken),
		cmocka_unit_test(a_limit_that_was_set_far_too_high_is_left_behind),
		cmocka_unit_test(another_process_goes_on),
		cmocka_unit_test(what_another_process_can_not_have_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
