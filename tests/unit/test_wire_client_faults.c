/*
 * The client against a peer that stops, babbles or lies (CASES D3, D5, D6, D13): what each
 * recipient is told then.
 */
#include "client_talk.h"

/* maybe_sent begins with the last octet of a content, and not before; and a message of which not
 * one octet was said is not blamed (verdict.h: own_mail). */
static void test_maybe_sent_to_the_octet(void **state)
{
	bool more = true;

	for (size_t n = 0; more; n++) {
		struct talk k = { 0 };
		struct message m[3];
		size_t end = 0;
		talk_start_mode(&k, &modes[0]);
		talk_run(&k);
		three(m);
		for (int j = 0; j < 3; j++)
			client_submit(k.c, &m[j].t, k.now_ms);
		struct span out = client_output(k.c, k.now_ms);
		more = n < out.n;
		char text[2048];
		assert_true(out.n < sizeof text);
		memcpy(text, out.p, out.n);
		text[out.n] = '\0';
		client_written(k.c, n, k.now_ms);
		client_cut(k.c, STEP_CONTENT, "reset", k.now_ms);
		for (int j = 0; j < 3; j++) {
			bool said = n > end;
			const char *bdat = strstr(text + end, "LAST\r\n");
			end = (size_t)(bdat - text) + 6 + m[j].t.content.n;
			assert_ptr_equal(client_done(k.c), &m[j].t);
			assert_true(m[j].rcpt[1].outcome.lost);
			assert_int_equal(m[j].rcpt[1].outcome.maybe_sent, n >= end);
			assert_int_equal(
				m[j].rcpt[1].outcome.step, said ? STEP_MAIL : STEP_CONNECT);
		}
		assert_int_equal(end, out.n);
		talk_end(&k);
	}
}

/* D6: some of the replies that LMTP owes, each its recipient's. */
static void test_lmtp_some_replies(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		if (!modes[i].lmtp)
			continue;
		struct talk k = { .peer.trick = { { "RCPT", 2, "550 5.1.1 nobody\r\n", false },
					  { "CONTENT", 1, "451 4.0.0 later\r\n", false },
					  { "CONTENT", 3, "", true } } };
		struct message m;
		talk_start_mode(&k, &modes[i]);
		message_init(&m, 1, 4);
		deliver_and_cut(&k, &m, 1);
		assert_int_equal(m.rcpt[0].outcome.reply.code, 451);
		assert_int_equal(m.rcpt[0].outcome.step, STEP_CONTENT);
		assert_int_equal(m.rcpt[1].outcome.reply.code, 550);
		assert_int_equal(m.rcpt[1].outcome.step, STEP_RCPT);
		assert_true(is_sent(&m.rcpt[2].outcome));
		assert_true(m.rcpt[3].outcome.lost && m.rcpt[3].outcome.maybe_sent);
		talk_end(&k);
	}
}

/* 421 to the content of the first of two: his answer; the other's is lost with it. */
static void test_lmtp_421(void **state)
{
	struct talk k = { .peer.trick = { { "CONTENT", 1, "421 4.3.2 stopping\r\n", true } } };
	struct message m[2];

	talk_start_mode(&k, &modes[0]);
	message_init(&m[0], 1, 2);
	message_init(&m[1], 2, 1);
	deliver_and_cut(&k, m, 2);
	assert_true(is_answered(&m[0].rcpt[0].outcome));
	assert_true(m[0].rcpt[1].outcome.lost && m[0].rcpt[1].outcome.maybe_sent);
	assert_int_equal(m[0].rcpt[1].outcome.reply.code, 421);
	assert_true(m[1].rcpt[0].outcome.lost && m[1].rcpt[0].outcome.maybe_sent);
	assert_int_equal(client_fault(k.c)->reply.code, 421);
	talk_end(&k);
}

