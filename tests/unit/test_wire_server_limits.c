/*
 * The server side without I/O: its ceilings, TLS, AUTH, what it offers, and the pause.
 */
#include "server_talk.h"

/* E6 */
static void test_lines(void **state)
{
	struct buf in;
	static const struct {
		size_t n;
		const char *replies;
	} rows[] = { { 511, "250 250 " }, { 513, "250 250 " }, { 2048, "250 250 " },
		{ 2049, "500 250 " }, { 12288, "500 250 " }, { 12289, "500 250 " },
		{ 1048576, "500 250 " } };

	(void)state;
	buf_init(&in, 8 << 20);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned seed = 7;
		buf_clear(&in);
		buf_add_str(&in, "NOOP ");
		while (in.len < rows[i].n - 2)
			buf_add_char(&in, 'x');
		buf_add_str(&in, "\r\nNOOP\r\n");
		for (size_t piece = 1000; piece < 1 << 22; piece *= 1000) {
			struct owner w;
			run(&w, &usual, false, buf_span(&in), piece, &seed);
			assert_string_equal(buf_str(&w.replies), rows[i].replies);
			owner_done(&w);
		}
	}
	/* a line that never ends: bounded memory, then the end */
	struct owner w;
	unsigned seed = 7;
	buf_clear(&in);
	for (size_t i = 0; i < 5 << 20; i++)
		buf_add_char(&in, 'x');
	run(&w, &usual, false, buf_span(&in), 16384, &seed);
	assert_string_equal(buf_str(&w.replies), "421 ");
	assert_int_equal(server_state(w.server), SERVER_CLOSED);
	owner_done(&w);
	buf_done(&in);
	expect(&usual, false, span_of("NOOP\nNOOP\r\nNO\rOP\r\n"), "500 250 500 ", "", SERVER_OPEN);
	expect(&usual, false, span_make("NOOP \0\r\nNOOP\r\n", 14), "500 250 ", "", SERVER_OPEN);
}

static void flood(const char *unit, unsigned times, const char *last, unsigned replies)
{
	struct owner w;
	struct buf in;
	unsigned seed = 1;

	buf_init(&in, 4 << 20);
	buf_add_str(&in, E);
	for (unsigned i = 0; i < times; i++)
		buf_add_str(&in, unit);
	run(&w, &usual, false, buf_span(&in), 4096, &seed);
	assert_int_equal(server_state(w.server), SERVER_CLOSED);
	assert_int_equal(w.replies.len, 4u * replies);
	assert_string_equal(buf_str(&w.replies) + w.replies.len - 4, last);
	owner_done(&w);
	buf_done(&in);
}

