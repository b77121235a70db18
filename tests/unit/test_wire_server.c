/*
 * The server side without I/O: each dialogue, however it is cut, has to bring the same replies and
 * the same events.
 */
#include "server_talk.h"

static const struct {
	const char *in, *replies, *events;
} dialogues[] = {
	/* the plain way, and every command out of its place */
	{ E M R "DATA\r\nhi\r\n.\r\nQUIT\r\n", "250 250 250 354 250 221 ",
		"mail(a@a,0)rcpt(b@b)message(hi\r\n)" },
	{ "HELO c\r\n" M R "DATA\r\n..x\r\n\r\n.\r\n", "250 250 250 354 250 ",
		"mail(a@a,0)rcpt(b@b)message(.x\r\n\r\n)" },
	{ M, "503 ", "" },
	{ R, "503 ", "" },
	{ "DATA\r\n", "503 ", "" },
	{ "AUTH PLAIN =\r\nSTARTTLS\r\nVRFY x\r\n", "503 503 503 ", "" },
	{ E R, "250 503 ", "" },
	{ E "DATA\r\n", "250 503 ", "" },
	{ E M M, "250 250 503 ", "mail(a@a,0)" },
	{ E M "DATA\r\n", "250 250 503 ", "mail(a@a,0)" },
	{ E M RX "DATA\r\n", "250 250 550 503 ", "mail(a@a,0)" },
	{ E MX R "DATA\r\n", "250 550 503 503 ", "mail(refused@a,0)" },
	{ E M "AUTH PLAIN =\r\nSTARTTLS\r\n", "250 250 503 503 ", "mail(a@a,0)" },
	{ E M R "RSET\r\nDATA\r\n" M, "250 250 250 250 503 250 ",
		"mail(a@a,0)rcpt(b@b)mail(a@a,0)" },
	{ E M R E "DATA\r\n", "250 250 250 250 503 ", "mail(a@a,0)rcpt(b@b)" },
	{ E "MAIL FROM:<stopping@a>\r\n" R, "250 421 ", "mail(stopping@a,0)" },
	{ "NOOP\r\nNOOP x\r\nRSET\r\nHELP\r\nXYZ\r\nexpn y\r\n\r\n", "250 250 250 214 500 500 500 ",
		"" },
	{ "EHLO\r\nEHLO a b\r\nEHLO \001\r\nLHLO\r\nHELO\r\n", "501 501 501 501 501 ", "" },
	{ "DATA x\r\nRSET x\r\nSTARTTLS x\r\nQUIT x\r\n", "503 501 503 501 ", "" },

	/* paths */
	{ E "MAIL FROM:<>\r\nrcpt to: <\"a>b\"@b>\r\n", "250 250 250 ", "mail(,0)rcpt(\"a>b\"@b)" },
	{ E "MAIL FROM:a@a\r\nMAIL FROM <a@a>\r\nMAIL\r\nMAIL FROM:<a@a\r\nMAIL FROM:<a@a>x\r\n",
		"250 501 501 501 501 501 ", "" },
	{ E "MAIL FROM:<a>\r\nMAIL FROM:<a@>\r\nMAIL FROM:<@b>\r\nMAIL FROM:<a@b@c>\r\n",
		"250 501 501 553 501 ", "" },
	{ E M "RCPT TO:<>\r\nRCPT TO:<@a,@b:c@d>\r\nRCPT TO:<@a:c@d>\r\nRCPT TO:<x@>\r\n",
		"250 250 501 553 553 501 ", "mail(a@a,0)" },
	{ E "MAIL FROM:<\x80@a>\r\n", "250 501 ", "" },

	/* parameters */
	{ E "MAIL FROM:<a@a> SIZE=1000 BODY=8BITMIME\r\n" R "DATA\r\n.\r\n", "250 250 250 354 250 ",
		"mail(a@a,1000,8)rcpt(b@b)message(8,)" },
	{ E "MAIL FROM:<a@a> SIZE=1001\r\n", "250 552 ", "" },
	{ E "MAIL FROM:<a@a> SIZE=99999999999999999999999\r\nMAIL FROM:<a@a> SIZE=-1\r\n"
	    "MAIL FROM:<a@a> SIZE\r\nMAIL FROM:<a@a> SIZE=1 SIZE=1\r\n",
		"250 501 501 501 501 ", "" },
	{ E "MAIL FROM:<a@a> BODY=BINARYMIME\r\nMAIL FROM:<a@a> SMTPUTF8\r\n"
	    "MAIL FROM:<a@a> RET=HDRS\r\n",
		"250 501 555 555 ", "" },
	{ E "MAIL FROM:<a@a> AUTH=<>\r\n"
	    "RCPT TO:<b@b> XONCE=0123456789ABCDEF0123456789abcdef\r\n"
	    "RCPT TO:<b@b> XONCE=0123\r\nRCPT TO:<b@b> NOTIFY=NEVER\r\n",
		"250 250 250 501 555 ", "mail(a@a,0)rcpt(b@b,0123456789abcdef0123456789abcdef)" },

	/* recipients beyond the ceiling, and content beyond it */
	{ E M R R R R "DATA\r\n.\r\n", "250 250 250 250 250 452 354 250 ", NULL },

	/* ends of DATA: CRLF . CRLF alone; anything else bare is refused at the end */
	{ E M R "DATA\r\n.\r\n", "250 250 250 354 250 ", "mail(a@a,0)rcpt(b@b)message()" },
	{ E M R "DATA\r\nx\n.\n\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nx\n.\r\n\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nx\r.\r\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nx\r\n.\r\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nx\r\n.\n\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nx\r.\r\n\r\n.\r\n", "250 250 250 354 554 ", "mail(a@a,0)rcpt(b@b)" },
	{ E M R "DATA\r\nno!\r\n.\r\nNOOP\r\n" M, "250 250 250 354 554 250 250 ",
		"mail(a@a,0)rcpt(b@b)mail(a@a,0)" },

	/* LMTP: one answer for each accepted recipient, refused content too */
	{ L M R RX R2 "DATA\r\nx\r\n.\r\n", "250 250 250 550 250 354 250 250 ",
		"mail(a@a,0)rcpt(b@b)rcpt(c@c)message(lmtp,x\r\n)" },
	{ L M R R2 "DATA\r\n!\r\n.\r\n", "250 250 250 250 354 554 554 ", NULL },
	{ L M R R2 "BDAT 3\r\n!\r\nBDAT 0 LAST\r\n" M, "250 250 250 250 554 503 503 250 ", NULL },
	{ L M RX "DATA\r\n", "250 250 550 503 ", "mail(a@a,0)" },
	{ L M RX "BDAT 4 LAST\r\nhi\r\n" M, "250 250 550 503 250 ", "mail(a@a,0)mail(a@a,0)" },
	/* a window: the refused one takes its own content with it, and nothing else */
	{ L M R "BDAT 4 LAST\r\nhi\r\n" MX R "BDAT 6 LAST\r\nQUIT\r\n" M R2 "BDAT 4 LAST\r\nho\r\n",
		"250 250 250 250 550 503 503 250 250 250 ",
		"mail(a@a,0)rcpt(b@b)message(lmtp,hi\r\n)mail(refused@a,0)"
		"mail(a@a,0)rcpt(c@c)message(lmtp,ho\r\n)" },

	/* BDAT */
	{ E M R "BDAT 4\r\nhi\r\nBDAT 0\r\nBDAT 3 last\r\nx\r\n", "250 250 250 250 250 250 ",
		"mail(a@a,0)rcpt(b@b)message(hi\r\nx\r\n)" },
	{ E M R "BDAT 3\r\n.\r\nBDAT 0 LAST\r\n", "250 250 250 250 250 ",
		"mail(a@a,0)rcpt(b@b)message(.\r\n)" },
	{ E M R "BDAT 2\r\nx\rBDAT 1 LAST\r\n\n", "250 250 250 250 250 ",
		"mail(a@a,0)rcpt(b@b)message(x\r\n)" },
	{ E M R "BDAT 2\r\nx\rBDAT 1 LAST\r\ny", "250 250 250 250 554 ", NULL },
	{ E M R "BDAT 2 LAST\r\nx\r", "250 250 250 554 ", NULL },
	{ E M R "BDAT 2 LAST\r\nx\n", "250 250 250 554 ", NULL },
	{ E M R "BDAT 0 LAST\r\nBDAT 0 LAST\r\n", "250 250 250 250 503 ", NULL },
	{ E M R "BDAT 1\r\nxDATA\r\n" R M "RSET\r\n" M, "250 250 250 250 503 503 503 250 250 ",
		NULL },
	{ E "BDAT 6\r\nNOOP\r\n" M "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 503 250 503 250 ",
		"mail(a@a,0)" },
	{ "BDAT 6 LAST\r\nQUIT\r\n" E, "503 250 ", "" },
	/* after a refused chunk nothing but RSET helps */
	{ E M R "BDAT 1\r\n!BDAT 6\r\nQUIT\r\n" R "DATA\r\nBDAT 1 LAST\r\nx" M,
		"250 250 250 554 503 503 503 503 250 ", NULL },
	{ E M "BDAT 1\r\nx" R "RSET\r\n" M R, "250 250 503 503 250 250 250 ", NULL },
	{ E M R "BDAT 4611686018427387904 LAST\r\nQUIT\r\n", "250 250 250 ", NULL },
};

