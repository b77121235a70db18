/*
 * The flow of a sender: what is one mailing is one flow, and flows spread over the numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/flow.h"

#include <stdio.h>

static unsigned flow(uid_t uid, const char *sender)
{
	return flow_of(uid, span_of(sender), 1);
}

static void one_mailing_is_one_flow(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} row[] = {
		{ "news@example.com", "News@EXAMPLE.com", true },
		{ "bounce+a=x.net@example.com", "bounce+b=y.org@example.com", true },
		{ "bounce+a@example.com", "bounce@example.com", true },
		{ "bounce-1@example.com", "bounce-22@example.com", true },
		{ "msg20260101.7@example.com", "msg20251231.99@example.com", true },
		{ "list-17-a=x.net@example.com", "list-18-bob=y.org@example.com", true },
		{ "prvs=12ab@example.com", "prvs=99zz@example.com", true },
		{ "+a@example.com", "+b@example.com", false },
		{ "=a@example.com", "=b@example.com", false },
		{ "news@example1.com", "news@example2.com", false },
		{ "news@example.com", "shop@example.com", false },
		{ "", "news@example.com", false },
		{ "\"a@b+c\"@example.com", "\"a@b+d\"@example.com", true },
	};
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		unsigned uid = 0, same = 0;
		for (; uid < 64; uid++)
			same += flow(uid, row[i].a) == flow(uid, row[i].b);
		if (row[i].same ? same != 64 : same > 16)
			fail_msg("%s, %s: %u", row[i].a, row[i].b, same);
	}
}

static void few_and_many_are_two(void **state)
{
	unsigned same = 0;
	for (unsigned uid = 0; uid < 64; uid++) {
		struct span s = span_of("a@example.com");
		assert_int_equal(flow_of(uid, s, 1), flow_of(uid, s, FLOW_MANY));
		assert_int_equal(flow_of(uid, s, 1000), flow_of(uid, s, FLOW_MANY + 1));
		same += flow_of(uid, s, 1) == flow_of(uid, s, 1000);
	}
	assert_true(same < 16);
}

/* Stored, so never to change. */
static void numbers_stay(void **state)
{
	assert_int_equal(flow(0, ""), 0x26);
	assert_int_equal(flow(1000, "sender@example.com"), 0x10);
	assert_int_equal(flow(4294967294u, "a@b"), 0x07);
}

static void numbers_are_used_evenly(void **state)
{
	unsigned by_user[FLOW_COUNT] = { 0 }, by_sender[FLOW_COUNT] = { 0 };
	char name[64];
	for (unsigned i = 0; i < 6400; i++) {
		by_user[flow(i, "root@example.com")]++;
		snprintf(name, sizeof name, "a@host%u.example.com", i);
		by_sender[flow(33, name)]++;
	}
	for (unsigned i = 0; i < FLOW_COUNT; i++)
		if (by_user[i] < 50 || by_user[i] > 150 || by_sender[i] < 50 || by_sender[i] > 150)
			fail_msg("%u: %u %u", i, by_user[i], by_sender[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mailing_is_one_flow),
		cmocka_unit_test(few_and_many_are_two),
		cmocka_unit_test(numbers_stay),
		cmocka_unit_test(numbers_are_used_evenly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
