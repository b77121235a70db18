/*
 * The client against a peer that behaves: what it says in each mode, what it makes of the answers,
 * and its gate before the content.
 */
#include "client_talk.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_gate_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
