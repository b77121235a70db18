/*
 * Addresses: RFC 5321 syntax, byte for byte, and patterns.
 */
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define L63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
#define L64 L63 "l"
#define D   L63 "." L63 "." L63

static const struct {
	const char *in;
	const char *local, *domain; /* NULL: refused */
	const char *words;          /* in the refusal */
} cases[] = {
	{ "a@example.com", "a", "example.com", NULL },
	{ "A.b+c_d=e!#$%&'*/?^`{|}~-@Example.COM", "A.b+c_d=e!#$%&'*/?^`{|}~-", "Example.COM",
		NULL },
	{ "user%host@relay", "user%host", "relay", NULL },
	{ "\"x' UNION SELECT--\"@a", "\"x' UNION SELECT--\"", "a", NULL },
	{ "\"a@b\"@c", "\"a@b\"", "c", NULL },
	{ "\"a\\\"b\\\\\"@c", "\"a\\\"b\\\\\"", "c", NULL },
	{ "\"\"@c", "\"\"", "c", NULL },
	{ "$(id)@a", NULL, NULL, "quotes" },
	{ "%n@a", "%n", "a", NULL },
	{ "\"$(id)\"@a", "\"$(id)\"", "a", NULL },
	{ "a@[192.0.2.1]", "a", "[192.0.2.1]", NULL },
	{ "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", NULL },
	{ "a@[ipv6:::1]", "a", "[ipv6:::1]", NULL },
	{ "@x.example:a@b", "a", "b", NULL },
	{ "@x.example,@[IPv6:::1],@y:a@b", "a", "b", NULL },
	{ "a@_dmarc.x_y.example", "a", "_dmarc.x_y.example", NULL },
	{ "a@x--y.example", "a", "x--y.example", NULL },
	{ "a@1.example", "a", "1.example", NULL },
	{ L64 "@b", L64, "b", NULL },
	{ "a@" L63 ".b", "a", L63 ".b", NULL },

	{ "", NULL, NULL, "local part" },
	{ "a", NULL, NULL, "no @domain" },
	{ "@", NULL, NULL, "source route" },
	{ "@b", NULL, NULL, "source route" },
	{ "@b:", NULL, NULL, "local part" },
	{ "@b,:a@c", NULL, NULL, "source route" },
	{ "@-b:a@c", NULL, NULL, "source route" },
	{ "@[192.0.2.1:a@c", NULL, NULL, "source route" },
	{ "a@", NULL, NULL, "domain" },
	{ "a@b@c", NULL, NULL, "domain" },
	{ ".a@b", NULL, NULL, "local part" },
	{ "a.@b", NULL, NULL, "local part" },
	{ "a..b@c", NULL, NULL, "local part" },
	{ "a b@c", NULL, NULL, "quotes" },
	{ "a,b@c", NULL, NULL, "quotes" },
	{ "a@b c", NULL, NULL, "domain" },
	{ "<a@b>", NULL, NULL, "local part" },
	{ "a@b>", NULL, NULL, "domain" },
	{ "\"a@b", NULL, NULL, "local part" },
	{ "\"a\\\"@b", NULL, NULL, "local part" },
	{ "\"a\"b@c", NULL, NULL, "quotes" },
	{ "a@b.", NULL, NULL, "domain" },
	{ "a@.b", NULL, NULL, "domain" },
	{ "a@b..c", NULL, NULL, "domain" },
	{ "a@-b", NULL, NULL, "domain" },
	{ "a@b-", NULL, NULL, "domain" },
	{ "a@" L64, NULL, NULL, "domain" },
	{ "a@[192.0.2.256]", NULL, NULL, "domain" },
	{ "a@[192.0.2.1", NULL, NULL, "domain" },
	{ "a@[]", NULL, NULL, "domain" },
	{ "a@[2001:db8::1]", NULL, NULL, "domain" },
	{ "a@[x:y]", NULL, NULL, "domain" },
	{ L64 "m@b", NULL, NULL, "64 octets" },
	{ "\xC3\xA9@b", NULL, NULL, "ASCII" },
	{ "a@\xE6\x97\xA5", NULL, NULL, "xn--" },
	{ "a\r\nRCPT TO:<x>@b", NULL, NULL, "control" },
	{ "\"a\tb\"@c", NULL, NULL, "control" },
	{ "a@b\x7F", NULL, NULL, "control" },
	{ "a@b\n", NULL, NULL, "control" },
};