/* D5: nobody was accepted, and yet 354: a lone dot, whose 250 delivers nobody. */
static void test_lone_dot(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		struct talk k = { .peer.trick = { { "RCPT", 1, "550 5.1.1 no\r\n", false },
					  { "RCPT", 2, "450 4.1.1 no\r\n", false },
					  { "DATA", 1, "354 go\r\n", false } } };
		struct message m[2];
		if (modes[i].bdat || modes[i].offers[0] != 'P')
			continue; /* DATA is only said there when a recipient is left */
		talk_start_mode(&k, &modes[i]);
		message_init(&m[0], 1, 2);
		message_init(&m[1], 2, 2);
		deliver_and_cut(&k, m, 2);
		assert_non_null(strstr(buf_str(&k.peer.log), "DATA\n(0)\nRSET\n"));
		assert_int_equal(m[0].rcpt[0].outcome.reply.code, 550);
		assert_int_equal(m[0].rcpt[1].outcome.reply.code, 450);
		assert_int_equal(m[0].rcpt[1].outcome.step, STEP_RCPT);
		assert_true(is_sent(&m[1].rcpt[0].outcome));
		talk_end(&k);
	}
}

/* Where nobody is accepted and the content can still be kept back, it is; RSET follows. */
static void test_nobody_accepted(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		struct talk k = { .peer.trick = { { "RCPT", 1, "550 5.1.1 no\r\n", false },
					  { "RCPT", 2, "550 5.1.1 no\r\n", false } } };
		struct message m[2];
		talk_start_mode(&k, &modes[i]);
		message_init(&m[0], 1, 2);
		message_init(&m[1], 2, 1);
		deliver_and_cut(&k, m, 2);
		assert_true(is_answered(&m[0].rcpt[0].outcome));
		assert_int_equal(m[0].t.content_sent != 0, modes[i].window);
		assert_int_equal(strstr(buf_str(&k.peer.log), "RSET\n") != NULL, !modes[i].window);
		assert_true(is_sent(&m[1].rcpt[0].outcome));
		talk_end(&k);
	}
}

/* D13: MAIL is refused, and what follows it is taken, as Exim does when a transaction that it
 * refused was not reset: under whose name it was taken nobody knows. */
static void test_taken_after_a_refused_mail(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		struct talk k = { .peer.trick = {
					  { "MAIL", 1, "503 sender already given\r\n", false },
					  { "RCPT", 0, "250 Ok\r\n", false },
					  { "CONTENT", 0, "250 Ok\r\n", false } } };
		struct message m[2];
		talk_start_mode(&k, &modes[i]);
		message_init(&m[0], 1, 2);
		message_init(&m[1], 2, 1);
		deliver_and_cut(&k, m, 2);
		if (modes[i].offers[0] == 'P') {
			for (int r = 0; r < 2; r++)
				assert_true(m[0].rcpt[r].outcome.unexpected);
			assert_int_equal(client_state(k.c), CLIENT_DEAD);
			assert_true(client_fault(k.c)->unexpected);
		} else { /* lock step never says the RCPT */
			assert_int_equal(m[0].rcpt[0].outcome.reply.code, 503);
			assert_int_equal(m[0].rcpt[0].outcome.step, STEP_MAIL);
			assert_true(is_sent(&m[1].rcpt[0].outcome));
		}
		talk_end(&k);
	}
}

/* In a window the content is said in any case: a 250 to it, with nobody accepted, can't be. */
static void test_taken_for_nobody(void **state)
{
	struct talk k = { .peer.trick = { { "RCPT", 1, "550 5.1.1 no\r\n", false },
				  { "CONTENT", 1, "250 Ok\r\n", false } } };
	struct message m[2];

	talk_start_mode(&k, &modes[0]);
	message_init(&m[0], 1, 1);
	message_init(&m[1], 2, 1);
	deliver_and_cut(&k, m, 2);
	assert_true(m[0].rcpt[0].outcome.unexpected);
	assert_true(m[1].rcpt[0].outcome.lost);
	talk_end(&k);
}

