/*
 * The aliases file, read and checked as newaliases does: every line that is wrong is named, and
 * none that is right.
 */
#include "sendmail/aliases_check.h"

#include "tests/unit/aliases_fixture.h"

/* What newaliases says, without the path before each line's number. */
static const char *check(const char *domain, const char *postmaster, struct span text)
{
	static char said[65536];
	struct recipients_rules rules = { domain, postmaster, path, 0 };
	struct buf out;
	size_t n = 0;

	write_aliases(text);
	buf_init(&out, 2 << 20);
	assert_int_equal(aliases_check(&rules, &out, NULL), 0);
	for (const char *p = buf_str(&out); *p; p += strcspn(p, "\n") + 1) {
		assert_int_equal(strncmp(p, path, strlen(path)), 0);
		p += strlen(path);
		n += (size_t)snprintf(
			said + n, sizeof(said) - n, "%.*s\n", (int)strcspn(p, "\n"), p);
		assert_true(n < sizeof(said));
	}
	said[n] = '\0';
	buf_done(&out);
	return said;
}

static void test_what_is_said(void **state)
{
	static const struct {
		const char *domain, *postmaster, *text, *want;
	} t[] = {
		{ "", "", "", "" },
		{ "", "", "# nothing\n\n", "" },
		{ "", "", "a: x@y, Z <z@y>,\n  \"q r\"@y # no\n",
			":1: alias a: no address, or two" },
		{ "", "", "a: x@y, z@y\nB: a\nc: A, b, x@y\n", "" },
		{ "", "", "self: self, x@y\n", ":1: alias self: self: no such local name" },
		{ "d", "", "self: self, x@y\n", "" },
		{ "d", "", "a: b\nb: c\nc: a\n", ":3: alias c: leads back to itself, by alias a" },
		{ "", "", "a: nobody-here\n", ":1: alias a: nobody-here: no such local name" },
		{ "d", "", "a: nobody-here\n", "" },
		{ "", "p@d", "a: root\n", "" },
		{ "", "", "a: x@y..z\n", ":1: alias a: address <x@y..z>" },
		{ "", "", "a: \\b\nb: x@y\n", ":1: alias a: b: no such local name" },
		{ "", "", "a: x@y (by day, and (now, then) by night), z@y\n", "" },
		{ "", "", "a: \"(,\"@y, z@y, \"),\"@y\n", "" },
		{ "d", "", "a: x@y (by day, z@y\n", ":1: alias a: a comment that does not end" },
		{ "d", "", "a: <x\n", ":1: alias a: a < without its >" },
		{ "d", "", "a: <>\n", ":1: alias a: <>: no recipient" },
		{ "d", "", "a: x@y;z@y\n", ":1: alias a: two addresses without a comma" },
		{ "d", "", "a: <;>\n", ":1: alias a: an item is no address and no name" },
		{ "d", "", "a: <x@y;z@y>\n", ":1: alias a: address <x@y;z@y>" },
		{ "d", "", "a: |cat\n", ":1: alias a: leads to a program" },
		{ "d", "", "a: \"|cat x\"\n", ":1: alias a: leads to a program" },
		{ "d", "", "a: /dev/null\n", ":1: alias a: leads to a file" },
		{ "d", "", "a: :include:/x\n", ":1: alias a: leads to a list in a file" },
		{ "d", "", "a:\n", ":1: alias a: has no value" },
		{ "d", "", "a: b\nb: |cat\n", ":1: alias a: leads to no address that can be used" },
		{ "d", "", "b: |cat\na: b, b\n",
			":2: alias a: leads to no address that can be used" },
		{ "d", "", "no colon\n", ":1: `name: address, address` is meant" },
		{ "d", "", ": x@y\n", ":1: `name: address, address` is meant" },
		{ "d", "", "a: x@y\n\nA: z@y\n", ":3: defines again what line 1 defines" },
		{ "d", "", "\n  root: x@y\na: b@c\n", ":2: a line that goes on" },
		{ "d", "", "a: x@y,\n# so\n\n\tz@y..\n", ":1: alias a: address <z@y..>" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const char *said = check(t[i].domain, t[i].postmaster, span_of(t[i].text));
		if (t[i].want[0] ? !strstr(said, t[i].want) : said[0] != '\0')
			fail_msg("row %zu, %s: %s", i, t[i].text, said);
	}
}

/* In the order of lines, whatever the names; each once. */
static void test_order(void **state)
{
	const char *said = check("d", "", span_of("z: |a\ny: |b\nx: |c\n"));
	const char *z = strstr(said, ":1: alias z: leads to a program");
	const char *y = strstr(said, ":2: alias y: leads to a program");
	const char *x = strstr(said, ":3: alias x: leads to a program");

	assert_true(z && y && x && z < y && y < x);
	assert_null(strstr(z + 1, ":1: alias z: leads to a program"));
}

static void test_depth(void **state)
{
	for (int over = 0; over <= 1; over++) {
		struct buf text;
		buf_init(&text, 65536);
		for (int i = 1; i < ALIASES_DEPTH_MAX + over; i++)
			buf_printf(&text, "a%d: a%d\n", i, i + 1);
		buf_printf(&text, "a%d: x@y\n", ALIASES_DEPTH_MAX + over);
		const char *said = check("", "", buf_span(&text));
		if (over)
			assert_non_null(strstr(said, ":1: alias a1: nested more than 16 deep"));
		else
			assert_string_equal(said, "");
		buf_done(&text);
	}
}

/* A chain as deep as the file is long: no recursion of ours. */
static void test_long_chain(void **state)
{
	struct buf text, out;
	struct recipients_rules rules = { "", "", path, 0 };

	buf_init(&text, ALIASES_MAX);
	for (int i = 0; i < 100000; i++)
		buf_printf(&text, "a%d: a%d\n", i, i + 1);
	buf_add_str(&text, "a100000: x@y\n");
	write_aliases(buf_span(&text));
	buf_init(&out, 2 << 20);
	assert_int_equal(aliases_check(&rules, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "nested more than 16 deep\n"));
	assert_null(strchr(strchr(buf_str(&out), '\n') + 1, '\n'));
	buf_done(&text);
	buf_done(&out);
}

static void test_ceiling(void **state)
{
	for (int over = 0; over <= 1; over++) {
		struct buf text;
		struct aliases *a = NULL;
		struct err e = { 0 };
		buf_init(&text, ALIASES_MAX + 1);
		buf_add_str(&text, "a: x@y\n#");
		while (text.len < ALIASES_MAX + (size_t)over)
			buf_add_char(&text, '.');
		write_aliases(buf_span(&text));
		assert_int_equal(aliases_read(path, &a, &e), -over);
		if (over)
			assert_int_equal(e.code, EX_CONFIG);
		else
			assert_int_equal(aliases_count(a), 1);
		aliases_free(a);
		buf_done(&text);
	}
}

/* Octets of any kind in the file make no difference but to their own line. */
static void test_odd_octets(void **state)
{
	static const char text[] = "a\0b: x@y\nc: \0z@y\n\xE5: x@y\nd: x@y\n";
	struct aliases *a;

	write_aliases(span_make(text, sizeof(text) - 1));
	assert_int_equal(aliases_read(path, &a, NULL), 0);
	assert_int_equal(aliases_count(a), 4);
	assert_non_null(aliases_find(a, span_of("D")));
	assert_null(aliases_find(a, span_of("a")));
	aliases_free(a);
	assert_non_null(strstr(check("", "", span_make(text, sizeof(text) - 1)), ":2: alias c: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_said, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_order, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_depth, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_long_chain, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_ceiling, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_odd_octets, make_path, remove_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
