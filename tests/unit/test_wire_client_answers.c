/*
 * Each answer at each step, in each mode (CASES D1, D7): every recipient gets exactly one outcome,
 * and none is "sent" without a good answer to the content of his own, heard to its end.
 */
#include "client_talk.h"

/* The answer to the second of three messages is replaced. */
static const struct at {
	const char *verb;
	unsigned nth, nth_lmtp;
	enum step step;
} ats[] = {
	{ "MAIL", 2, 2, STEP_MAIL },
	{ "RCPT", 3, 3, STEP_RCPT },
	{ "DATA", 2, 2, STEP_DATA },
	{ "CONTENT", 2, 3, STEP_CONTENT },
	{ "RSET", 1, 1, STEP_RSET },
};

static const struct answer {
	const char *say;
	int code;
} answers[] = {
	{ "250 2.0.0 Ok\r\n", 250 },
	{ "354 go\r\n", 354 },
	{ "334 what\r\n", 334 },
	{ "451 4.0.0 later\r\n", 451 },
	{ "550 5.0.0 never\r\n", 550 },
	{ "421 4.3.2 closing\r\n", 421 },
	{ "hello\r\n", 0 },
	{ "250 Ok\n", 0 },
	{ "", -1 },
};

/* Whether that command is said in this mode at all. */
static bool is_said(const struct mode *mode, const struct at *at)
{
	switch (at->step) {
	case STEP_DATA:
		return !mode->bdat;
	case STEP_RSET:
		return strstr(mode->offers, "PIPELINING") && !mode->window;
	case STEP_CONNECT:
	case STEP_TLS:
	case STEP_GREETING:
	case STEP_EHLO:
	case STEP_STARTTLS:
	case STEP_AUTH:
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_CONTENT:
	case STEP_QUIT:
		break;
	}
	return true;
}

static void expect_all_sent(const struct message *m)
{
	for (int i = 0; i < 3; i++)
		for (int r = 0; r < 2; r++)
			assert_true(is_sent(&m[i].rcpt[r].outcome));
}

/* The refusal is its recipients', and nobody else's; the connection goes on. */
static void expect_refused(
	const struct message *m, const struct mode *mode, const struct at *at, int code)
{
	bool one = at->step == STEP_RCPT || (at->step == STEP_CONTENT && mode->lmtp);

	for (int r = 0; r < (one ? 1 : 2); r++) {
		const struct outcome *o = &m[1].rcpt[r].outcome;
		assert_true(is_answered(o));
		assert_int_equal(o->step, at->step);
		assert_int_equal(o->reply.code, code);
	}
	if (one)
		assert_true(is_sent(&m[1].rcpt[1].outcome));
	for (int i = 0; i < 3; i += 2)
		for (int r = 0; r < 2; r++)
			assert_true(is_sent(&m[i].rcpt[r].outcome));
}

/* The connection is over; the message that it was about is told how. */
static void expect_over(const struct message *m, const struct at *at, int code)
{
	const struct outcome *o = &m[1].rcpt[0].outcome;

	assert_true(is_sent(&m[0].rcpt[0].outcome));
	assert_int_equal(o->step, at->step);
	if (at->step == STEP_RSET) {
		assert_int_equal(o->lost, code >= 400 || code == -1);
		assert_int_equal(o->unexpected, code < 400 && code != -1);
	} else if (code == 421) {
		assert_true(is_answered(o));
		assert_int_equal(o->reply.code, 421);
	} else {
		assert_int_equal(o->lost, code == -1);
		assert_int_equal(o->unexpected, code != -1);
	}
}

static void try_answer(
	const struct mode *mode, const struct at *at, const struct answer *answer, unsigned seed)
{
	int good = at->step == STEP_DATA ? 354 : 250, code = answer->code;
	struct talk k = { .seed = seed };
	struct message m[3];

	k.peer.trick[0] = (struct peer_trick) { at->verb, mode->lmtp ? at->nth_lmtp : at->nth,
		answer->say, code == 421 };
	talk_start_mode(&k, mode);
	three(m);
	deliver_and_cut(&k, m, 3);
	if (!is_said(mode, at) || code == good)
		expect_all_sent(m);
	else if (code >= 400 && code != 421 && at->step != STEP_RSET)
		expect_refused(m, mode, at, code);
	else
		expect_over(m, at, code);
	talk_end(&k);
}

static void test_each_answer_at_each_step(void **state)
{
	for (size_t i = 0; i < MODES; i++)
		for (size_t s = 0; s < sizeof ats / sizeof *ats; s++)
			for (size_t a = 0; a < sizeof answers / sizeof *answers; a++)
				for (unsigned seed = 0; seed < 3; seed++)
					try_answer(&modes[i], &ats[s], &answers[a], seed);
}

/* D1: the peer's stream cut after each of its octets. */
static void test_cut_at_each_octet(void **state)
{
	for (size_t i = 0; i < MODES; i++) {
		uint64_t whole = 0;
		for (uint64_t n = 1; whole == 0 || n <= whole; n++) {
			struct talk k = { .reply_max = n };
			struct message m[3];
			talk_start_mode(&k, &modes[i]);
			three(m);
			deliver_and_cut(&k, m, 3);
			bool all = true;
			for (int j = 0; j < 3; j++)
				all = all && m[j].back && is_sent(&m[j].rcpt[1].outcome);
			if (all && whole == 0)
				whole = n;
			assert_int_equal(all, whole != 0);
			assert_true(n < 4000);
			talk_end(&k);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_answer_at_each_step),
		cmocka_unit_test(test_cut_at_each_octet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
