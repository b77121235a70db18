/*
 * What an answer is counted as, and in which bound of a histogram a time falls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "listen/figures.h"

static void test_classes(void **state)
{
	static const struct {
		const char *answer;
		enum verdict_class class;
	} cases[] = {
		{ "250 2.0.0 Ok 0106-1 wait=0.002 ses=0.183", VERDICT_SENT },
		{ "250 Ok", VERDICT_SENT },
		{ "552 5.0.0 Message is too long. wait=0.000 ses=0.000", VERDICT_NEVER },
		{ "451 4.0.0 Temporary service failure", VERDICT_LATER },
		{ "451 4.4.1 cenmail: SES unreachable: refused class=road retry=30", VERDICT_ROAD },
		{ "452 4.3.1 cenmail: daily quota class=pace retry=3600", VERDICT_PACE },
		{ "451 4.4.7 cenmail: in doubt class=held", VERDICT_HELD },
		{ "550 5.7.1 cenmail: client may not send as <a@b> class=never", VERDICT_NEVER },
		{ "554 Access denied: User x", VERDICT_ROAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (figures_class(cases[i].answer) != cases[i].class)
			fail_msg("%s: %s", cases[i].answer,
				verdict_name(figures_class(cases[i].answer)));
}

static void test_times(void **state)
{
	struct figures_times t = { .us = 0 };

	(void)state;
	figures_time(&t, -5);
	figures_time(&t, 10000);
	figures_time(&t, 10001);
	figures_time(&t, 60000001);
	assert_int_equal(t.bound[0], 2);
	assert_int_equal(t.bound[1], 1);
	assert_int_equal(t.bound[FIGURES_BOUNDS], 1);
	assert_int_equal(t.us, 10000 + 10001 + 60000001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
