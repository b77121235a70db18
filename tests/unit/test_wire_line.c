/*
 * Lines and dot-stuffing: every case at every point where the input can be cut.
 */
#include "wire/line.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIT(s)                                                                                     \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}

/* --- lines --- */

static void test_line_next(void **state)
{
	static const struct {
		struct span in;
		enum line_result result;
		struct span line;
		size_t used;
	} cases[] = {
		{ LIT(""), LINE_MORE, LIT(""), 0 },
		{ LIT("abc"), LINE_MORE, LIT(""), 0 },
		{ LIT("abc\r"), LINE_MORE, LIT(""), 0 },
		{ LIT("abc\r\n"), LINE_OK, LIT("abc"), 5 },
		{ LIT("\r\nx"), LINE_OK, LIT(""), 2 },
		{ LIT("a\r\nb\r\n"), LINE_OK, LIT("a"), 3 },
		{ LIT("a\nb\r\n"), LINE_BAD, LIT("a"), 2 },
		{ LIT("\n"), LINE_BAD, LIT(""), 1 },
		{ LIT("a\rb\r\n"), LINE_BAD, LIT("a\rb"), 5 },
		{ LIT("a\r\r\n"), LINE_BAD, LIT("a\r"), 4 },
		{ LIT("a\0b\r\n"), LINE_BAD, LIT("a\0b"), 5 },
		{ LIT("12345678\r\n"), LINE_OK, LIT("12345678"), 10 },
		{ LIT("123456789\r\n"), LINE_TOO_LONG, LIT(""), 10 },
		{ LIT("1234567890"), LINE_TOO_LONG, LIT(""), 10 },
		{ LIT("123456789"), LINE_MORE, LIT(""), 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span line = span_of("");
		size_t used = 99;
		assert_int_equal(line_next(cases[i].in, 10, &line, &used), cases[i].result);
		assert_int_equal(used, cases[i].used);
		assert_true(span_eq(line, cases[i].line));
	}
}

/* --- content that is received --- */

struct received {
	enum unstuff_result result;
	size_t used;
	bool bad;
	char text[256];
	size_t n;
};

/* The input in two or three pieces, cut before a and before b. */
static struct received receive(struct span in, size_t a, size_t b)
{
	struct received r = { .result = UNSTUFF_MORE };
	size_t from[] = { 0, a, b, in.n };
	struct unstuff u;
	struct buf out;

	unstuff_init(&u);
	buf_init(&out, sizeof r.text);
	for (int i = 0; i < 3 && r.result == UNSTUFF_MORE; i++) {
		size_t used;
		struct span piece = span_make(in.p + from[i], from[i + 1] - from[i]);
		r.result = unstuff_add(&u, piece, &out, &used);
		r.used += used;
	}
	assert_false(out.failed);
	r.bad = u.bad;
	r.n = out.len;
	if (out.len > 0)
		memcpy(r.text, out.data, out.len);
	buf_done(&out);
	return r;
}

static const struct content {
	struct span in;
	struct span text;
	size_t used; /* 0: the end does not come */
	bool bad;
} contents[] = {
	/* whole content, and what may follow it in the same input */
	{ LIT(".\r\n"), LIT(""), 3, false },
	{ LIT("a\r\n.\r\n"), LIT("a\r\n"), 6, false },
	{ LIT("a\r\n.\r\nQUIT\r\n"), LIT("a\r\n"), 6, false },
	{ LIT("..\r\n.\r\n"), LIT(".\r\n"), 7, false },
	{ LIT("...a\r\n..\r\n\r\n.\r\n"), LIT("..a\r\n.\r\n\r\n"), 15, false },
	{ LIT("a.\r\n.b\r\n.\r\n"), LIT("a.\r\nb\r\n"), 11, false },
	{ LIT("\r\n.\r\n"), LIT("\r\n"), 5, false },
	{ LIT("caf\xc3\xa9\r\n.\r\n"), LIT("caf\xc3\xa9\r\n"), 10, false },
	/* not whole */
	{ LIT(""), LIT(""), 0, false },
	{ LIT("."), LIT(""), 0, false },
	{ LIT(".\r"), LIT(""), 0, false },
	{ LIT("a\r\n.\r"), LIT("a\r\n"), 0, false },
	{ LIT("a\r"), LIT("a\r"), 0, false },
	/* what must not end it: SMTP smuggling */
	{ LIT("a\n.\nb"), LIT("a\n.\nb"), 0, true },
	{ LIT("a\r.\rb"), LIT("a\r.\rb"), 0, true },
	{ LIT("a\r.\nb"), LIT("a\r.\nb"), 0, true },
	{ LIT("a\n.\rb"), LIT("a\n.\rb"), 0, true },
	{ LIT("a\n.\r\nb"), LIT("a\n.\r\nb"), 0, true },
	{ LIT("a\r\n.\nb"), LIT("a\r\n\nb"), 0, true },
	{ LIT("a\r.\r\nb"), LIT("a\r.\r\nb"), 0, true },
	{ LIT("a\r\n.\rb"), LIT("a\r\n\rb"), 0, true },
	{ LIT("a\r\n\0.\r\nb"), LIT("a\r\n\0.\r\nb"), 0, true },
	{ LIT("a\r\n.\0\r\nb"), LIT("a\r\n\0\r\nb"), 0, true },
	{ LIT("a\r\n.\r\r\nb"), LIT("a\r\n\r\r\nb"), 0, true },
	{ LIT("a\r\r\n.\r\nb"), LIT("a\r\r\n"), 7, true },
	{ LIT(".\n"), LIT("\n"), 0, true },
	/* and the true end after it is found, with the fault on record */
	{ LIT("a\n.\n\r\n.\r\n"), LIT("a\n.\n\r\n"), 9, true },
	{ LIT("a\r\n.\nb\r\n.\r\n"), LIT("a\r\n\nb\r\n"), 11, true },
	{ LIT("\0\r\n.\r\n"), LIT("\0\r\n"), 6, true },
};

static void test_unstuff(void **state)
{
	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		const struct content *k = &contents[i];
		for (size_t a = 0; a <= k->in.n; a++) {
			for (size_t b = a; b <= k->in.n; b++) {
				struct received r = receive(k->in, a, b);
				assert_int_equal(r.result, k->used ? UNSTUFF_END : UNSTUFF_MORE);
				assert_int_equal(r.used, k->used ? k->used : k->in.n);
				/* A CR that waits for its LF is not yet bad. */
				assert_int_equal(r.bad, k->bad);
				assert_true(span_eq(span_make(r.text, r.n), k->text));
			}
		}
	}
}

