/*
 * What keeps the listener at SES's pace: the bucket, the quota, whose turn it is, how many
 * connections there are, and a road that is down.
 */
#include "listen_fixture.h"

#include "base/clock.h"
#include "listen/pace.h"
#include "listen/pool.h"
#include "listen/uplink.h"

#include <pthread.h>
#include <string.h>

#define HOUR ((int64_t)3600000)

/* --- the pool --- */

static void test_pool(void **state)
{
	struct replies *r = replies_new();
	struct pool *p = pool_new(2, 1000, 10);
	struct seat seat;
	struct message *m[2], *got;

	(void)state;
	seat_init(&seat);
	assert_null(pool_take(p, &seat, false, clock_mono_ms()));
	for (int i = 0; i < 2; i++) {
		m[i] = fixture_message(r, "c", "-", true);
		assert_true(pool_room(p));
		pool_put(p, m[i]);
	}
	assert_false(pool_room(p));
	for (int i = 0; i < 2; i++) {
		got = pool_take(p, &seat, true, clock_mono_ms() + 1000);
		assert_ptr_equal(got, m[i]); /* first come, first served */
		pool_give_back(p, got);
		message_unref(m[i]);
		assert_true(pool_room(p));
	}
	/* octets count too */
	m[0] = fixture_message(r, "c", "-", true);
	char octets[1000] = "";
	assert_int_equal(spool_add(&m[0]->content, octets, sizeof octets, NULL), 0);
	pool_put(p, m[0]);
	assert_false(pool_room(p));
	pool_close(p);
	got = pool_take(p, &seat, true, clock_mono_ms() + 1000); /* what is there is finished */
	assert_ptr_equal(got, m[0]);
	pool_give_back(p, got);
	message_unref(m[0]);
	assert_null(pool_take(p, &seat, true, clock_mono_ms() + 100000));
	assert_true(pool_closed(p));
	seat_done(&seat);
	pool_free(p);
	replies_unref(r);
}

/* Two clients, one with a long queue: recipients in turn, from whenever the second comes. */
static void test_clients_take_turns(void **state)
{
	static const struct {
		const char *first, *second; /* tokens: how many recipients their messages have */
		const char *order;          /* whose messages come, after three of the first's */
	} table[] = { { "-", "-", "BABABABABA" }, { "-----", "-", "BBBBBAAAAA" },
		{ "-", "-----", "BAAAAABBBB" } };
	struct replies *r = replies_new();
	struct seat seat;

	(void)state;
	seat_init(&seat);
	for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
		struct pool *p = pool_new(100, 1000, 1);
		char got[14] = "", want[14];
		for (unsigned i = 0; i < 13; i++) {
			if (i == 3) /* the second is late */
				for (unsigned k = 0; k < 5; k++) {
					struct message *m =
						fixture_message(r, "B", table[t].second, true);
					pool_put(p, m);
					message_unref(m);
				}
			if (i == 0)
				for (unsigned k = 0; k < 8; k++) {
					struct message *m =
						fixture_message(r, "A", table[t].first, true);
					pool_put(p, m);
					message_unref(m);
				}
			struct message *m = pool_take(p, &seat, true, clock_mono_ms() + 1000);
			got[i] = m->client[0];
			pool_give_back(p, m);
		}
		snprintf(want, sizeof want, "AAA%s", table[t].order);
		assert_string_equal(got, want);
		(void)pool_take(p, &seat, false, clock_mono_ms());
		pool_free(p);
	}
	seat_done(&seat);
	replies_unref(r);
}

struct worker_alike {
	pthread_t thread;
	struct pool *pool;
	struct seat seat;
	bool warm;
	struct message *got;
};

static void *take_one(void *arg)
{
	struct worker_alike *w = arg;

	w->got = pool_take(w->pool, &w->seat, w->warm, clock_mono_ms() + 300);
	return NULL;
}

/* SES lets in two connections: the third worker leaves its message to them. */
static void test_too_many_connections(void **state)
{
	struct replies *r = replies_new();
	struct pool *p = pool_new(100, 1000, 3);
	struct worker_alike w[3] = { { .pool = p }, { .pool = p }, { .pool = p } };
	struct message *m = fixture_message(r, "A", "-", true);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		seat_init(&w[i].seat);
		pool_put(p, m);
		take_one(&w[i]);
		assert_ptr_equal(w[i].got, m);
	}
	assert_true(pool_crowded(p, clock_mono_ms()));
	pool_unget(p, m);
	take_one(&w[2]);
	assert_null(w[2].got); /* there are two already */
	pool_give_back(p, m);
	w[0].warm = true;
	take_one(&w[0]);
	assert_ptr_equal(w[0].got, m);
	pool_give_back(p, m);
	/* one of them loses its connection, and so the third may try */
	pool_give_back(p, m);
	pool_put(p, m);
	w[1].warm = false;
	assert_int_equal(pthread_create(&w[2].thread, NULL, take_one, &w[2]), 0);
	take_one(&w[1]);
	pthread_join(w[2].thread, NULL);
	assert_true(!w[1].got != !w[2].got);
	pool_give_back(p, m);
	/* after a minute without complaint, one more */
	assert_true(pool_crowded(p, clock_mono_ms() - 60001));
	for (unsigned i = 0; i < 3; i++)
		w[i].warm = false;
	take_one(&w[2]);
	pool_put(p, m);
	take_one(&w[1]);
	assert_ptr_equal(w[1].got, m);
	pool_give_back(p, m);
	for (unsigned i = 0; i < 3; i++) {
		w[i].warm = false;
		take_one(&w[i]);
		seat_done(&w[i].seat);
	}
	assert_false(pool_crowded(p, 0)); /* alone: not its own doing */
	pool_free(p);
	message_unref(m);
	replies_unref(r);
}

