/*
 * Replies out of a stream, at every point where the stream can be cut (CASES D3, D4).
 */
#include "wire/parser.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIT(s)                                                                                     \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}

struct heard {
	enum parser_result result;
	size_t used;
	struct reply reply;
	struct ehlo ehlo;
	const char *why;
};

/* The input in pieces: [0,a) [a,b) [b,n), or octet by octet when a is beyond the end. */
static struct heard hear(struct span in, size_t a, size_t b)
{
	struct heard h = { .result = PARSER_MORE };
	struct parser p;
	size_t at = 0, used;

	parser_init(&p);
	while (h.result == PARSER_MORE && at < in.n) {
		size_t end = a > in.n ? at + 1 : at < a ? a : at < b ? b : in.n;
		h.result = parser_add(&p, span_make(in.p + at, end - at), &used, &h.why);
		assert_true(used <= end - at);
		assert_true(h.result != PARSER_MORE || used == end - at);
		at += used;
	}
	h.used = at;
	h.reply = p.reply;
	h.ehlo = p.ehlo;
	parser_done(&p);
	return h;
}

static const struct {
	struct span in;
	int code;
	const char *enhanced, *text;
	size_t used;
} good[] = {
	{ LIT("250 Ok\r\n"), 250, "", "Ok", 8 },
	{ LIT("250 Ok\r\n354 x\r\n"), 250, "", "Ok", 8 },
	{ LIT("250\r\n"), 250, "", "", 5 },
	{ LIT("250 \r\n"), 250, "", "", 6 },
	{ LIT("250-\r\n250\r\n"), 250, "", "", 11 },
	{ LIT("250 2.1.5 Ok 0106\r\n"), 250, "2.1.5", "Ok 0106", 19 },
	{ LIT("250 2.1.5\r\n"), 250, "2.1.5", "", 11 },
	{ LIT("550-5.1.1 No\r\n550-5.1.1  such \r\n550 5.1.1 user\r\n"), 550, "5.1.1",
		"No such user", 48 },
	{ LIT("550 4.1.1 other class\r\n"), 550, "", "4.1.1 other class", 23 },
	{ LIT("550 5.1111.1 x\r\n"), 550, "", "5.1111.1 x", 16 },
	{ LIT("550 5.1.1x\r\n"), 550, "", "5.1.1x", 12 },
	{ LIT("550 5.123.456 x\r\n"), 550, "5.123.456", "x", 17 },
	{ LIT("354 3.0.0 go\r\n"), 354, "", "3.0.0 go", 14 },
	{ LIT("334 VXNlcm5hbWU6\r\n"), 334, "", "VXNlcm5hbWU6", 18 },
	{ LIT("599 a\tb\x01\xc3\xa9\x7f\r\n"), 599, "", "a?b????", 13 },
};

static void test_good(void **state)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		for (size_t a = 0; a <= good[i].in.n + 1; a++)
			for (size_t b = a; b <= good[i].in.n + 1; b++) {
				struct heard h = hear(good[i].in, a, b);
				assert_int_equal(h.result, PARSER_REPLY);
				assert_int_equal(h.used, good[i].used);
				assert_int_equal(h.reply.code, good[i].code);
				assert_string_equal(h.reply.enhanced, good[i].enhanced);
				assert_string_equal(h.reply.text, good[i].text);
			}
}

static const struct span bad[] = {
	LIT("hello\r\n250 Ok\r\n"),
	LIT("\r\n250 Ok\r\n"),
	LIT("25\r\n"),
	LIT("2500 Ok\r\n"),
	LIT("250_Ok\r\n"),
	LIT("150 x\r\n"),
	LIT("600 x\r\n"),
	LIT("2x0 x\r\n"),
	LIT(" 250 x\r\n"),
	LIT("250 Ok\n250 Ok\r\n"),
	LIT("250-a\n250 Ok\r\n"),
	LIT("250 a\rb\r\n"),
	LIT("250 a\r\r\n"),
	LIT("250 a\0b\r\n"),
	LIT("\0\r\n"),
	LIT("250-a\r\n251 b\r\n"),
	LIT("250-a\r\nb\r\n"),
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct heard whole = hear(bad[i], 0, 0);
		assert_int_equal(whole.result, PARSER_BAD);
		for (size_t a = 0; a <= bad[i].n + 1; a++)
			for (size_t b = a; b <= bad[i].n + 1; b++) {
				struct heard h = hear(bad[i], a, b);
				assert_int_equal(h.result, PARSER_BAD);
				assert_string_equal(h.why, whole.why);
			}
	}
}