static void test_unstuff_throws_away(void **state)
{
	struct unstuff u;
	size_t used;

	unstuff_init(&u);
	assert_int_equal(unstuff_add(&u, span_of("a\r\n..b"), NULL, &used), UNSTUFF_MORE);
	assert_int_equal(unstuff_add(&u, span_of("\r\n.\r\nX"), NULL, &used), UNSTUFF_END);
	assert_int_equal(used, 5);
}

/* --- content that is sent --- */

static void stuff_cut(struct span in, size_t a, size_t b, struct buf *out)
{
	struct stuff s;

	stuff_init(&s);
	buf_init(out, 1024);
	stuff_add(&s, span_make(in.p, a), out);
	stuff_add(&s, span_make(in.p + a, b - a), out);
	stuff_add(&s, span_make(in.p + b, in.n - b), out);
	stuff_end(&s, out);
}

static void test_stuff(void **state)
{
	static const struct {
		struct span in, out;
	} cases[] = {
		{ LIT(""), LIT("") },
		{ LIT("."), LIT("..\r\n") },
		{ LIT("a"), LIT("a\r\n") },
		{ LIT("a\r"), LIT("a\r\n") },
		{ LIT("a\r\n"), LIT("a\r\n") },
		{ LIT(".\r\n"), LIT("..\r\n") },
		{ LIT("\r\n.\r\n"), LIT("\r\n..\r\n") },
		{ LIT("..a\r\n...\r\nb.\r\n"), LIT("...a\r\n....\r\nb.\r\n") },
		{ LIT("a\n.b"), LIT("a\n.b\r\n") }, /* no line starts there */
		{ LIT("a\r.b\r\n"), LIT("a\r.b\r\n") },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t a = 0; a <= cases[i].in.n; a++)
			for (size_t b = a; b <= cases[i].in.n; b++) {
				struct buf out;
				stuff_cut(cases[i].in, a, b, &out);
				assert_true(span_eq(buf_span(&out), cases[i].out));
				buf_done(&out);
			}
}

/* What is stuffed comes back, for all strings of five octets that matter. */
static void test_there_and_back(void **state)
{
	static const char octets[] = "a.\r\n";

	for (unsigned n = 0; n < 4 * 4 * 4 * 4 * 4 * 4; n++) {
		char text[8];
		for (unsigned i = 0, rest = n; i < 6; i++, rest /= 4)
			text[i] = octets[rest % 4];
		struct buf out, back;
		struct unstuff u;
		size_t used;
		stuff_cut(span_make(text, 6), n % 7, 6, &out);
		buf_add_str(&out, ".\r\n");
		buf_init(&back, 64);
		unstuff_init(&u);
		assert_int_equal(unstuff_add(&u, buf_span(&out), &back, &used), UNSTUFF_END);
		assert_int_equal(used, out.len);
		assert_true(back.len >= 6 && memcmp(back.data, text, 6) == 0);
		buf_done(&out);
		buf_done(&back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_next),
		cmocka_unit_test(test_unstuff),
		cmocka_unit_test(test_unstuff_throws_away),
		cmocka_unit_test(test_stuff),
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
