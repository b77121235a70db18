/*
 * The matrix: each step of the dialogue times each kind of answer, and of none, in each mode (D7,
 * and D1, D3 at each step). What the class of the message must be whose turn it was; that every
 * recipient of every message in flight comes back, none of them failed by an answer that was not
 * his; and that nothing but a peer that says nothing is ever waited for. (connect and the handshake
 * are the link's: test_wire_link.c, test_wire_link_tls.c.)
 */
#include "client_talk.h"

#include "wire/sasl.h"

enum kind { GOOD, WRONG, LATER, NEVER, CLOSING, GARBAGE, END, RESET, SILENCE, KINDS };

#define SENT ((int)VERDICT_SENT)
#define ROAD ((int)VERDICT_ROAD)
#define UNKN ((int)VERDICT_UNKNOWN)
#define LATR ((int)VERDICT_LATER)
#define NEVR ((int)VERDICT_NEVER)
/* No answer: ROAD, and UNKNOWN once the content was out. */
#define LOST (-1)

static const struct row {
	const char *verb;
	unsigned nth, nth_lmtp;
	const char *good, *wrong;
	int class[KINDS];
} rows[] = {
	/* clang-format off */
	/*                                                2yz   3yz   4yz   5yz   421 garbage EOF  RST  silence */
	{ "GREETING", 1, 1, "220 hi\r\n",  "354 go\r\n", { SENT, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD } },
	{ "EHLO",     2, 2, NULL,          "354 go\r\n", { SENT, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD } },
	{ "STARTTLS", 1, 1, "220 go\r\n",  "354 go\r\n", { SENT, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD } },
	{ "AUTH",     1, 1, "235 ok\r\n",  "334 go\r\n", { SENT, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD, ROAD } },
	{ "MAIL",     2, 2, "250 ok\r\n",  "354 go\r\n", { SENT, UNKN, LATR, NEVR, ROAD, UNKN, LOST, LOST, LOST } },
	{ "RCPT",     3, 3, "250 ok\r\n",  "354 go\r\n", { SENT, UNKN, LATR, NEVR, ROAD, UNKN, LOST, LOST, LOST } },
	{ "DATA",     2, 2, "354 go\r\n",  "250 ok\r\n", { SENT, UNKN, LATR, NEVR, ROAD, UNKN, LOST, LOST, LOST } },
	{ "CONTENT",  2, 3, "250 ok\r\n",  "354 go\r\n", { SENT, UNKN, LATR, NEVR, ROAD, UNKN, LOST, LOST, LOST } },
	{ "RSET",     1, 1, "250 ok\r\n",  "354 go\r\n", { SENT, UNKN, LOST, LOST, LOST, UNKN, LOST, LOST, LOST } },
	{ "QUIT",     1, 1, "221 bye\r\n", "354 go\r\n", { SENT, SENT, SENT, SENT, SENT, SENT, SENT, SENT, SENT } },
	/* clang-format on */
};
#define ROWS (sizeof rows / sizeof *rows)

static const char *const says[KINDS] = {
	[LATER] = "451 4.0.0 later\r\n",
	[NEVER] = "550 5.0.0 never\r\n",
	[CLOSING] = "421 4.3.2 closing\r\n",
	[GARBAGE] = "hello\r\n",
	[END] = "",
	[RESET] = "",
	[SILENCE] = "",
};

static bool is_said(const struct mode *mode, const struct row *row)
{
	if (strcmp(row->verb, "DATA") == 0)
		return !mode->bdat;
	if (strcmp(row->verb, "RSET") == 0)
		return strstr(mode->offers, "PIPELINING") && !mode->window;
	return true;
}

/* Messages that the client takes are submitted, and QUIT follows; what is in the air when nothing
 * moves any more is ended as the kind says. */
