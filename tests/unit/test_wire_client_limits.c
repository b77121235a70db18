/*
 * The client's limits, its own and those that a peer names: what it refuses by itself, how much it
 * has in flight, how many recipients and messages a connection carries.
 */
#include "client_talk.h"

static void test_refused_here(void **state)
{
	static const char *const senders[] = { "a\r\nRSET@b", "a\x80@b", "a\x7f@b", "a\x1f@b" };
	struct talk k = { .peer.offers = "SIZE 21" };
	struct message m;
	char most[256];

	talk_start(&k);
	message_init(&m, 1, 2);
	assert_int_equal(talk_deliver(&k, &m, 1), 1);
	for (int r = 0; r < 2; r++) {
		assert_int_equal(m.rcpt[r].outcome.step, STEP_MAIL);
		assert_int_equal(m.rcpt[r].outcome.reply.code, 552);
		assert_string_equal(m.rcpt[r].outcome.reply.enhanced, "5.3.4");
	}
	for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
		message_init(&m, 1, 1);
		m.t.content.n = 21;
		m.t.sender = senders[i];
		assert_int_equal(talk_deliver(&k, &m, 1), 1);
		assert_int_equal(m.rcpt[0].outcome.reply.code, 501);
		m.t.sender = "";
		m.rcpt[0].address = senders[i];
		assert_int_equal(talk_deliver(&k, &m, 1), 1);
		assert_int_equal(m.rcpt[0].outcome.reply.code, 501);
	}
	message_init(&m, 1, 1);
	m.t.content.n = 21;
	snprintf(m.rcpt[0].once, sizeof m.rcpt[0].once, "0123 XONCE=");
	assert_int_equal(talk_deliver(&k, &m, 1), 1);
	assert_int_equal(m.rcpt[0].outcome.reply.code, 501);
	assert_string_equal(buf_str(&k.peer.log), "EHLO me.example\n");
	assert_int_equal(client_flying(k.c), 0);

	/* the longest path, and the largest content that is named */
	memset(most, 'a', sizeof most);
	for (size_t n = 254; n <= 255; n++) {
		message_init(&m, 1, 1);
		m.t.content.n = 21;
		m.t.sender = most;
		most[n] = '\0';
		assert_int_equal(talk_deliver(&k, &m, 1), 1);
		assert_int_equal(is_sent(&m.rcpt[0].outcome), n == 254);
		most[n] = 'a';
	}
	talk_end(&k);
}

static void test_room(void **state)
{
	struct talk k = { .peer.offers = WINDOW_OFFERS };
	struct message m[4];

	k.options.window = 3;
	k.options.window_bytes = 60; /* two of 22 fit */
	talk_start(&k);
	assert_false(client_room(k.c, 1));
	talk_run(&k);
	assert_true(client_room(k.c, 1000)); /* alone, one may exceed it */
	assert_int_equal(client_rcptmax(k.c), 50);
	for (unsigned i = 0; i < 4; i++)
		message_init(&m[i], i + 1, 1);
	client_submit(k.c, &m[0].t, k.now_ms);
	assert_false(client_room(k.c, 1000));
	assert_true(client_room(k.c, 22));
	client_submit(k.c, &m[1].t, k.now_ms);
	assert_false(client_room(k.c, 22));
	assert_true(client_room(k.c, 16));
	client_submit(k.c, &m[2].t, k.now_ms);
	assert_false(client_room(k.c, 0)); /* the window */
	assert_int_equal(client_flying(k.c), 3);
	/* what has come back takes none */
	talk_run(&k);
	for (unsigned i = 0; i < 3; i++)
		assert_ptr_equal(client_done(k.c), &m[i].t);
	client_submit(k.c, &m[3].t, k.now_ms);
	assert_true(client_room(k.c, 38));
	assert_false(client_room(k.c, 39));
	talk_end(&k);

	/* without XONCE one content is in the air, and the commands of the next one */
	k = (struct talk) { .peer.offers = "PIPELINING" };
	talk_start(&k);
	talk_run(&k);
	client_submit(k.c, &m[0].t, k.now_ms);
	assert_true(client_room(k.c, 1 << 30));
	client_submit(k.c, &m[1].t, k.now_ms);
	assert_false(client_room(k.c, 0));
	talk_end(&k);
}

/* More replies are expected than ever before, while some are already. */
static void test_many_in_flight(void **state)
{
	struct talk k = { .peer.offers = WINDOW_OFFERS, .peer.lmtp = true };
	struct message m[60];

	k.options.window = 50;
	k.options.window_bytes = 1 << 20;
	talk_start(&k);
	for (unsigned i = 0; i < 60; i++)
		message_init(&m[i], i, 2);
	assert_int_equal(talk_deliver(&k, m, 10), 10);
	assert_int_equal(talk_deliver(&k, m + 10, 50), 50);
	for (unsigned i = 0; i < 60; i++)
		assert_true(is_sent(&m[i].rcpt[0].outcome) && is_sent(&m[i].rcpt[1].outcome));
	talk_end(&k);
}

