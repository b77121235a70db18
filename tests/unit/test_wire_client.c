/*
 * The client against a peer that behaves: what it says in each mode, what it makes of the answers,
 * how it opens and ends a connection.
 */
#include "client_talk.h"

/* --- what is said --- */

struct dialogue {
	const char *name;
	bool lmtp, gated;
	const char *offers;
	const char *said;
};

static const struct dialogue dialogues[] = {
	{ "window, LMTP", true, false, WINDOW_OFFERS,
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"BDAT 22 LAST\n(22)\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"BDAT 22 LAST\n(22)\n" },
	{ "window, SMTP", false, false, WINDOW_OFFERS "\nSIZE\n8BITMIME",
		"MAIL FROM:<s1@a.example> SIZE=22\nRCPT TO:<r1.1@b.example>\n"
		"RCPT TO:<r1.2@b.example>\nBDAT 22 LAST\n(22)\n"
		"MAIL FROM:<s2@a.example> SIZE=22\nRCPT TO:<r2.1@b.example>\n"
		"RCPT TO:<r2.2@b.example>\nBDAT 22 LAST\n(22)\n" },
	{ "group, DATA", false, false, "PIPELINING",
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"DATA\n(22)\nRSET\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"DATA\n(22)\n" },
	{ "group, BDAT", true, false, "PIPELINING\nCHUNKING",
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"BDAT 22 LAST\n(22)\nRSET\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"BDAT 22 LAST\n(22)\n" },
	{ "lock step", false, false, "",
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"DATA\n(22)\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"DATA\n(22)\n" },
	{ "lock step, BDAT", false, false, "CHUNKING",
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"BDAT 22 LAST\n(22)\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"BDAT 22 LAST\n(22)\n" },
	{ "gated at a window peer", true, true, WINDOW_OFFERS,
		"MAIL FROM:<s1@a.example>\nRCPT TO:<r1.1@b.example>\nRCPT TO:<r1.2@b.example>\n"
		"DATA\n(22)\nRSET\n"
		"MAIL FROM:<s2@a.example>\nRCPT TO:<r2.1@b.example>\nRCPT TO:<r2.2@b.example>\n"
		"DATA\n(22)\n" },
};

static void deliver_two(const struct dialogue *d, unsigned seed)
{
	struct talk k = { .seed = seed };
	struct message m[2];
	char said[1024];

	k.peer.lmtp = d->lmtp;
	k.peer.offers = d->offers;
	talk_start(&k);
	for (unsigned i = 0; i < 2; i++) {
		message_init(&m[i], i + 1, 2);
		m[i].t.gated = d->gated;
	}
	assert_int_equal(talk_deliver(&k, m, 2), 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(is_sent(&m[i].rcpt[0].outcome) && is_sent(&m[i].rcpt[1].outcome));
		assert_true(m[i].t.began > 0 && m[i].t.content_sent >= m[i].t.began);
		assert_true(m[i].t.ended >= m[i].t.content_sent);
		assert_false(m[i].rcpt[0].outcome.maybe_sent);
	}
	client_quit(k.c, k.now_ms);
	talk_run(&k);
	assert_int_equal(client_state(k.c), CLIENT_DEAD);
	assert_int_equal(client_fault(k.c)->step, STEP_QUIT);
	assert_int_equal(client_fault(k.c)->reply.code, 221);
	snprintf(said, sizeof said, "%s me.example\n%sQUIT\n", d->lmtp ? "LHLO" : "EHLO", d->said);
	assert_string_equal(buf_str(&k.peer.log), said);
	talk_end(&k);
}

/* The same commands and the same outcomes, however input and output are cut. */
static void test_dialogues(void **state)
{
	for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++)
		for (unsigned seed = 0; seed < 100; seed++)
			deliver_two(&dialogues[i], seed);
}

/* RFC 2920: one write holds what may go together, and no more. */
static void test_groups(void **state)
{
	static const struct {
		const char *offers;
		unsigned writes[8]; /* lines of the log after the nth write, 0: the end */
	} cases[] = {
		{ WINDOW_OFFERS, { 10 } },
		/* MAIL RCPT RCPT DATA | content RSET MAIL RCPT RCPT DATA | content */
		{ "PIPELINING", { 4, 6, 1 } },
		/* MAIL RCPT RCPT | BDAT content RSET MAIL RCPT RCPT | BDAT content */
		{ "PIPELINING\nCHUNKING", { 3, 6, 2 } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk k = { .peer.offers = cases[i].offers };
		struct message m[2];
		talk_start(&k);
		talk_run(&k);
		for (unsigned j = 0; j < 2; j++) {
			message_init(&m[j], j + 1, 2);
			assert_true(client_room(k.c, m[j].t.content.n));
			client_submit(k.c, &m[j].t, k.now_ms);
		}
		for (unsigned w = 0; cases[i].writes[w]; w++) {
			size_t before = k.peer.log.len;
			struct span out = client_output(k.c, k.now_ms);
			peer_hear(&k.peer, out);
			client_written(k.c, out.n, k.now_ms);
			assert_int_equal(client_output(k.c, k.now_ms).n, 0);
			unsigned lines = 0;
			for (size_t at = before; at < k.peer.log.len; at++)
				lines += k.peer.log.data[at] == '\n';
			assert_int_equal(lines, cases[i].writes[w]);
			client_input(k.c, buf_span(&k.peer.out), k.now_ms);
			buf_clear(&k.peer.out);
		}
		assert_int_equal(client_flying(k.c), 2);
		assert_non_null(client_done(k.c));
		assert_non_null(client_done(k.c));
		assert_null(client_done(k.c));
		talk_end(&k);
	}
}

#define ONCE "0123456789abcdef0123456789abcdef"

/* What MAIL and RCPT carry: what is offered and what is one. A DSN parameter that is none is left
 * out; the mail goes all the same. */
static void test_parameters(void **state)
{
	static const struct {
		const char *offers, *ret, *envid, *notify, *orcpt, *said;
	} cases[] = {
		{ "", "HDRS", "QQ+3D", "NEVER", "rfc822;x",
			"MAIL FROM:<>\nRCPT TO:<r1.1@b.example>\n" },
		{ "SIZE 100\n8BITMIME\nDSN\nXONCE j 5", "HDRS", "QQ+3D", "NEVER", "rfc822;x",
			"MAIL FROM:<> SIZE=22 BODY=8BITMIME RET=HDRS ENVID=QQ+3D\n"
			"RCPT TO:<r1.1@b.example> NOTIFY=NEVER ORCPT=rfc822;x XONCE=" ONCE "\n" },
		{ "DSN", "FULL", NULL, "SUCCESS,DELAY", NULL,
			"MAIL FROM:<> RET=FULL\nRCPT TO:<r1.1@b.example> NOTIFY=SUCCESS,DELAY\n" },
		{ "DSN", NULL, "a", NULL, "rfc822;a+40b",
			"MAIL FROM:<> ENVID=a\nRCPT TO:<r1.1@b.example> ORCPT=rfc822;a+40b\n" },
		{ "DSN", "BOTH", "a b", "NEVER,DELAY", "x",
			"MAIL FROM:<>\nRCPT TO:<r1.1@b.example>\n" },
		{ "DSN", "", "", "", "", "MAIL FROM:<>\nRCPT TO:<r1.1@b.example>\n" },
		{ "DSN", "FULL\r\nRSET", "a\r\nRSET", "NEVER\r\nRSET", "rfc822;x\r\nRSET",
			"MAIL FROM:<>\nRCPT TO:<r1.1@b.example>\n" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk k = { .peer.offers = cases[i].offers };
		struct message m;
		char said[300];
		talk_start(&k);
		message_init(&m, 1, 1);
		m.t.sender = "";
		m.t.eightbit = true;
		m.t.ret = cases[i].ret;
		m.t.envid = cases[i].envid;
		m.rcpt[0].notify = cases[i].notify;
		m.rcpt[0].orcpt = cases[i].orcpt;
		snprintf(m.rcpt[0].once, sizeof m.rcpt[0].once, "%s", ONCE);
		assert_int_equal(talk_deliver(&k, &m, 1), 1);
		assert_true(is_sent(&m.rcpt[0].outcome));
		snprintf(said, sizeof said, "EHLO me.example\n%sDATA\n(22)\n", cases[i].said);
		assert_string_equal(buf_str(&k.peer.log), said);
		talk_end(&k);
	}
}

/* --- limits --- */

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

/* --- the gate --- */

static void test_gate(void **state)
{
	struct talk k = { .peer.offers = "" };
	struct message m;

	talk_start(&k);
	talk_run(&k);
	message_init(&m, 1, 2);
	m.t.gated = true;
	m.t.content.n -= 2; /* no CRLF at its end: it is added */
	client_submit(k.c, &m.t, k.now_ms);
	while (!strstr(buf_str(&k.peer.log), "DATA")) { /* command by command */
		assert_null(client_near_gate(k.c));
		assert_null(client_gate(k.c));
		struct span said = client_output(k.c, k.now_ms);
		peer_hear(&k.peer, said);
		client_written(k.c, said.n, k.now_ms);
		if (said.n > 4 && memcmp(said.p, "DATA", 4) == 0) {
			assert_ptr_equal(client_near_gate(k.c), &m.t);
			assert_null(client_gate(k.c));
		}
		client_input(k.c, buf_span(&k.peer.out), k.now_ms);
		buf_clear(&k.peer.out);
	}
	assert_int_equal(client_output(k.c, k.now_ms).n, 0);
	assert_ptr_equal(client_gate(k.c), &m.t);
	assert_int_equal(m.t.content_sent, 0);
	client_open_gate(k.c, &m.t, k.now_ms);
	assert_null(client_gate(k.c));
	assert_null(client_near_gate(k.c));
	struct span out = client_output(k.c, k.now_ms);
	assert_true(span_eq(out, span_of("Subject: 1\r\n\r\n..dot 1\r\n.\r\n")));
	client_written(k.c, out.n - 1, k.now_ms);
	assert_int_equal(m.t.content_sent, 0);
	client_written(k.c, 1, k.now_ms);
	assert_true(m.t.content_sent > 0);
	talk_end(&k);
}

/* SES does not wait long: what it says while the gate is shut is the message's answer, and no doubt
 * remains, as nothing of it was sent. */
static void test_gate_times_out(void **state)
{
	struct talk k = { .peer.offers = "" };
	struct message m;
	struct span late = span_of("451 4.4.2 Timeout waiting for data from client.\r\n");

	talk_start(&k);
	talk_run(&k);
	message_init(&m, 1, 2);
	m.t.gated = true;
	client_submit(k.c, &m.t, k.now_ms);
	talk_run(&k);
	client_input(k.c, late, k.now_ms);
	assert_int_equal(client_state(k.c), CLIENT_DEAD);
	assert_null(client_gate(k.c));
	assert_ptr_equal(client_done(k.c), &m.t);
	assert_true(is_answered(&m.rcpt[1].outcome) && !m.rcpt[1].outcome.maybe_sent);
	assert_int_equal(m.rcpt[1].outcome.step, STEP_CONTENT);
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
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_refused_here),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_many_in_flight),
		cmocka_unit_test(test_rcptmax),
		cmocka_unit_test(test_mailmax),
		cmocka_unit_test(test_staging),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_gate_times_out),
		cmocka_unit_test(test_room_follows_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