/* --- the pace --- */

static int64_t wait_of(struct pace *p, unsigned n, int64_t now)
{
	int64_t ms;

	assert_int_equal(pace_take(p, n, false, INT64_MAX, now, &ms), PACE_TAKEN);
	return ms;
}

static void test_rate(void **state)
{
	struct pace p;
	int64_t ms, wait;

	(void)state;
	pace_init(&p, 10000, 0, 0);              /* 10 a second */
	assert_int_equal(wait_of(&p, 10, 0), 0); /* a second's worth at once */
	wait = wait_of(&p, 5, 0);
	assert_in_range(wait, 500, 502);
	assert_int_equal(pace_take(&p, 5, false, 900, 0, &ms), PACE_RATE); /* too long */
	assert_in_range(ms, 1000, 1002);
	wait = wait_of(&p, 50, 1500); /* more than a second's worth: once the bucket is full */
	assert_int_equal(wait, 0);
	wait = wait_of(&p, 1, 1500); /* what comes after it waits */
	assert_in_range(wait, 4100, 4102);
	pace_done(&p);
}

/* Over any time, from any number of callers, no more than the rate and one second's worth. */
static void test_rate_holds_in_sum(void **state)
{
	struct pace p;
	int64_t last = 0;
	unsigned total = 0;

	(void)state;
	pace_init(&p, 14000, 0, 0);
	for (int64_t now = 0; now < 60000; now += 7) {
		int64_t ms;
		unsigned n = (unsigned)(now % 50) + 1;
		if (pace_take(&p, n, false, 2000, now, &ms) == PACE_TAKEN) {
			total += n;
			last = now + ms > last ? now + ms : last;
		}
	}
	assert_true(total <= 14 + 50 + 14 * (last + 999) / 1000);
	assert_true(total >= 14 * 59);
	pace_done(&p);
}

static void test_throttling(void **state)
{
	struct pace p;
	int64_t ms;

	(void)state;
	pace_init(&p, 10000, 0, 0);
	(void)wait_of(&p, 10, 0);
	pace_throttled(&p, 900, 1000);
	for (int i = 0; i < 9; i++) /* those that were on their way then are the same event */
		pace_throttled(&p, 900 + i, 1050);
	assert_true(p.bucket.rate == 5);
	for (int i = 0; i < 100; i++)
		pace_throttled(&p, 2000 + i, 2000 + i);
	assert_true(p.bucket.rate > 0.6 && p.bucket.rate < 0.7); /* never to a standstill */
	for (int i = 0; i < 10; i++)
		pace_went_well(&p, 3000); /* time counts, not how many */
	assert_true(p.bucket.rate < 0.9);
	for (int64_t now = 4000; now < 62000; now += 1000)
		pace_went_well(&p, now);
	assert_true(p.bucket.rate == 10);
	pace_done(&p);
	/* no limit, until SES says that there is one */
	pace_init(&p, 0, 0, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(wait_of(&p, 50, 0), 0);
	pace_throttled(&p, 0, 0);
	(void)wait_of(&p, 50, 0);
	assert_true(wait_of(&p, 50, 0) > 0);
	for (int64_t now = 1000; now < 62000; now += 1000)
		pace_went_well(&p, now);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(wait_of(&p, 50, 62000), 0);
	pace_done(&p);
	/* SES's own quota: nothing for as long as that is said */
	pace_init(&p, 0, 0, 0);
	pace_pause(&p, HOUR, 1000);
	assert_int_equal(pace_take(&p, 1, false, INT64_MAX, 2000, &ms), PACE_QUOTA);
	assert_int_equal(ms, HOUR - 1000);
	assert_int_equal(wait_of(&p, 1, HOUR + 1000), 0);
	pace_done(&p);
}

static void test_other_rates_while_running(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 10000, 0, 0);
	(void)wait_of(&p, 60, 0); /* 50 are promised */
	pace_set(&p, 100000, 0, 0);
	assert_in_range(wait_of(&p, 1, 0), 500, 520);
	pace_set(&p, 0, 64, 0);
	assert_int_equal(wait_of(&p, 3, 0), 0);
	int64_t ms;
	assert_int_equal(pace_take(&p, 1, false, INT64_MAX, 0, &ms), PACE_QUOTA);
	pace_done(&p);
}