/* E7, E12 */
static void test_floods(void **state)
{
	(void)state;
	flood("NOOP\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood("VRFY x\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(M "RSET\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(E, 10000, "421 ", SERVER_IDLE_MAX + 1);
	flood("BDAT 1\r\nx", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(M R R R R, 100000, "421 ", SERVER_IDLE_MAX + 1 + 3); /* three that are accepted */
	flood(M R R R "RSET\r\n", 100000, "421 ", (SERVER_IDLE_MAX / 2 - 1) * 5 + 3);
	flood("XYZ\r\n", 1000, "421 ", SERVER_ERRORS_MAX + 1);
	flood("AUTH PLAIN\r\n", 1000, "421 ", SERVER_ERRORS_MAX + 1);
	/* while messages go through there is no end */
	struct owner w;
	struct buf in;
	unsigned seed = 1;
	buf_init(&in, 4 << 20);
	buf_add_str(&in, L);
	for (unsigned i = 0; i < 2000; i++)
		buf_add_str(&in, M R "BDAT 4 LAST\r\nhi\r\n");
	run(&w, &usual, false, buf_span(&in), 4096, &seed);
	assert_int_equal(server_state(w.server), SERVER_OPEN);
	assert_int_equal(w.replies.len, 4u * (1 + 3 * 2000));
	owner_done(&w);
	buf_done(&in);
}

/* Recipients that are accepted are no flood, however many the owner allows. */
static void test_many_recipients(void **state)
{
	struct server_options o = usual;
	struct owner w;
	struct buf in;
	unsigned seed = 1;

	(void)state;
	o.rcptmax = 5 * SERVER_IDLE_MAX;
	buf_init(&in, 4 << 20);
	buf_add_str(&in, E M);
	for (unsigned i = 0; i < o.rcptmax; i++)
		buf_add_str(&in, R);
	buf_add_str(&in, "DATA\r\nhi\r\n.\r\n");
	run(&w, &o, false, buf_span(&in), 4096, &seed);
	assert_int_equal(server_state(w.server), SERVER_OPEN);
	assert_string_equal(buf_str(&w.replies) + w.replies.len - 8, "354 250 ");
	owner_done(&w);
	buf_done(&in);
}

/* E3 */
static void test_tls(void **state)
{
	struct owner w;
	unsigned seed = 1;
	struct server_options o = usual;
	size_t used;

	(void)state;
	o.require_tls = true;
	expect(&o, false, span_of(E M "AUTH PLAIN =\r\nVRFY x\r\nNOOP\r\nRSET\r\nBDAT 1 LAST\r\nx"),
		"250 530 530 530 250 250 530 ", "", SERVER_OPEN);
	run(&w, &o, false, span_of(E "STARTTLS\r\n"), 4096, &seed);
	assert_int_equal(server_state(w.server), SERVER_WANTS_TLS);
	assert_string_equal(buf_str(&w.replies), "250 220 ");
	assert_non_null(strstr(buf_str(&w.text), "STARTTLS"));
	assert_null(strstr(buf_str(&w.text), "AUTH"));
	server_tls_done(w.server, "TLSv1.3");
	buf_clear(&w.text);
	server_input(w.server, span_of(M E "STARTTLS\r\n"), &used);
	assert_string_equal(buf_str(&w.replies), "250 220 503 250 503 ");
	assert_null(strstr(buf_str(&w.text), "250-STARTTLS"));
	assert_non_null(strstr(buf_str(&w.text), "250-AUTH PLAIN\r\n"));
	owner_done(&w);
	/* what was pipelined behind STARTTLS is not executed, then or later */
	run(&w, &o, false, span_of(E "STARTTLS\r\n" E M), 4096, &seed);
	assert_int_equal(server_state(w.server), SERVER_CLOSED);
	assert_string_equal(buf_str(&w.replies), "250 421 ");
	assert_string_equal(buf_str(&w.events), "");
	owner_done(&w);
	o.offer_starttls = false;
	o.require_tls = false;
	expect(&o, false, span_of(E "STARTTLS\r\n"), "250 502 ", "", SERVER_OPEN);
}

#define GOOD "AGpvZQBzZWNyZXQ="

/* E9 */
static void test_auth(void **state)
{
	struct server_options o = usual;

	(void)state;
	o.require_auth = true;
	expect(&o, false, span_of(E "AUTH PLAIN " GOOD "\r\n" M), "250 538 530 ", "", SERVER_OPEN);
	expect(&o, true, span_of(E M "AUTH PLAIN " GOOD "\r\n" M "RSET\r\nAUTH PLAIN " GOOD "\r\n"),
		"250 530 235 250 250 503 ", "auth(11)mail(a@a,0)", SERVER_OPEN);
	expect(&o, true, span_of(E "auth plain\r\n" GOOD "\r\n" M), "250 334 235 250 ",
		"auth(11)mail(a@a,0)", SERVER_OPEN);
	expect(&o, true, span_of(E "AUTH PLAIN\r\n*\r\n" M), "250 334 501 530 ", "", SERVER_OPEN);
	expect(&o, true, span_of(E "AUTH PLAIN =\r\n"), "250 535 ", "auth(0)", SERVER_OPEN);
	expect(&o, true, span_of(E "AUTH LOGIN\r\nAUTH\r\n"), "250 504 504 ", "", SERVER_OPEN);
	expect(&o, true, span_of(E M "AUTH PLAIN AGpvZQBzZWNyZXQ= x\r\n"), "250 530 501 ", "",
		SERVER_OPEN);
	/* a login's line is never a command */
	expect(&o, true, span_of(E "AUTH PLAIN\r\nQUIT\r\nNOOP\r\n"), "250 334 535 250 ", "auth(3)",
		SERVER_OPEN);
	/* guessing ends soon */
	expect(&o, true, span_of(E "AUTH PLAIN =\r\nAUTH PLAIN x\r\nAUTH PLAIN\r\n*\r\nNOOP\r\n"),
		"250 535 501 334 421 ", "auth(0)", SERVER_CLOSED);
	static const char *const bad[] = { "A", "AG", "AGpvZQBzZWNyZXQ",
		"AGpvZQBzZWNyZXR=", "AGpv ZQBzZWNyZXQ=", "AGpvZQBzZWNyZX-=", "=AGpvZQBzZWNyZXQ",
		"====", "AA=A" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char in[200];
		snprintf(in, sizeof in, E "AUTH PLAIN\r\n%s\r\n" M, bad[i]);
		expect(&o, true, span_of(in), "250 334 501 530 ", "", SERVER_OPEN);
	}
}

static void test_offers(void **state)
{
	struct owner w;
	size_t used;
	unsigned seed = 1;
	struct server_options o = usual;

	(void)state;
	run(&w, &o, false, span_of(L), 4096, &seed);
	const char *text = buf_str(&w.text);
	assert_memory_equal(text, "250-tokyo.example\r\n", 19);
	static const char *const lines[] = { "PIPELINING", "SIZE 1000", "CHUNKING", "STARTTLS",
		"LIMITS RCPTMAX=3", "XONCE 0123abcd 2592000", "ENHANCEDSTATUSCODES" };
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		char line[100];
		snprintf(line, sizeof line, "250-%s\r\n", lines[i]);
		assert_non_null(strstr(text, line));
	}
	assert_non_null(strstr(text, "\r\n250 8BITMIME\r\n"));
	assert_null(strstr(text, "DSN"));
	assert_null(strstr(text, "AUTH"));
	assert_true(server_is_lmtp(w.server) && server_is_extended(w.server));
	server_input(w.server, span_of("HELO c\r\n"), &used);
	assert_false(server_is_lmtp(w.server) || server_is_extended(w.server));
	server_input(w.server, span_of(E), &used);
	assert_true(server_is_extended(w.server) && !server_is_lmtp(w.server));
	assert_string_equal(server_helo(w.server), "c");
	owner_done(&w);
	o.offer_lmtp = o.offer_chunking = o.offer_limits = false;
	o.xonce = NULL;
	o.offer_dsn = true;
	run(&w, &o, false,
		span_of(L E "MAIL FROM:<a@a> RET=HDRS ENVID=a+2Bb\r\n"
			    "RCPT TO:<b@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+40b\r\n"
			    "RCPT TO:<b@b> NOTIFY=NEVER,DELAY\r\nRCPT TO:<b@b> ORCPT=b\r\n"
			    "RCPT TO:<b@b> XONCE=0123456789abcdef0123456789abcdef\r\n"),
		4096, &seed);
	assert_string_equal(buf_str(&w.replies), "500 250 250 250 501 501 555 ");
	assert_null(strstr(buf_str(&w.text), "XONCE"));
	assert_null(strstr(buf_str(&w.text), "CHUNKING"));
	owner_done(&w);
}

/* The owner's ceiling: the message under way is taken, what is behind it waits. */
static void test_pause(void **state)
{
	struct owner w;
	size_t used;
	struct span in = span_of(E M R "DATA\r\nx\r\n.\r\nNOOP\r\nNOOP\r\n");

	(void)state;
	owner_init(&w);
	w.pause_after_message = true;
	w.server = server_new(&usual, &ops, &w);
	server_input(w.server, in, &used);
	assert_string_equal(buf_str(&w.replies), "250 250 250 354 250 ");
	assert_int_equal(in.n - used, strlen("NOOP\r\nNOOP\r\n"));
	in = span_from(in, used);
	server_input(w.server, in, &used);
	assert_int_equal(used, 0);
	server_pause(w.server, false);
	server_input(w.server, in, &used);
	assert_int_equal(used, in.n);
	assert_string_equal(buf_str(&w.replies), "250 250 250 354 250 250 250 ");
	/* content that has begun is taken to its end: what its owner holds of it is not freed by
	 * waiting */
	server_input(w.server, span_of(M R "DATA\r\nx"), &used);
	server_pause(w.server, true);
	in = span_of("y\r\n.\r\nNOOP\r\n");
	server_input(w.server, in, &used);
	assert_int_equal(in.n - used, strlen("NOOP\r\n"));
	buf_clear(&w.replies);
	buf_add_str(&w.replies, "250 250 250 354 250 250 250 ");
	server_end(w.server, "421 4.3.2 stopping");
	server_end(w.server, "421 4.3.2 said once");
	assert_string_equal(buf_str(&w.replies), "250 250 250 354 250 250 250 421 ");
	owner_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_pause),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
