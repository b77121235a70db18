/*
 * The client's deadlines: for each reply, for a write, for a transaction, and for the opening.
 */
#include "client_talk.h"

static void test_deadlines(void **state)
{
	struct talk k = { .peer.offers = "" };
	struct message m;
	enum step step = STEP_QUIT;
	static const struct {
		enum step step;
		int64_t ms;
	} waits[] = { { STEP_MAIL, 300000 }, { STEP_RCPT, 300000 }, { STEP_DATA, 120000 },
		{ STEP_CONTENT, 600000 } };

	talk_start(&k);
	assert_int_equal(client_deadline(k.c, &step), 1000 + 300000);
	assert_int_equal(step, STEP_GREETING);
	talk_run(&k);
	assert_true(client_deadline(k.c, &step) == INT64_MAX);
	message_init(&m, 1, 1);
	client_submit(k.c, &m.t, k.now_ms);
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		k.now_ms += 7000;
		struct span out = client_output(k.c, k.now_ms);
		/* Until it is written, the write's own. */
		assert_int_equal(client_deadline(k.c, &step), k.now_ms + 180000);
		peer_hear(&k.peer, out);
		k.now_ms += 10;
		client_written(k.c, out.n, k.now_ms);
		assert_int_equal(client_deadline(k.c, &step), k.now_ms + waits[i].ms);
		assert_int_equal(step, waits[i].step);
		/* A reply that trickles in moves nothing. */
		client_input(k.c, span_make(k.peer.out.data, 2), k.now_ms + 5);
		assert_int_equal(client_deadline(k.c, &step), k.now_ms + waits[i].ms);
		client_input(k.c, span_from(buf_span(&k.peer.out), 2), k.now_ms + 6);
		buf_clear(&k.peer.out);
	}
	assert_ptr_equal(client_done(k.c), &m.t);
	talk_end(&k);
}

/* A peer that takes its time over every reply does not keep the next relay waiting for ever. */
static void test_opening_deadline(void **state)
{
	struct talk k = { .peer.offers = "", .options.opening_ms = 45000 };
	enum step step = STEP_QUIT;

	talk_start(&k);
	assert_int_equal(client_deadline(k.c, &step), 1000 + 45000);
	assert_int_equal(step, STEP_GREETING);
	k.now_ms += 40000;
	client_input(k.c, span_of("220 here\r\n"), k.now_ms);
	client_written(k.c, client_output(k.c, k.now_ms).n, k.now_ms);
	assert_int_equal(client_deadline(k.c, &step), 1000 + 45000);
	assert_int_equal(step, STEP_EHLO);
	client_input(k.c, span_of("250 here\r\n"), k.now_ms);
	assert_int_equal(client_state(k.c), CLIENT_READY);
	assert_true(client_deadline(k.c, &step) == INT64_MAX);
	talk_end(&k);
}

static void test_total_deadline(void **state)
{
	struct talk k = { .peer.offers = "", .options.total_ms = 50000, .options.reply_ms = 60000 };
	struct message m;
	enum step step;

	talk_start(&k);
	talk_run(&k);
	message_init(&m, 1, 1);
	client_submit(k.c, &m.t, k.now_ms);
	assert_true(client_deadline(k.c, &step) == INT64_MAX);
	client_output(k.c, 5000);
	assert_int_equal(client_deadline(k.c, &step), 5000 + 50000);
	client_cut(k.c, STEP_MAIL, "timed out", 60000);
	assert_true(client_deadline(k.c, &step) == INT64_MAX);
	assert_ptr_equal(client_done(k.c), &m.t);
	assert_true(m.rcpt[0].outcome.lost && !m.rcpt[0].outcome.maybe_sent);
	assert_string_equal(m.rcpt[0].outcome.reply.text, "timed out");
	talk_end(&k);
}

/* In a window the wait for a reply begins when the one before it came; a transaction's whole time
 * when the one before it ended. */
static void test_deadlines_in_a_window(void **state)
{
	struct talk k = { .peer.offers = WINDOW_OFFERS, .options.total_ms = 400000 };
	struct message m[2];
	enum step step = STEP_QUIT;

	talk_start(&k);
	talk_run(&k);
	for (unsigned i = 0; i < 2; i++) {
		message_init(&m[i], i + 1, 1);
		client_submit(k.c, &m[i].t, k.now_ms);
	}
	k.now_ms = 5000;
	client_written(k.c, client_output(k.c, k.now_ms).n, k.now_ms);
	assert_int_equal(client_deadline(k.c, &step), 5000 + 300000);
	assert_int_equal(step, STEP_MAIL);
	client_input(k.c, span_of("250 ok\r\n"), 15000);
	assert_int_equal(client_deadline(k.c, &step), 15000 + 300000);
	assert_int_equal(step, STEP_RCPT);
	client_input(k.c, span_of("250 ok\r\n"), 25000);
	assert_int_equal(step, STEP_RCPT);
	assert_int_equal(client_deadline(k.c, &step), 5000 + 400000); /* the whole of the first */
	client_input(k.c, span_of("250 ok\r\n"), 300000);
	assert_ptr_equal(client_done(k.c), &m[0].t);
	client_input(k.c, span_of("250 ok\r\n250 ok\r\n"), 310000);
	assert_int_equal(client_deadline(k.c, &step), 300000 + 400000); /* of the second */
	talk_end(&k);
}

/* A write has a time from its last progress on, and big content more of it in all. */
static void test_deadlines_of_a_write(void **state)
{
	enum { BIG = 2 * 1024 * 1024 };
	struct talk k = { .peer.offers = WINDOW_OFFERS, .options.total_ms = 300000 };
	struct message m;
	enum step step = STEP_QUIT;
	char *big = calloc(1, BIG);

	assert_non_null(big);
	talk_start(&k);
	talk_run(&k);
	message_init(&m, 1, 1);
	m.t.content = span_make(big, BIG);
	client_submit(k.c, &m.t, k.now_ms);
	client_output(k.c, 10000);
	assert_int_equal(client_deadline(k.c, &step), 10000 + 180000);
	client_written(k.c, 10, 100000);
	assert_int_equal(client_deadline(k.c, &step), 100000 + 180000);
	client_output(k.c, 200000); /* asking for it is no progress */
	assert_int_equal(client_deadline(k.c, &step), 100000 + 180000);
	client_written(k.c, 10, 270000);
	assert_int_equal(client_deadline(k.c, &step), 10000 + 300000 + 120000);
	talk_end(&k);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_deadlines_in_a_window),
		cmocka_unit_test(test_deadlines_of_a_write),
		cmocka_unit_test(test_opening_deadline),
		cmocka_unit_test(test_total_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