static void addresses(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct address a = { .len = 12345 };
		struct err e = { 0 };
		int r = address_parse(span_of(cases[i].in), &a, &e);
		if (!cases[i].local) {
			if (r != -1 || e.code != EX_DATAERR || !strstr(e.text, cases[i].words))
				fail_msg("%s: %d %s", cases[i].in, r, e.text);
			assert_int_equal(a.len, 12345);
			continue;
		}
		if (r != 0)
			fail_msg("%s: %s", cases[i].in, e.text);
		assert_true(span_eq(address_local(&a), span_of(cases[i].local)));
		assert_true(span_eq(address_domain(&a), span_of(cases[i].domain)));
		assert_int_equal(a.len, strlen(a.text));
	}
}

static void nul_is_refused(void **state)
{
	struct address a;

	assert_int_equal(address_parse(span_make("a\0b@c", 5), &a, NULL), -1);
	assert_int_equal(address_parse(span_make("a@c\0", 4), &a, NULL), -1);
	assert_int_equal(address_parse(span_make("a@[::1\0]", 8), &a, NULL), -1);
	assert_false(address_is_domain(span_make("a\0", 2)));
	assert_false(address_is_local_part(span_make("a\0", 2)));
}

static void path_ceiling(void **state)
{
	struct address a;
	struct err e;
	char text[300];

	/* 62 octets of local part, @ and 191 of domain: 254 */
	snprintf(text, sizeof text, "%.62s@%s", L63, D);
	assert_int_equal(strlen(text), 254);
	assert_int_equal(address_parse(span_of(text), &a, &e), 0);
	snprintf(text, sizeof text, "%.63s@%s", L63, D);
	assert_int_equal(address_parse(span_of(text), &a, &e), -1);
	assert_non_null(strstr(e.text, "254"));
}

static void parts_alone(void **state)
{
	assert_true(address_is_local_part(span_of("root")));
	assert_true(address_is_local_part(span_of("\"a b\"")));
	assert_false(address_is_local_part(span_of("a b")));
	assert_false(address_is_local_part(span_of("a@b")));
	assert_false(address_is_local_part(span_of("")));
	assert_false(address_is_local_part(span_of(L64 "x")));
	assert_true(address_is_domain(span_of("localhost")));
	assert_false(address_is_domain(span_of("")));
	assert_true(address_is_domain(span_of("[192.0.2.1]")));
}

static void patterns(void **state)
{
	static const struct {
		const char *pattern, *address;
		bool match;
	} t[] = {
		{ "*@qq.com", "a@QQ.com", true },
		{ "*@qq.com", "a@qq.com.cn", false },
		{ "*@*.CN", "a@b.cn", true },
		{ "*", "", true },
		{ "", "", true },
		{ "", "a", false },
		{ "a@b", "a@b", true },
		{ "a@b", "a@bc", false },
		{ "a@bc", "a@b", false },
		{ "?@b", "a@b", true },
		{ "?@b", "@b", false },
		{ "*a*b*", "xxaxxb", true },
		{ "*ab", "aab", true },
		{ "*aab", "aaab", true },
		{ "a**", "a", true },
		{ "[ab]@c", "a@c", false },
		{ "\\*@c", "x@c", false },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		if (address_match(t[i].pattern, span_of(t[i].address)) != t[i].match)
			fail_msg("%s against %s", t[i].pattern, t[i].address);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(nul_is_refused),
		cmocka_unit_test(path_ceiling),
		cmocka_unit_test(parts_alone),
		cmocka_unit_test(patterns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