/* Without its last octet nothing is a reply. */
static void test_unfinished(void **state)
{
	static const struct span in = LIT("250-2.0.0 a\r\n250 2.0.0 b\r\n");

	for (size_t n = 0; n < in.n; n++)
		for (size_t a = 0; a <= n + 1; a++)
			assert_int_equal(hear(span_make(in.p, n), a, n).result, PARSER_MORE);
}

/* Feeds `piece` until the parser has had enough; how many octets that took. */
static size_t feed(const char *piece, size_t max, struct parser *p)
{
	struct span in = span_of(piece);
	size_t total = 0, used;
	const char *why;

	while (total < max) {
		enum parser_result r = parser_add(p, in, &used, &why);
		total += used;
		assert_true(p->line.cap <= 2 * PARSER_LINE_MAX);
		if (r == PARSER_BAD)
			return total;
		assert_int_equal(r, PARSER_MORE);
	}
	return total;
}

static void test_bounded(void **state)
{
	struct parser p;

	parser_init(&p);
	assert_in_range(feed("250-and so on\r\n", 1 << 20, &p), 1, 15 * (PARSER_LINES_MAX + 1));
	parser_done(&p);
	parser_init(&p);
	assert_in_range(feed("250 and so on", 1 << 20, &p), 1, PARSER_LINE_MAX + 13);
	parser_done(&p);
}

/* The longest line that is allowed, and one more octet; the text is cut, the line is not refused.
 */
static void test_line_limit(void **state)
{
	char in[PARSER_LINE_MAX + 1];

	memset(in, 'x', sizeof in);
	memcpy(in, "250 ", 4);
	memcpy(in + PARSER_LINE_MAX - 2, "\r\n", 2);
	static const size_t cuts[] = { 0, 1, 1000, PARSER_LINE_MAX - 2, PARSER_LINE_MAX - 1 };
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		struct heard h = hear(span_make(in, PARSER_LINE_MAX), cuts[i], cuts[i]);
		assert_int_equal(h.result, PARSER_REPLY);
		assert_int_equal(strlen(h.reply.text), REPLY_TEXT_MAX - 1);
	}
	memcpy(in + PARSER_LINE_MAX - 2, "x\r\n", 3);
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
		assert_int_equal(
			hear(span_make(in, sizeof in), cuts[i], cuts[i]).result, PARSER_BAD);
}

static void test_ehlo(void **state)
{
	static const struct span in = LIT("250-PIPELINING is my name\r\n250-SIZE 10485760\r\n"
					  "250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n");

	for (size_t a = 0; a <= in.n + 1; a++) {
		struct heard h = hear(in, a, in.n);
		assert_int_equal(h.result, PARSER_REPLY);
		assert_false(h.ehlo.pipelining);
		assert_true(h.ehlo.size && h.ehlo.size_max == 10485760);
		assert_true(h.ehlo.eightbit && h.ehlo.auth_plain && h.ehlo.auth_login);
	}
}

/* The second EHLO's reply says all there is (RFC 9422, 3207). */
static void test_ehlo_forgets(void **state)
{
	struct parser p;
	size_t used;
	const char *why;

	parser_init(&p);
	assert_int_equal(
		parser_add(&p, span_of("250-a\r\n250 STARTTLS\r\n"), &used, &why), PARSER_REPLY);
	assert_true(p.ehlo.starttls);
	assert_int_equal(
		parser_add(&p, span_of("250-a\r\n250 SIZE\r\n"), &used, &why), PARSER_REPLY);
	assert_true(p.ehlo.size && !p.ehlo.starttls);
	parser_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_unfinished),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_ehlo_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
