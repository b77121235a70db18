/*
 * retry, idset: what becomes of a recipient after a verdict, and which are in hand; and a route's
 * pauses.
 */
#include "flush/flusher.h"
#include "flush/idset.h"
#include "flush/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct retry_rules rules = {
	.retry_min = 60000, .retry_max = 3600000, .lifetime = INT64_C(5) * 86400000
};

#define NOW INT64_C(1800000000000)

static void each_class(void **state)
{
	static const struct {
		const char *what;
		struct verdict v;
		unsigned tries;
		int64_t age;
		bool exact;
		enum store_state becomes;
		bool counts, at_once;
	} t[] = {
		{ "sent", { .class = VERDICT_SENT }, 0, 0, true, STORE_SENT, true, true },
		{ "never", { .class = VERDICT_NEVER }, 0, 0, true, STORE_FAILED, true, true },
		{ "held", { .class = VERDICT_HELD }, 0, 0, true, STORE_HELD, true, true },
		{ "later", { .class = VERDICT_LATER }, 0, 0, true, STORE_QUEUED, true, false },
		{ "old", { .class = VERDICT_LATER }, 20, INT64_C(6) * 86400000, true, STORE_FAILED,
			true, true },
		{ "old, but hardly tried", { .class = VERDICT_LATER }, 3, INT64_C(60) * 86400000,
			true, STORE_QUEUED, true, false },
		{ "often tried, but young", { .class = VERDICT_LATER }, 99, 86400000, true,
			STORE_QUEUED, true, false },
		{ "pace", { .class = VERDICT_PACE }, 0, 0, true, STORE_QUEUED, false, true },
		{ "road never ages", { .class = VERDICT_ROAD }, 99, INT64_C(60) * 86400000, true,
			STORE_QUEUED, false, true },
		{ "its own MAIL, a journal there", { .class = VERDICT_ROAD, .own_mail = true }, 0,
			0, true, STORE_QUEUED, true, true },
		{ "the same once more", { .class = VERDICT_ROAD, .own_mail = true }, 1, 0, true,
			STORE_QUEUED, true, false },
		{ "its own MAIL, no journal", { .class = VERDICT_ROAD, .own_mail = true }, 0, 0,
			false, STORE_QUEUED, true, false },
		{ "unknown", { .class = VERDICT_UNKNOWN }, 0, 0, true, STORE_QUEUED, true, false },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct retry r =
			retry_after(&t[i].v, &rules, t[i].tries, NOW - t[i].age, NOW, t[i].exact);

		if (r.state != t[i].becomes || r.counts != t[i].counts ||
			(r.next_try == NOW) != t[i].at_once)
			fail_msg("%s: state %d counts %d in %lld ms", t[i].what, r.state, r.counts,
				(long long)(r.next_try - NOW));
	}
}

static void backoff_stays_between(void **state)
{
	int64_t least = INT64_MAX, most = 0;

	for (unsigned tries = 0; tries < 200; tries++)
		for (int i = 0; i < 50; i++) {
			int64_t ms = retry_backoff(&rules, tries);

			assert_true(ms >= rules.retry_min && ms <= rules.retry_max);
			if (tries == 3) {
				least = ms < least ? ms : least;
				most = ms > most ? ms : most;
			}
		}
	/* 8 minutes, spread by a quarter: and spread it is. */
	assert_true(least >= 360000 && most <= 600000 && most - least > 60000);
}

/* The quota's hour is not cut short by an answer that came a moment later. */
static void longer_pause_stays(void **state)
{
	struct route r = { 0 };

	route_pause(&r, 3600000, 1000);
	route_pause(&r, 30000, 1001);
	assert_false(route_open(&r, 3600999));
	assert_true(route_open(&r, 3601000));
	route_pause(&r, 0, 5000000);
	assert_false(route_open(&r, 5000000 + FLUSH_BACKOFF_MIN - 1));
	assert_true(route_open(&r, 5000000 + FLUSH_BACKOFF_MIN));
}

static void ids_come_and_go(void **state)
{
	struct idset s;
	bool in[2000] = { false };
	unsigned seed = 7;

	idset_init(&s);
	assert_false(idset_has(&s, 5));
	idset_remove(&s, 5);
	for (int i = 0; i < 40000; i++) {
		seed = seed * 1103515245u + 12345u;
		unsigned id = (seed >> 8) % 2000;

		if (id == 0)
			continue;
		if (seed & 0x80) {
			assert_true(idset_add(&s, id));
			in[id] = true;
		} else {
			idset_remove(&s, id);
			in[id] = false;
		}
		if (i % 1000 == 0)
			for (unsigned k = 1; k < 2000; k++)
				assert_int_equal(idset_has(&s, k), in[k]);
	}
	idset_done(&s);
	assert_false(idset_has(&s, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_class),
		cmocka_unit_test(backoff_stays_between),
		cmocka_unit_test(longer_pause_stays),
		cmocka_unit_test(ids_come_and_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