static void run_to_the_end(struct talk *k, struct message *m, enum kind kind)
{
	enum step step = STEP_CONNECT;
	struct transaction *t;

	talk_deliver(k, m, 3);
	if (client_state(k->c) == CLIENT_READY)
		client_quit(k->c, k->now_ms);
	talk_run(k);
	int64_t deadline = client_deadline(k->c, &step);
	if (client_state(k->c) == CLIENT_DEAD) {
		assert_true(deadline == INT64_MAX);
	} else {
		/* Nobody is waited for but who owes an answer, and not without an end. */
		assert_true(kind == END || kind == RESET || kind == SILENCE);
		assert_true(deadline != INT64_MAX && deadline - k->now_ms <= 600000);
		if (kind == SILENCE)
			k->now_ms = deadline;
		client_cut(k->c, step,
			kind == END     ? "closed"
			: kind == RESET ? "reset"
					: "timed out",
			k->now_ms);
	}
	while ((t = client_done(k->c)))
		((struct message *)t->owner)->back++;
	assert_int_equal(client_state(k->c), CLIENT_DEAD);
	assert_int_equal(client_flying(k->c), 0);
}

static struct verdict pass(const struct outcome *o)
{
	struct verdict v;

	verdict_pass(o, &(struct verdict_rules) { .sender = "", .recipient = "" }, &v);
	return v;
}

static int expected(const struct row *row, enum kind kind, const struct outcome *o)
{
	if (row->class[kind] != LOST)
		return row->class[kind];
	return o->maybe_sent ? UNKN : ROAD;
}

/* None was ever submitted, or all came back, each once; the struck one as the table says, the one
 * before it sent, and the one after it never blamed for what was not his. */
static void judge(const struct talk *k, struct message *m, const struct row *row, enum kind kind)
{
	if (m[0].back == 0) { /* it never was ready */
		assert_int_equal(row->class[kind], ROAD);
		assert_int_equal(pass(client_fault(k->c)).class, VERDICT_ROAD);
		return;
	}
	check(k, m, 3);
	const struct outcome *o = &m[1].rcpt[0].outcome;
	assert_int_equal(pass(&m[0].rcpt[0].outcome).class, VERDICT_SENT);
	assert_int_equal(m[1].back, 1);
	assert_int_equal(pass(o).class, expected(row, kind, o));
	for (int r = 0; r < 2 && m[2].back; r++) {
		int class = (int)pass(&m[2].rcpt[r].outcome).class;
		assert_true(class == SENT || class == ROAD || class == UNKN);
	}
}

static void try_point(const struct mode *mode, const struct row *row, enum kind kind)
{
	char tls[200];
	struct talk k = { .relay.tls = RELAY_TLS_STARTTLS };
	struct message m[3];
	const char *say = kind == GOOD ? row->good : kind == WRONG ? row->wrong : says[kind];

	snprintf(k.relay.user, sizeof k.relay.user, "u");
	snprintf(k.relay.password, sizeof k.relay.password, "pw");
	snprintf(tls, sizeof tls, "%s%sAUTH PLAIN", mode->offers, mode->offers[0] ? "\n" : "");
	if (say) /* EHLO's own answer is the good one */
		k.peer.trick[0] = (struct peer_trick) { row->verb,
			mode->lmtp ? row->nth_lmtp : row->nth, say, kind == CLOSING };
	k.peer.lmtp = mode->lmtp;
	k.peer.offers = "STARTTLS";
	k.peer.offers_tls = tls;
	talk_start(&k);
	three(m);
	run_to_the_end(&k, m, kind);
	judge(&k, m, is_said(mode, row) ? row : &rows[ROWS - 1], is_said(mode, row) ? kind : GOOD);
	talk_end(&k);
}

static void test_matrix(void **state)
{
	unsigned tried = 0;

	for (size_t i = 0; i < MODES; i++)
		for (size_t r = 0; r < ROWS; r++)
			for (int kind = 0; kind < KINDS && is_said(&modes[i], &rows[r]); kind++) {
				try_point(&modes[i], &rows[r], (enum kind)kind);
				tried++;
			}
	print_message("matrix: %u points tried of %zu; at the others nothing is said\n", tried,
		MODES * ROWS * KINDS);
}

/* The check can fail: an answer that is another's makes the verdict another. */
static void test_the_check_can_fail(void **state)
{
	const struct outcome sent = { .step = STEP_CONTENT, .reply.code = 250 };

	for (size_t r = 4; r < ROWS - 1; r++)
		for (int kind = 1; kind < KINDS; kind++)
			assert_int_not_equal(
				expected(&rows[r], (enum kind)kind, &sent), pass(&sent).class);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_the_check_can_fail),
	};

	if (sasl_start(true, false, &(struct err) { 0 }) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