static void test_quota(void **state)
{
	struct pace p;
	int64_t ms;

	(void)state;
	pace_init(&p, 0, 30, 0);
	assert_int_equal(wait_of(&p, 10, 0), 0);
	assert_int_equal(wait_of(&p, 15, 2 * HOUR), 0);
	assert_int_equal(pace_take(&p, 6, false, INT64_MAX, 2 * HOUR + 1, &ms), PACE_QUOTA);
	assert_int_equal(ms, 23 * HOUR - 1); /* when the 10 have gone */
	assert_int_equal(pace_take(&p, 16, false, INT64_MAX, 2 * HOUR + 1, &ms), PACE_QUOTA);
	assert_int_equal(ms, 25 * HOUR - 1); /* and the 15 */
	assert_int_equal(
		pace_take(&p, 6, true, INT64_MAX, 2 * HOUR, &ms), PACE_TAKEN); /* counted */
	pace_not_sent(&p, 1); /* SES did not get one of them after all */
	assert_int_equal(wait_of(&p, 6, 2 * HOUR), 0);
	assert_int_equal(pace_take(&p, 1, false, INT64_MAX, 24 * HOUR, &ms), PACE_QUOTA);
	assert_int_equal(wait_of(&p, 10, 25 * HOUR), 0);
	pace_not_sent(&p, 100);
	assert_int_equal(p.used, 20);
	assert_int_equal(wait_of(&p, 30, 60 * HOUR), 0);
	pace_done(&p);
}

/* C12: the process after this one starts at any time, by whatever clock: no more than the quota is
 * given within a day, and nothing waits for longer than a day. */
static void test_quota_outlives_the_process(void **state)
{
	static const struct {
		int64_t elapsed;
		int64_t wait; /* for 30 more; 0: none */
	} table[] = { { 0, 24 * HOUR + HOUR / 2 }, { HOUR, 23 * HOUR + HOUR / 2 },
		{ 10 * HOUR, 14 * HOUR + HOUR / 2 }, { 25 * HOUR, 0 },
		{ 24 * HOUR * 3650, 0 },                      /* the clock ten years on */
		{ -24 * HOUR * 365, 24 * HOUR + HOUR / 2 } }; /* and back */
	struct pace before, p;
	struct pace_given given;
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		pace_init(&before, 0, 30, 0);
		(void)wait_of(&before, 30, 5 * HOUR);
		pace_save(&before, 5 * HOUR + HOUR / 2, &given);
		pace_done(&before);
		pace_init(&p, 0, 30, 777);
		pace_restore(&p, &given, table[i].elapsed, 777);
		assert_int_equal(pace_take(&p, 30, false, INT64_MAX, 777, &ms),
			table[i].wait ? PACE_QUOTA : PACE_TAKEN);
		assert_int_equal(ms, table[i].wait);
		assert_int_equal(wait_of(&p, 30, 777 + 25 * HOUR + 24 * HOUR), 0);
		pace_done(&p);
	}
}

/* --- the road --- */

static void test_uplink(void **state)
{
	struct uplink r;
	char answer[ANSWER_MAX + 1];
	struct outcome o = { .step = STEP_CONNECT, .lost = true, .reply = { .text = "refused" } };
	int64_t now = 1000;

	(void)state;
	uplink_init(&r);
	assert_false(uplink_is_down(&r, now, answer));
	uplink_failed(&r, &o, now, answer);
	assert_string_equal(
		answer, "451 4.4.1 cenmail: SES unreachable: connect: refused class=road retry=1");
	uplink_failed(&r, &o, now, answer); /* another worker, at the same time */
	assert_true(uplink_is_down(&r, now + 999, answer));
	assert_false(uplink_is_down(&r, now + 1000, answer));
	for (int i = 0; i < 10; i++) {
		now += 100000;
		uplink_failed(&r, &o, now, answer);
	}
	assert_true(uplink_is_down(&r, now + 29999, answer));
	assert_false(uplink_is_down(&r, now + 30000, answer));
	uplink_well(&r);
	assert_false(uplink_is_down(&r, now, answer));
	o = (struct outcome) { .step = STEP_AUTH,
		.reply = { .code = 535, .text = "Authentication Credentials Invalid" } };
	uplink_failed(&r, &o, now, answer);
	assert_string_equal(answer,
		"451 4.7.8 cenmail: SES refused our password: 535 Authentication"
		" Credentials Invalid class=road retry=1");
	uplink_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_clients_take_turns),
		cmocka_unit_test(test_too_many_connections),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_holds_in_sum),
		cmocka_unit_test(test_throttling),
		cmocka_unit_test(test_other_rates_while_running),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_quota_outlives_the_process),
		cmocka_unit_test(test_uplink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
