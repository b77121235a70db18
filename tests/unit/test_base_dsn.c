/*
 * dsn: what is a value of RFC 3461, and what is not.
 */
#include "base/dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void check(bool (*is)(struct span), const char *const *values, bool good)
{
	for (; *values; values++)
		if (is(span_of(*values)) != good)
			fail_msg("\"%s\" is %s", *values, good ? "good" : "bad");
}

#define GOOD(is, ...) check(is, (const char *const[]) { __VA_ARGS__, NULL }, true)
#define BAD(is, ...)  check(is, (const char *const[]) { __VA_ARGS__, NULL }, false)

static void test_xtext(void **state)
{
	GOOD(dsn_is_xtext, "a", "QQ314159", "a+2Bb+3D", "!~", "+E4");
	BAD(dsn_is_xtext, "", "a b", "a=b", "+", "+2", "a+2", "+2b", "+G0", "+2=", "\x80", "a\r\n",
		"a\tb", "\x7f");
	assert_false(dsn_is_xtext(span_make("a\0b", 3)));
	assert_false(dsn_is_xtext(span_make("+2B", 2))); /* looks no further than the value */
}

static void test_ret_and_envid(void **state)
{
	char most[102];

	GOOD(dsn_is_ret, "FULL", "HDRS", "full");
	BAD(dsn_is_ret, "", "FULLL", "HDR", "FULL,HDRS");
	GOOD(dsn_is_envid, "a", "x+40y");
	BAD(dsn_is_envid, "", "a b");
	memset(most, 'x', sizeof most);
	assert_true(dsn_is_envid(span_make(most, 100)));
	assert_false(dsn_is_envid(span_make(most, 101)));
}

static void test_notify(void **state)
{
	GOOD(dsn_is_notify, "NEVER", "never", "SUCCESS", "FAILURE", "DELAY",
		"SUCCESS,FAILURE,DELAY", "Delay,Success");
	BAD(dsn_is_notify, "", ",", "SUCCESS,", ",SUCCESS", "NEVER,SUCCESS", "SUCCESS,NEVER",
		"SUCCESS,SUCCESS", "SUCCESS,FAILURE,DELAY,DELAY", "SUCCES", "SUCCESS FAILURE",
		"SUCCESS, FAILURE", "SUCCESS\r\n");
}

static void test_orcpt(void **state)
{
	char most[502] = "rfc822;";

	GOOD(dsn_is_orcpt, "rfc822;a@b.example", "rfc822;a+2Bb@c", "X-LOCAL;root", "utf-8;a");
	BAD(dsn_is_orcpt, "", "a@b.example", ";a", "rfc822;", "rfc822;a b", "rfc822;a=b", "rf c;a",
		"rfc822;a\n", "rf+32;a");
	memset(most + 7, 'x', sizeof most - 7);
	assert_true(dsn_is_orcpt(span_make(most, 500)));
	assert_false(dsn_is_orcpt(span_make(most, 501)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xtext),
		cmocka_unit_test(test_ret_and_envid),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_orcpt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
