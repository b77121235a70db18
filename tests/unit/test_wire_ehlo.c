/*
 * What the lines of an EHLO reply offer, and what is ignored.
 */
#include "wire/ehlo.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct ehlo read_line(const char *line)
{
	struct ehlo e = { 0 };

	ehlo_line(&e, span_of(line), false);
	return e;
}

static bool offers_nothing(const struct ehlo *e)
{
	static const struct ehlo none;

	return memcmp(e, &none, sizeof none) == 0;
}

static void test_flags(void **state)
{
	assert_true(read_line("PIPELINING").pipelining);
	assert_true(read_line("pipeLINING ").pipelining);
	assert_true(read_line("CHUNKING").chunking);
	assert_true(read_line("8BITMIME").eightbit);
	assert_true(read_line("STARTTLS").starttls);
	assert_true(read_line("ENHANCEDSTATUSCODES").enhanced);
	assert_true(read_line("DSN").dsn);
}

static void test_ignored(void **state)
{
	static const char *const lines[] = { "", " ", "X-NOTHING", "PIPELININGS", "PIPELINE",
		"SIZE abc", "SIZE -1", "SIZE 99999999999999999999999", "AUTH", "AUTH CRAM-MD5",
		"AUTH=LOGIN", "LIMITS", "LIMITS RCPTMAX", "LIMITS RCPTMAX=", "LIMITS RCPTMAX=0",
		"LIMITS RCPTMAX=-5", "LIMITS RCPTMAX=1000000", "LIMITS FOOMAX=5", "XONCE",
		"XONCE a", "XONCE a x", "XONCE a\x01 5", "XONCE a 999999999999", "XONCE \xc3\xa9 5",
		"XONCE 0123456789012345678901234567890123456789012345678901234567890123x 5" };

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct ehlo e = read_line(lines[i]);
		assert_true(offers_nothing(&e));
	}
	struct ehlo e = { 0 };
	ehlo_line(&e, span_of("PIPELINING"), true); /* the greeting's domain */
	assert_true(offers_nothing(&e));
}

static void test_values(void **state)
{
	struct ehlo e = read_line("SIZE");

	assert_true(e.size && e.size_max == 0);
	e = read_line("size 41943040");
	assert_true(e.size && e.size_max == 41943040);
	e = read_line("AUTH CRAM-MD5 plain LOGIN");
	assert_true(e.auth_plain && e.auth_login);
	e = read_line("AUTH LOGIN");
	assert_true(!e.auth_plain && e.auth_login);
	e = read_line("LIMITS FOO=x RCPTMAX=50  MAILMAX=1000");
	assert_true(e.rcptmax == 50 && e.mailmax == 1000);
	e = read_line("XONCE 0a1b2c-3 2592000");
	assert_true(e.xonce && e.xonce_keep_ms == INT64_C(2592000) * 1000);
	assert_string_equal(e.xonce_journal, "0a1b2c-3");
	e = read_line("XONCE 0123456789012345678901234567890123456789012345678901234567890123 5");
	assert_true(e.xonce && strlen(e.xonce_journal) == 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
