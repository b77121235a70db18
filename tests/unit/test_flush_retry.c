/*
 * retry, idset: what becomes of a recipient after a verdict, and which are in hand.
 */
#include "flush/flusher.h"
#include "flush/idset.h"
#include "flush/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define DAY INT64_C(86400000)

static const struct retry_rules rules = {
	.retry_min = 60000, .retry_max = 3600000, .lifetime = 5 * DAY, .lifetime_max = 20 * DAY
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
		{ "old", { .class = VERDICT_LATER }, 130, 5 * DAY, true, STORE_FAILED, true, true },
		{ "not yet", { .class = VERDICT_LATER }, 130, 5 * DAY - 1, true, STORE_QUEUED, true,
			false },
		{ "old, but hardly tried", { .class = VERDICT_LATER }, 3, 60 * DAY, true,
			STORE_QUEUED, true, false },
		{ "often tried, but young", { .class = VERDICT_LATER }, 999, DAY, true,
			STORE_QUEUED, true, false },
		{ "pace", { .class = VERDICT_PACE }, 0, 0, true, STORE_QUEUED, false, true },
		{ "road never ages", { .class = VERDICT_ROAD }, 999, 60 * DAY, true, STORE_QUEUED,
			false, true },
		{ "its own MAIL, a journal there", { .class = VERDICT_ROAD, .own_mail = true }, 0,
			0, true, STORE_QUEUED, true, true },
		{ "the same once more", { .class = VERDICT_ROAD, .own_mail = true }, 1, 0, true,
			STORE_QUEUED, true, false },
		{ "its own MAIL, no journal", { .class = VERDICT_ROAD, .own_mail = true }, 0, 0,
			false, STORE_QUEUED, true, false },
		{ "its own MAIL, for a lifetime", { .class = VERDICT_ROAD, .own_mail = true }, 130,
			6 * DAY, true, STORE_FAILED, true, true },
		{ "unknown", { .class = VERDICT_UNKNOWN, .own_mail = true }, 0, 0, true,
			STORE_QUEUED, true, false },
		{ "no answer to a content, a journal there",
			{ .class = VERDICT_UNKNOWN, .own_mail = true, .maybe_sent = true }, 0, 0,
			true, STORE_QUEUED, true, true },
		{ "no answer to a content, no journal",
			{ .class = VERDICT_UNKNOWN, .own_mail = true, .maybe_sent = true }, 0, 0,
			false, STORE_QUEUED, true, false },
		{ "the same, behind one that the connection died of",
			{ .class = VERDICT_UNKNOWN, .maybe_sent = true }, 9, 0, true, STORE_QUEUED,
			false, true },
		{ "unknown, says our listener", { .class = VERDICT_UNKNOWN }, 9, 0, true,
			STORE_QUEUED, true, false },
		{ "unknown, for a lifetime", { .class = VERDICT_UNKNOWN, .own_mail = true }, 130,
			6 * DAY, true, STORE_FAILED, true, true },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		const struct retry_facts f = { .tries = t[i].tries,
			.since = NOW - t[i].age,
			.now = NOW,
			.exact = t[i].exact };
		struct retry r = retry_after(&t[i].v, &rules, &f);

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
			int64_t ms = retry_backoff(&rules, tries, (uint64_t)i);

			assert_true(ms >= rules.retry_min && ms <= rules.retry_max);
			if (tries == 3) {
				least = ms < least ? ms : least;
				most = ms > most ? ms : most;
			}
		}
	/* 8 minutes, spread by a quarter: and spread it is. */
	assert_true(least >= 360000 && most <= 600000 && most - least > 60000);
}

/* A message to a dead domain: how long it is tried, by a flusher that is always there but in the
 * time given, with a clock that steps. */
static int64_t lives(
	int64_t away_from, int64_t away_for, int64_t step, int64_t down, unsigned *ret_tries)
{
	const struct verdict later = { .class = VERDICT_LATER };
	struct retry_facts f = { .since = NOW, .now = NOW, .seed = 7 };
	int64_t clock = 0;
	bool away = false;

	for (;;) {
		f.down = down;
		const struct retry r = retry_after(&later, &rules, &f);

		if (r.state == STORE_FAILED) {
			*ret_tries = f.tries;
			return f.now - f.since - clock;
		}
		assert_true(f.tries < 10000);
		if (!away && r.next_try - f.since >= away_from) {
			away = true;
			clock += step;
			f.now = r.next_try + away_for + step;
		} else {
			f.now = r.next_try;
		}
		f.tries++;
	}
}

/* C12, and a cron that was off: whole days as one is told them. */
static void a_lifetime_is_what_it_was_tried_for(void **state)
{
	static const struct {
		const char *what;
		int64_t away_from, away_for, step, down;
		int64_t least, most; /* real time, days */
	} t[] = {
		{ "as ever", INT64_MAX, 0, 0, 0, 5, 6 },
		{ "the road was down for two days", DAY, 2 * DAY, 0, 2 * DAY, 7, 8 },
		{ "cron was off for a week, from the first try on", 1, 7 * DAY, 0, 0, 11, 13 },
		{ "cron was off for a week, on the fourth day", 4 * DAY, 7 * DAY, 0, 0, 11, 13 },
		{ "cron was off for a month", 2 * DAY, 30 * DAY, 0, 0, 31, 36 },
		{ "the clock goes on by ten years at once", 1, 0, 3650 * DAY, 0, 1, 6 },
		{ "and after two days", 2 * DAY, 0, 3650 * DAY, 0, 2, 6 },
		{ "the clock goes back a year", DAY, 0, -365 * DAY, 0, 4, 6 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		unsigned tries;
		const int64_t ms =
			lives(t[i].away_from, t[i].away_for, t[i].step, t[i].down, &tries);

		if (ms < t[i].least * DAY || ms > t[i].most * DAY || tries < 20)
			fail_msg("%s: %.1f days, %u tries", t[i].what, (double)ms / DAY, tries);
	}
}

/* Recipients of one message that were put off together stay one batch; messages do not stay
 * together.
 */
static void comes_due_together(void **state)
{
	int same = 0;

	for (unsigned tries = 0; tries < 20; tries++)
		for (uint64_t message = 1; message < 50; message++) {
			assert_true(retry_backoff(&rules, tries, message) ==
				    retry_backoff(&rules, tries, message));
			same += retry_backoff(&rules, tries, message) < rules.retry_max &&
				retry_backoff(&rules, tries, message) > rules.retry_min &&
				retry_backoff(&rules, tries, message) ==
					retry_backoff(&rules, tries, message + 1);
		}
	assert_in_range(same, 0, 2);
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
		cmocka_unit_test(a_lifetime_is_what_it_was_tried_for),
		cmocka_unit_test(comes_due_together),
		cmocka_unit_test(ids_come_and_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
