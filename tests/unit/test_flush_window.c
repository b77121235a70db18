/*
 * flush/window: from answers to how many messages are kept in flight.
 */
#include "flush/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define MS  ((int64_t)1000)
#define RTT (50 * MS)

/* A peer that takes one message each `each_us`, first in first out, over a link of RTT; the window
 * is kept full for `messages`. What the last of them stood in line. */
static int64_t drive(struct window *w, int64_t each_us, int64_t ses_us, unsigned messages)
{
	static struct {
		int64_t at;
		unsigned ahead;
	} flight[20000];
	unsigned first = 0, last = 0;
	int64_t now = 0, free_at = 0, line = 0;

	for (unsigned answered = 0; answered < messages; answered++) {
		while (last - first < w->size && last < messages) {
			flight[last].at = now;
			flight[last].ahead = last - first;
			last++;
		}
		int64_t begins = flight[first].at + RTT / 2;

		if (begins < free_at)
			begins = free_at;
		free_at = begins + each_us;
		now = begins + ses_us + RTT / 2;
		line = now - flight[first].at - ses_us - RTT;
		window_answered(w, flight[first].ahead, now - flight[first].at, ses_us);
		first++;
	}
	return line;
}

static void grows_to_what_the_link_holds(void **state)
{
	struct window w;

	window_init(&w, 1000);
	drive(&w, 1, 0, 500);
	assert_true(w.size > 400); /* doubled with each round trip: as many more as were answered */
	drive(&w, 1, 0, 2000);
	assert_int_equal(w.size, 1000);
}

static void is_never_past_what_is_configured(void **state)
{
	struct window w;

	window_init(&w, 5);
	assert_int_equal(w.size, 5);
	drive(&w, 1, 0, 100);
	assert_int_equal(w.size, 5);
	window_init(&w, 1);
	drive(&w, 2000 * MS, 0, 100);
	assert_int_equal(w.size, 1);
}

static void a_slow_peer_gets_a_second_of_work(void **state)
{
	static const struct {
		int64_t each_us, ses_us;
	} peers[] = {
		{ 71 * MS, 80 * MS }, /* SES at 14/s */
		{ 71 * MS, 3000 * MS }, { 10 * MS, 80 * MS },
		{ 1000 * MS, 80 * MS }, /* the sandbox */
	};

	for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
		struct window w;

		window_init(&w, 1000);
		int64_t line = drive(&w, peers[i].each_us, peers[i].ses_us, 1000);
		int64_t most = WINDOW_LINE_US + 2 * peers[i].each_us;

		if (most < WINDOW_LEAST * peers[i].each_us)
			most = WINDOW_LEAST * peers[i].each_us;
		assert_in_range(line, 0, most);
		assert_true(w.size >= WINDOW_LEAST);
	}
}

static void slow_answers_of_ses_are_no_line(void **state)
{
	struct window w;

	window_init(&w, 1000);
	drive(&w, 1, 10000 * MS, 3000);
	assert_int_equal(w.size, 1000);
}

static void grows_again_when_the_peer_is_faster(void **state)
{
	struct window w;

	window_init(&w, 1000);
	drive(&w, 200 * MS, 0, 200);
	assert_true(w.size < 12);
	drive(&w, 1, 0, 3000);
	assert_int_equal(w.size, 1000);
}

static void odd_figures_do_no_harm(void **state)
{
	struct window w;

	window_init(&w, 100);
	window_answered(&w, 0, 10 * MS, 3600 * 1000 * MS); /* SES's time is the peer's word */
	window_answered(&w, 0, 3600 * 1000 * MS, 0);
	assert_int_equal(w.size, WINDOW_LEAST);
	window_answered(&w, 10000, INT64_MAX / 4, 0);
	assert_int_equal(w.size, WINDOW_LEAST);
	window_answered(&w, 100, 0, 0);
	assert_int_equal(w.size, WINDOW_LEAST + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_to_what_the_link_holds),
		cmocka_unit_test(is_never_past_what_is_configured),
		cmocka_unit_test(a_slow_peer_gets_a_second_of_work),
		cmocka_unit_test(slow_answers_of_ses_are_no_line),
		cmocka_unit_test(grows_again_when_the_peer_is_faster),
		cmocka_unit_test(odd_figures_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