/* D3: a reply that nothing asked for ends the connection, whatever it says. */
static void test_unasked(void **state)
{
	static const struct {
		const char *say;
		bool unexpected;
	} cases[] = { { "250 Ok\r\n", true }, { "550 no\r\n", true }, { "x\r\n", true },
		{ "421 idle\r\n", false } };

	for (size_t i = 0; i < MODES; i++)
		for (size_t j = 0; j < 4; j++) {
			struct talk k = { 0 };
			struct message m;
			talk_start_mode(&k, &modes[i]);
			message_init(&m, 1, 1);
			assert_int_equal(talk_deliver(&k, &m, 1), 1);
			assert_true(is_sent(&m.rcpt[0].outcome));
			client_input(k.c, span_of(cases[j].say), k.now_ms);
			assert_int_equal(client_state(k.c), CLIENT_DEAD);
			assert_int_equal(client_fault(k.c)->unexpected, cases[j].unexpected);
			talk_end(&k);
		}
}

/* What comes while a message waits to be written is not about it. */
static void test_unasked_before_it_was_said(void **state)
{
	struct talk k = { 0 };
	struct message m;

	talk_start_mode(&k, &modes[0]);
	talk_run(&k);
	message_init(&m, 1, 1);
	client_submit(k.c, &m.t, k.now_ms);
	assert_true(client_output(k.c, k.now_ms).n > 0);
	client_input(k.c, span_of("451 4.4.2 Timeout waiting for data from client.\r\n"), k.now_ms);
	assert_ptr_equal(client_done(k.c), &m.t);
	assert_true(m.rcpt[0].outcome.lost);
	assert_int_equal(m.rcpt[0].outcome.step, STEP_CONNECT);
	assert_true(client_fault(k.c)->unexpected);
	talk_end(&k);
}

/* Answers that overtake their commands answer something else. */
static void test_answered_before_it_was_written(void **state)
{
	struct talk k = { 0 };
	struct message m[2];
	struct span all = span_of("250 a\r\n250 b\r\n250 c\r\n");

	talk_start_mode(&k, &modes[0]);
	talk_run(&k);
	message_init(&m[0], 1, 1);
	message_init(&m[1], 2, 1);
	client_submit(k.c, &m[0].t, k.now_ms);
	client_submit(k.c, &m[1].t, k.now_ms);
	struct span out = client_output(k.c, k.now_ms);
	size_t content = (size_t)(strstr(out.p, "LAST\r\n") - out.p) + 6 + m[0].t.content.n;
	client_written(k.c, content - 1, k.now_ms);
	client_input(k.c, all, k.now_ms);
	assert_int_equal(client_state(k.c), CLIENT_DEAD);
	assert_ptr_equal(client_done(k.c), &m[0].t);
	assert_true(m[0].rcpt[0].outcome.unexpected && !m[0].rcpt[0].outcome.maybe_sent);
	assert_ptr_equal(client_done(k.c), &m[1].t);
	assert_true(m[1].rcpt[0].outcome.lost);
	talk_end(&k);
}

/* The same of a refusal: before a content has begun, nothing has been said that it could refuse. */
static void test_refused_before_it_was_written(void **state)
{
	for (size_t i = 0; i < 4; i += 2) { /* with BDAT, and where 354 came */
		struct talk k = { 0 };
		struct message m;
		talk_start_mode(&k, &modes[i]);
		talk_run(&k);
		message_init(&m, 1, 1);
		client_submit(k.c, &m.t, k.now_ms);
		struct span out = client_output(k.c, k.now_ms);
		const char *content = strstr(out.p, modes[i].bdat ? "BDAT" : "DATA");
		size_t n = (size_t)(content - out.p) + (modes[i].bdat ? 0 : 6);
		client_written(k.c, n, k.now_ms);
		client_input(k.c, span_of("250 a\r\n250 b\r\n"), k.now_ms);
		if (!modes[i].bdat)
			client_input(k.c, span_of("354 go\r\n"), k.now_ms);
		assert_true(client_output(k.c, k.now_ms).n > 0); /* it is about to be written */
		client_input(k.c, span_of("550 5.7.1 no\r\n"), k.now_ms);
		assert_ptr_equal(client_done(k.c), &m.t);
		assert_true(m.rcpt[0].outcome.unexpected && !m.rcpt[0].outcome.maybe_sent);
		assert_int_equal(m.rcpt[0].outcome.step, STEP_CONTENT);
		talk_end(&k);
	}
}

