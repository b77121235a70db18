/*
 * The server side without I/O: each dialogue is given to it whole, octet by octet, and cut at
 * random points, and has to bring the same replies and the same events.
 */
#include "wire/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct owner {
	struct buf replies; /* codes: "250 " each; a reply of several lines counts once */
	struct buf text;    /* replies as they were */
	struct buf events;  /* what the engine told its owner */
	struct buf content;
	struct server *server;
	bool pause_after_message;
	unsigned rcpts;
};

static void on_reply(void *arg, struct span text)
{
	struct owner *w = arg;

	assert_true(text.n >= 6);
	assert_memory_equal(text.p + text.n - 2, "\r\n", 2);
	buf_add(&w->replies, text.p, 3);
	buf_add_char(&w->replies, ' ');
	buf_add_span(&w->text, text);
}

static const char *on_mail(void *arg, const struct server_mail *m)
{
	struct owner *w = arg;

	buf_printf(&w->events, "mail(%s,%llu%s)", m->sender, (unsigned long long)m->size,
		m->eightbit ? ",8" : "");
	if (strcmp(m->sender, "refused@a") == 0)
		return "550 5.7.1 no";
	if (strcmp(m->sender, "stopping@a") == 0)
		return "421 4.3.2 stopping";
	return "";
}

static const char *on_rcpt(void *arg, const struct server_rcpt *r)
{
	struct owner *w = arg;

	if (strcmp(r->address.text, "refused@b") == 0)
		return "550 5.1.1 no";
	buf_printf(&w->events, "rcpt(%s%s%s)", r->address.text, r->once[0] ? "," : "", r->once);
	w->rcpts++;
	return "";
}

static const char *on_content(void *arg, struct span in)
{
	struct owner *w = arg;

	if (memmem(in.p, in.n, "!", 1))
		return "554 5.6.0 no exclamations";
	buf_add_span(&w->content, in);
	return NULL;
}

static void on_message(void *arg, bool lmtp, bool eightbit)
{
	struct owner *w = arg;

	buf_printf(&w->events, "message(%s%s%.*s)", lmtp ? "lmtp," : "", eightbit ? "8," : "",
		(int)w->content.len, buf_str(&w->content));
	for (unsigned i = 0; i < (lmtp ? w->rcpts : 1); i++)
		on_reply(w, span_of("250 2.0.0 Ok id\r\n"));
	if (w->pause_after_message)
		server_pause(w->server, true);
}

static void on_reset(void *arg)
{
	struct owner *w = arg;

	buf_clear(&w->content);
	w->rcpts = 0;
}

static const char *on_auth(void *arg, struct span response, char *name, size_t size)
{
	struct owner *w = arg;

	buf_printf(&w->events, "auth(%zu)", response.n);
	if (!span_eq(response, span_make("\0joe\0secret", 11)))
		return "535 5.7.8 Wrong";
	snprintf(name, size, "joe");
	return "";
}

static const struct server_ops ops = { on_reply, on_mail, on_rcpt, on_content, on_message, on_reset,
	on_auth };

static const struct server_options usual = {
	.hostname = "tokyo.example",
	.message_size = 1000,
	.rcptmax = 3,
	.offer_lmtp = true,
	.offer_starttls = true,
	.offer_auth = true,
	.offer_chunking = true,
	.offer_limits = true,
	.xonce = "0123abcd 2592000",
};

static void owner_init(struct owner *w)
{
	*w = (struct owner) { .rcpts = 0 };
	buf_init(&w->replies, 1 << 20);
	buf_init(&w->text, 1 << 20);
	buf_init(&w->events, 1 << 20);
	buf_init(&w->content, 1 << 20);
}

static void owner_done(struct owner *w)
{
	server_free(w->server);
	buf_done(&w->replies);
	buf_done(&w->text);
	buf_done(&w->events);
	buf_done(&w->content);
}

/* Brings all of the input in pieces of at most `piece` octets (0: cut at random). */
static void feed(struct owner *w, struct span in, size_t piece, unsigned *seed)
{
	while (in.n > 0 && server_state(w->server) == SERVER_OPEN) {
		size_t n = piece ? piece : 1 + (size_t)rand_r(seed) % 40, used;
		if (n > in.n)
			n = in.n;
		server_input(w->server, span_make(in.p, n), &used);
		assert_true(used <= n);
		assert_true(used == n || server_state(w->server) != SERVER_OPEN);
		in = span_from(in, used);
	}
}

/* One dialogue, `tls`: behind a handshake. */
static void run(struct owner *w, const struct server_options *o, bool tls, struct span in,
	size_t piece, unsigned *seed)
{
	owner_init(w);
	w->server = server_new(o, &ops, w);
	if (tls)
		server_tls_done(w->server, "TLSv1.3");
	feed(w, in, piece, seed);
}

static void expect(const struct server_options *o, bool tls, struct span in, const char *replies,
	const char *events, enum server_state state)
{
	unsigned seed = 1;

	for (int round = 0; round < 24; round++) {
		struct owner w;
		run(&w, o, tls, in, round == 0 ? in.n : round == 1 ? 1 : 0, &seed);
		assert_string_equal(buf_str(&w.replies), replies);
		if (events)
			assert_string_equal(buf_str(&w.events), events);
		assert_int_equal(server_state(w.server), state);
		owner_done(&w);
	}
}

#define E  "EHLO c\r\n"
#define L  "LHLO c\r\n"
#define M  "MAIL FROM:<a@a>\r\n"
#define R  "RCPT TO:<b@b>\r\n"
#define R2 "RCPT TO:<c@c>\r\n"
#define RX "RCPT TO:<refused@b>\r\n"
#define MX "MAIL FROM:<refused@a>\r\n"

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

/* Where a chunk's end can't be known the connection ends: its content is never taken as commands.
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

static void test_floods(void **state)
{
	(void)state;
	flood("NOOP\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood("VRFY x\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(M "RSET\r\n", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(E, 10000, "421 ", SERVER_IDLE_MAX + 1);
	flood("BDAT 1\r\nx", 100000, "421 ", SERVER_IDLE_MAX + 1);
	flood(M R R R R, 100000, "421 ", SERVER_IDLE_MAX + 1);
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
	assert_true(server_is_lmtp(w.server));
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
	server_end(w.server, "421 4.3.2 stopping");
	server_end(w.server, "421 4.3.2 said once");
	assert_string_equal(buf_str(&w.replies), "250 250 250 354 250 250 250 421 ");
	owner_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_bdat_syntax),
		cmocka_unit_test(test_content_ceiling),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