static void test_rcptmax(void **state)
{
	static const struct {
		const char *offers;
		unsigned max;
	} cases[] = { { "", 100 }, { "PIPELINING", 100 }, { "XONCE j 5", 50 },
		{ "LIMITS RCPTMAX=7", 7 }, { "LIMITS RCPTMAX=7\nXONCE j 5", 7 },
		{ "LIMITS RCPTMAX=200", 200 }, { "LIMITS RCPTMAX=999999", 1000 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk k = { .peer.offers = cases[i].offers };
		talk_start(&k);
		talk_run(&k);
		assert_int_equal(client_rcptmax(k.c), cases[i].max);
		talk_end(&k);
	}
}

/* RFC 9422: after MAILMAX transactions the client leaves by itself. */
static void test_mailmax(void **state)
{
	struct talk k = { .peer.offers = "PIPELINING\nLIMITS MAILMAX=2" };
	struct message m[3];

	talk_start(&k);
	for (unsigned i = 0; i < 3; i++)
		message_init(&m[i], i + 1, 1);
	assert_int_equal(talk_deliver(&k, m, 3), 2);
	assert_int_equal(m[2].back, 0);
	assert_int_equal(client_state(k.c), CLIENT_DEAD);
	assert_int_equal(client_fault(k.c)->step, STEP_QUIT);
	talk_end(&k);
}

/* Big content passes in pieces; many small ones share a write. */
static void test_staging(void **state)
{
	enum { BIG = 3 * 1024 * 1024 + 1, SMALL = 64 };
	static char big[BIG];
	static const char *const offers[] = { WINDOW_OFFERS, "PIPELINING" };
	static struct message m[SMALL];

	for (size_t i = 0; i < BIG; i++) /* dots at line starts, and lines cut by pieces anywhere */
		big[i] = i % 7 == 5 ? '\r' : i % 7 == 6 ? '\n' : i % 7 == 0 ? '.' : 'x';
	memcpy(big + BIG - 2, "\r\n", 2);
	for (size_t i = 0; i < 2; i++) {
		struct talk k = { .peer.offers = offers[i], .options.window = SMALL };
		k.options.window_bytes = 1 << 24;
		talk_start(&k);
		message_init(&m[0], 1, 1);
		m[0].t.content = span_make(big, BIG);
		assert_int_equal(talk_deliver(&k, m, 1), 1);
		assert_true(is_sent(&m[0].rcpt[0].outcome));
		assert_non_null(strstr(buf_str(&k.peer.log), "(3145729)"));
		assert_in_range(k.most_out, 16 * 1024, (i == 0 ? 34 : 40) * 1024);
		talk_end(&k);
	}
	struct talk k = { .peer.offers = WINDOW_OFFERS, .options.window = SMALL };
	k.options.window_bytes = 1 << 24;
	talk_start(&k);
	talk_run(&k);
	message_init(&m[0], 1, 1);
	m[0].t.content = span_make(big, BIG);
	client_submit(k.c, &m[0].t, k.now_ms);
	client_written(k.c, client_output(k.c, k.now_ms).n - 10000, k.now_ms);
	assert_in_range(client_output(k.c, k.now_ms).n, 32 * 1024, 34 * 1024); /* topped up */
	talk_end(&k);

	k = (struct talk) { .peer.offers = WINDOW_OFFERS, .options.window = SMALL };
	k.options.window_bytes = 1 << 24;
	talk_start(&k);
	for (unsigned i = 0; i < SMALL; i++) {
		message_init(&m[i], i, 1);
		m[i].t.content = span_make(big, 2048);
	}
	assert_int_equal(talk_deliver(&k, m, SMALL), SMALL);
	assert_in_range(k.most_out, 16 * 1024, 34 * 1024);
	talk_end(&k);
}

/* What is submitted has its place in line, so not much more is taken than can be written at once.
 */
static void test_room_follows_what_is_written(void **state)
{
	static char content[40000];
	struct talk k = { .peer.offers = WINDOW_OFFERS, .options.window = 100 };
	struct message m[4];

	memset(content, 'x', sizeof content);
	memcpy(content + sizeof content - 2, "\r\n", 2);
	k.options.window_bytes = 1 << 24;
	talk_start(&k);
	talk_run(&k);
	for (unsigned i = 0; i < 4; i++) {
		message_init(&m[i], i + 1, 1);
		m[i].t.content = span_make(content, sizeof content);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_true(client_room(k.c, sizeof content));
		client_submit(k.c, &m[i].t, k.now_ms);
	}
	assert_false(client_room(k.c, 1)); /* 80,000 octets wait to be written */
	struct span out = client_output(k.c, k.now_ms);
	client_written(k.c, out.n, k.now_ms);
	(void)client_output(k.c, k.now_ms);
	assert_true(client_room(k.c, 1)); /* and now half of them; no answer has come */
	assert_int_equal(client_flying(k.c), 2);
	client_cut(k.c, STEP_CONTENT, "the end", k.now_ms);
	talk_end(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_here),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_many_in_flight),
		cmocka_unit_test(test_rcptmax),
		cmocka_unit_test(test_mailmax),
		cmocka_unit_test(test_staging),
		cmocka_unit_test(test_room_follows_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