/* 421 in the middle of a content does not answer it. */
static void test_closing_in_the_middle(void **state)
{
	struct talk k = { 0 };
	struct message m;

	talk_start_mode(&k, &modes[0]);
	talk_run(&k);
	message_init(&m, 1, 1);
	client_submit(k.c, &m.t, k.now_ms);
	struct span out = client_output(k.c, k.now_ms);
	client_written(k.c, out.n - 1, k.now_ms);
	client_input(k.c, span_of("250 a\r\n250 b\r\n421 4.3.2 stopping\r\n"), k.now_ms);
	assert_ptr_equal(client_done(k.c), &m.t);
	assert_true(m.rcpt[0].outcome.lost && !m.rcpt[0].outcome.maybe_sent);
	assert_int_equal(m.rcpt[0].outcome.step, STEP_CONTENT);
	assert_int_equal(m.rcpt[0].outcome.reply.code, 421);
	assert_int_equal(client_fault(k.c)->reply.code, 421);
	talk_end(&k);
}

/* A refusal while the content is being written is the answer to it, and the connection is over.
 * Under LMTP it is the first recipient's (D6): the other one is tried again. */
static void test_refused_in_the_middle(void **state)
{
	for (int lmtp = 0; lmtp < 2; lmtp++) {
		struct talk k = { 0 };
		struct message m[2];
		talk_start_mode(&k, &modes[lmtp ? 0 : 1]);
		talk_run(&k);
		message_init(&m[0], 1, 2);
		message_init(&m[1], 2, 1);
		client_submit(k.c, &m[0].t, k.now_ms);
		client_submit(k.c, &m[1].t, k.now_ms);
		struct span out = client_output(k.c, k.now_ms);
		client_written(k.c, (size_t)(strstr(out.p, "LAST\r\n") - out.p) + 10, k.now_ms);
		client_input(
			k.c, span_of("250 a\r\n250 b\r\n250 b\r\n552 5.3.4 too big\r\n"), k.now_ms);
		assert_int_equal(client_state(k.c), CLIENT_DEAD);
		assert_ptr_equal(client_done(k.c), &m[0].t);
		assert_int_equal(m[0].rcpt[0].outcome.reply.code, 552);
		assert_true(is_answered(&m[0].rcpt[0].outcome));
		assert_int_equal(is_answered(&m[0].rcpt[1].outcome), !lmtp);
		assert_int_equal(m[0].rcpt[1].outcome.lost, lmtp);
		assert_int_equal(m[0].rcpt[1].outcome.step, STEP_CONTENT);
		assert_false(m[0].rcpt[1].outcome.maybe_sent);
		assert_ptr_equal(client_done(k.c), &m[1].t);
		assert_true(m[1].rcpt[0].outcome.lost && !m[1].rcpt[0].outcome.maybe_sent);
		assert_true(client_fault(k.c)->lost);
		talk_end(&k);
	}
}

/* What nothing was said of is not blamed on its message (verdict.h: own_mail). */
static void test_not_begun(void **state)
{
	struct talk k = { 0 };
	struct message m;

	talk_start_mode(&k, &modes[0]);
	talk_run(&k);
	message_init(&m, 1, 1);
	client_submit(k.c, &m.t, k.now_ms);
	client_cut(k.c, STEP_RSET, "reset", k.now_ms);
	assert_ptr_equal(client_done(k.c), &m.t);
	assert_int_equal(m.rcpt[0].outcome.step, STEP_CONNECT);
	assert_int_equal(m.t.began, 0);
	talk_end(&k);
}

