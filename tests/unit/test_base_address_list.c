/*
 * Address lists: what is found in them, what is refused, and that time is linear.
 */
#include "base/address_list.h"
#include "base/buf.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Each mailbox as [text] or, when bare, (text). */
static int show(void *arg, const struct mailbox *m, struct err *e)
{
	struct buf *out = arg;
	buf_add_char(out, m->bare ? '(' : '[');
	buf_add_span(out, m->addr);
	buf_add_char(out, m->bare ? ')' : ']');
	return 0;
}

static void test_lists(void **state)
{
	static const struct {
		const char *list, *want; /* NULL: refused */
	} t[] = {
		{ "", "" },
		{ " \r\n\t", "" },
		{ "a@b", "[a@b]" },
		{ "root", "(root)" },
		{ "\\root", "(\\root)" },
		{ "a@b,c@d", "[a@b][c@d]" },
		{ " a@b ,, , c@d ,", "[a@b][c@d]" },
		{ "a@b;c@d", "[a@b][c@d]" },
		{ "Foo Bar <a@b>", "[a@b]" },
		{ "\"Bar, Foo\" <a@b>, c@d", "[a@b][c@d]" },
		{ "<a@b>", "[a@b]" },
		{ "< a@b >", "[a@b]" },
		{ "<>", "[]" },
		{ "MAILER-DAEMON <>", "[]" },
		{ "a@b (a comment, with <x@y>)", "[a@b]" },
		{ "(c) a (d) @ (e) b (f)", "[a@b]" },
		{ "a . b @ c . d", "[a.b@c.d]" },
		{ "a@b (nested (very (deep)) \\) still)", "[a@b]" },
		{ "root (Cron Daemon)", "(root)" },
		{ "friends: a@b, c@d;", "[a@b][c@d]" },
		{ "friends: a@b, c@d; , e@f", "[a@b][c@d][e@f]" },
		{ "undisclosed-recipients:;", "" },
		{ "friends: a@b", "[a@b]" },
		{ "Foo\r\n Bar\r\n\t<a@b>,\r\n c@d", "[a@b][c@d]" },
		{ "\"quoted \\\" @,<>\"@b", "[\"quoted \\\" @,<>\"@b]" },
		{ "\"a\r\n b\"@c", "[\"a b\"@c]" },
		{ "\"x' UNION SELECT--\"@a", "[\"x' UNION SELECT--\"@a]" },
		{ "$(id)@a", NULL }, /* not "$@a" */
		{ "a@b(c)", "[a@b]" },
		{ "root(c)", "(root)" },
		{ "<a@b(c)>", "[a@b]" },
		{ "x(c)y <a@b>", "[a@b]" },
		{ "%n@a, $x`id`@a", "[%n@a][$x`id`@a]" },
		{ "a@[192.0.2.1]", "[a@[192.0.2.1]]" },
		{ "a@[IPv6:2001:db8::1], b", "[a@[IPv6:2001:db8::1]](b)" },
		{ "<@x,@y:a@b>", "[@x,@y:a@b]" },
		{ "=?utf-8?B?5bGx55Sw?= <a@b>", "[a@b]" },
		{ "=?utf-8?Q?Doe,_John?= <a@b>", "[a@b]" },
		{ "=?utf-8?Q?a@b?= <a@b>, =?x", "[a@b](=?x)" },
		{ "=?utf-8?Q?=? <a@b>", "[a@b]" },
		{ "\345\261\261\347\224\260 <a@b>", "[a@b]" },
		{ "a@b\345", "[a@b\345]" }, /* for address_parse to refuse */
		{ "foo bar", NULL },
		{ "a@b c@d", NULL },
		{ "a@b <c@d> e", NULL },
		{ "<a@b> <c@d>", NULL },
		{ "<a@b", NULL },
		{ "a@b>", NULL },
		{ "<<a@b>>", NULL },
		{ "(a@b", NULL },
		{ "a@b)", NULL },
		{ "\"a@b", NULL },
		{ "\"a\\", NULL },
		{ "(\\", NULL },
		{ "a@[b", NULL },
		{ "x: y: a@b;;", NULL },
		{ "@x:a@b", NULL },
		{ "\"x@y\": a@b;", "[a@b]" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct buf out;
		struct err e = { 0 };
		buf_init(&out, 4096);
		int r = address_list_parse(span_of(t[i].list), show, &out, &e);
		if ((r == 0) != (t[i].want != NULL))
			fail_msg("%s: %d %s %s", t[i].list, r, e.text, buf_str(&out));
		if (r == 0)
			assert_string_equal(buf_str(&out), t[i].want);
		else
			assert_int_equal(e.code, EX_DATAERR);
		buf_done(&out);
	}
}

/* What NUL does is for address_parse to say; it must not end anything here. */
static void test_nul(void **state)
{
	struct buf out;

	buf_init(&out, 100);
	assert_int_equal(address_list_parse(span_make("a\0b@c,<d@e>\0", 12), show, &out, NULL), -1);
	buf_clear(&out);
	assert_int_equal(address_list_parse(span_make("a\0b@c", 5), show, &out, NULL), 0);
	assert_memory_equal(out.data, "[a\0b@c]", 7);
	buf_done(&out);
}

static int place_of(void *arg, const struct mailbox *m, struct err *e)
{
	*(struct mailbox *)arg = *m;
	return 0;
}

/* Where the address stands: what a name is qualified at, or another put in its place. */
static void test_places(void **state)
{
	static const struct {
		const char *list, *at;
	} t[] = {
		{ "root", "root" },
		{ " root , ", "root" },
		{ "root (Cron Daemon)", "root" },
		{ "(c) root@a (d)", "root@a" },
		{ "X <root>", "root" },
		{ "X < root >", "root" },
		{ "g: root;", "root" },
		{ "\"a b\"", "\"a b\"" },
		{ "X <\"a\\\" b\"@c>", "\"a\\\" b\"@c" },
		{ "a@[10.0.0.1]", "a@[10.0.0.1]" },
		{ "<a(x) @\r\n b>", "a(x) @\r\n b" },
		{ "=?a?b?c?=@d", "=?a?b?c?=@d" },
		{ "=?a?b?,?= <c@d>", "c@d" },
		{ "<@r,@s:c@d>", "@r,@s:c@d" },
		{ "X <>", "" },
		{ "X < >", "" },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mailbox m = { .begin = 99 };
		assert_int_equal(address_list_parse(span_of(t[i].list), place_of, &m, NULL), 0);
		assert_in_range(m.end, m.begin, strlen(t[i].list));
		struct span at = span_make(t[i].list + m.begin, m.end - m.begin);
		if (!span_eq(at, span_of(t[i].at)))
			fail_msg("%s: %.*s", t[i].list, (int)at.n, at.p);
	}
}

static int stop(void *arg, const struct mailbox *m, struct err *e)
{
	++*(int *)arg;
	return err_set(e, EX_NOUSER, "stop");
}

static void test_stop(void **state)
{
	int calls = 0;
	struct err e = { 0 };
	assert_int_equal(address_list_parse(span_of("a,b,c"), stop, &calls, &e), -1);
	assert_int_equal(calls, 1);
	assert_int_equal(e.code, EX_NOUSER);
}

static int count(void *arg, const struct mailbox *m, struct err *e)
{
	++*(size_t *)arg;
	return 0;
}

/* A MiB of each thing that nests, repeats, or begins again and again. What is quadratic takes
 * minutes here; the bound only has to tell the two apart. */
static void test_linear(void **state)
{
	static const char *const unit[] = { "(", "((((\\)", "\"", "\\\"", "<", "=?", "=?x?q?",
		"a@b,", "a,", "@", ",", ";", ":", "[", "a ", "a(b)", "g:a;", "\r\n ", "<a>,",
		"\"\"<>," };
	enum { SIZE = 1 << 20 };
	char *big = malloc(SIZE);

	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]); i++) {
		size_t n = strlen(unit[i]), found = 0;
		for (size_t k = 0; k < SIZE; k++)
			big[k] = unit[i][k % n];
		int64_t from = clock_mono_ms();
		address_list_parse(span_make(big, SIZE), count, &found, NULL);
		if (clock_mono_ms() - from > 5000)
			fail_msg("%s repeated: %lld ms", unit[i],
				(long long)(clock_mono_ms() - from));
		if (strcmp(unit[i], "a@b,") == 0)
			assert_int_equal(found, SIZE / 4);
	}
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