static void test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++) {
		bool ends =
			strstr(dialogues[i].replies, "221") || strstr(dialogues[i].replies, "421");
		expect(&usual, false, span_of(dialogues[i].in), dialogues[i].replies,
			dialogues[i].events, ends ? SERVER_CLOSED : SERVER_OPEN);
	}
}

/* E7. Where a chunk's end can't be known the connection ends: its content is never taken as
 * commands.
 */
static void test_bdat_syntax(void **state)
{
	static const char *const bad[] = { "BDAT", "BDAT -1", "BDAT x", "BDAT 1 LASTING",
		"BDAT 1 LAST LAST", "BDAT +1", "BDAT 18446744073709551616", "BDAT 0x10 LAST" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char in[200];
		snprintf(in, sizeof in, E M R "%s\r\nNOOP\r\n", bad[i]);
		expect(&usual, false, span_of(in), "250 250 250 501 ", NULL, SERVER_CLOSED);
	}
	struct server_options o = usual;
	o.offer_chunking = false;
	expect(&o, false, span_of(E M R "BDAT 1\r\nx"), "250 250 250 502 ", NULL, SERVER_CLOSED);
}

/* E6 */
static void test_content_ceiling(void **state)
{
	struct buf in;

	(void)state;
	buf_init(&in, 1 << 20);
	for (unsigned over = 0; over < 2; over++) {
		buf_clear(&in);
		buf_add_str(&in, E "MAIL FROM:<a@a> SIZE=5\r\n" R "DATA\r\n"); /* SIZE lies */
		for (unsigned i = 0; i < 998 + over; i++)
			buf_add_char(&in, 'x');
		buf_add_str(&in, "\r\n.\r\n" M R "BDAT 1000 LAST\r\n");
		for (unsigned i = 0; i < 998; i++)
			buf_add_char(&in, 'x');
		buf_add_str(&in, "\r\n");
		buf_printf(&in, M R "BDAT 1000\r\n");
		for (unsigned i = 0; i < 1000; i++)
			buf_add_char(&in, 'x');
		buf_printf(&in, "BDAT %u LAST\r\n%s", over, over ? "x" : "");
		expect(&usual, false, buf_span(&in),
			over ? "250 250 250 354 552 250 250 250 250 250 250 552 "
			     : "250 250 250 354 250 250 250 250 250 250 250 250 ",
			NULL, SERVER_OPEN);
	}
	buf_done(&in);
}