/* A 250 that belongs to QUIT delivers nobody: QUIT waits until nothing is owed. */
static void test_quit_waits(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		struct talk k = { .peer.trick = { { "QUIT", 0, "250 Ok\r\n", true } } };
		struct message m;
		talk_start_mode(&k, &modes[i]);
		talk_run(&k);
		message_init(&m, 1, 1);
		client_submit(k.c, &m.t, k.now_ms);
		client_quit(k.c, k.now_ms);
		assert_false(client_room(k.c, 0));
		talk_run(&k);
		assert_ptr_equal(client_done(k.c), &m.t);
		assert_true(is_sent(&m.rcpt[0].outcome));
		assert_int_equal(client_state(k.c), CLIENT_DEAD);
		assert_non_null(strstr(buf_str(&k.peer.log), "(22)\nQUIT\n"));
		talk_end(&k);
	}
}

/* The first is not answered: the one behind it goes another way, uncharged and never taken here;
 * and when the first is answered after all, that counts. */
static void test_withdrawn_behind_a_stalled_one(void **state)
{
	static const struct {
		const char *verb; /* to which nothing is said */
		const char *late; /* then all this */
		bool sent;
	} table[] = {
		{ "CONTENT", "250 2.0.0 Ok\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n", true },
		{ "CONTENT", "451 4.0.0 later\r\n250 Ok\r\n", false },
		{ "DATA", "451 4.0.0 later\r\n", false },
		{ "MAIL", "451 4.0.0 later\r\n503 no\r\n503 no\r\n", false },
	};

	for (size_t i = 0; i < MODES; i++)
		for (size_t j = 0; j < sizeof table / sizeof *table; j++) {
			struct talk k = { .peer.trick = { { table[j].verb, 1, "", false } } };
			struct message m[2];
			if (modes[i].window || modes[i].bdat || modes[i].offers[0] != 'P')
				continue; /* two are in flight by DATA and in groups alone */
			talk_start_mode(&k, &modes[i]);
			message_init(&m[0], 1, 1);
			message_init(&m[1], 2, 1);
			assert_int_equal(talk_deliver(&k, m, 2), 0);
			assert_int_equal(client_flying(k.c), 2);
			assert_int_equal(
				client_content_out(k.c), strcmp(table[j].verb, "CONTENT") == 0);
			client_withdraw(k.c, k.now_ms);
			assert_ptr_equal(client_done(k.c), &m[1].t);
			assert_null(client_done(k.c));
			assert_true(m[1].rcpt[0].outcome.lost && !m[1].rcpt[0].outcome.maybe_sent);
			assert_int_equal(m[1].rcpt[0].outcome.step, STEP_CONNECT);
			client_withdraw(k.c, k.now_ms); /* there is no other */
			client_input(k.c, span_of(table[j].late), k.now_ms);
			assert_ptr_equal(client_done(k.c), &m[0].t);
			assert_int_equal(is_sent(&m[0].rcpt[0].outcome), table[j].sent);
			assert_int_equal(is_answered(&m[0].rcpt[0].outcome), !table[j].sent);
			if (strcmp(table[j].verb, "CONTENT") == 0) {
				/* its commands were said: what is said now would be its content */
				assert_int_equal(client_state(k.c), CLIENT_DEAD);
				assert_int_equal(client_fault(k.c)->step, STEP_QUIT);
			} else {
				assert_int_equal(client_state(k.c), CLIENT_READY);
			}
			assert_int_equal(client_output(k.c, k.now_ms).n, 0);
			talk_end(&k);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maybe_sent_to_the_octet),
		cmocka_unit_test(test_lmtp_some_replies),
		cmocka_unit_test(test_lmtp_421),
		cmocka_unit_test(test_lone_dot),
		cmocka_unit_test(test_withdrawn_behind_a_stalled_one),
		cmocka_unit_test(test_nobody_accepted),
		cmocka_unit_test(test_taken_after_a_refused_mail),
		cmocka_unit_test(test_taken_for_nobody),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_unasked_before_it_was_said),
		cmocka_unit_test(test_answered_before_it_was_written),
		cmocka_unit_test(test_refused_before_it_was_written),
		cmocka_unit_test(test_closing_in_the_middle),
		cmocka_unit_test(test_refused_in_the_middle),
		cmocka_unit_test(test_not_begun),
		cmocka_unit_test(test_quit_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