/* What a program of this host may, and a client of the network may not. */
static void test_local_ways(void **state)
{
	struct server_options o = usual;

	(void)state;
	o.bare_names = o.helo_optional = o.mends_content = o.offer_dsn = true;
	expect(&o, false,
		span_of("MAIL FROM:<joe>\r\nRCPT TO:<root>\r\nRCPT TO:<\"a b\">\r\nRCPT "
			"TO:<a..b>\r\n"
			"RCPT TO:<@a:b@c>\r\nDATA\r\nx\ny\rz\n.\nM\r.\r\n\n.\r\n.\r\n"),
		"250 250 250 501 553 354 250 ",
		"mail(joe,0)rcpt(root)rcpt(\"a b\")message(x\ny\rz\n.\nM\r.\r\n\n.\r\n)",
		SERVER_OPEN);
	expect(&o, false, span_of(M R "DATA\r\nx\r\n..\n\r\n.\r\n"), "250 250 354 250 ",
		"mail(a@a,0)rcpt(b@b)message(x\r\n.\n\r\n)", SERVER_OPEN);
}

/* E6: content without end, by its dot or by its count: it ends, with the connection. */
static void test_content_without_end(void **state)
{
	static const char *const opening[] = { E M R "DATA\r\n",
		E M R "BDAT 4611686018427387904\r\n" };
	static char piece[1 << 20];

	(void)state;
	memset(piece, 'x', sizeof piece);
	for (size_t i = 0; i < 2; i++) {
		struct owner w;
		unsigned seed = 1;
		size_t taken = 0, used;
		run(&w, &usual, false, span_of(opening[i]), 4096, &seed);
		while (server_state(w.server) == SERVER_OPEN && taken < 2u * SERVER_EXCESS_MAX) {
			server_input(w.server, span_make(piece, sizeof piece), &used);
			taken += used;
		}
		assert_int_equal(server_state(w.server), SERVER_CLOSED);
		assert_true(taken > SERVER_EXCESS_MAX);
		assert_string_equal(
			buf_str(&w.replies), i == 0 ? "250 250 250 354 552 " : "250 250 250 552 ");
		owner_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_bdat_syntax),
		cmocka_unit_test(test_content_ceiling),
		cmocka_unit_test(test_local_ways),
		cmocka_unit_test(test_content_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
