/*
 * cidr, hostport.
 */
#include "base/cidr.h"
#include "base/hostport.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

static bool has(const char *range, const char *address)
{
	struct cidr c;
	struct err e = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (cidr_parse(span_of(range), &c, &e) < 0)
		fail_msg("%s: %s", range, e.text);
	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		return cidr_has(&c, (struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
	return cidr_has(&c, (struct sockaddr *)&in6);
}

static void ranges(void **state)
{
	assert_true(has("172.16.0.0/12", "172.16.0.0"));
	assert_true(has("172.16.0.0/12", "172.31.255.255"));
	assert_false(has("172.16.0.0/12", "172.32.0.0"));
	assert_false(has("172.16.0.0/12", "172.15.255.255"));
	assert_true(has("172.16.0.0/12", "::ffff:172.16.22.241"));
	assert_false(has("172.16.0.0/12", "::172.16.22.241"));
	assert_true(has("10.20.8.37", "10.20.8.37"));
	assert_false(has("10.20.8.37", "10.20.8.36"));
	assert_true(has("0.0.0.0/0", "203.0.113.9"));
	assert_false(has("0.0.0.0/0", "2001:db8::1"));
	assert_true(has("2001:db8::/32", "2001:db8:ffff::1"));
	assert_false(has("2001:db8::/32", "2001:db9::"));
	assert_true(has("::1", "::1"));
	assert_false(has("::1", "::2"));
	assert_true(has("::/0", "2001:db8::1"));
	assert_true(has("::ffff:10.0.0.0/104", "10.9.9.9"));
}

static void other_families_never(void **state)
{
	struct cidr c;
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	assert_int_equal(cidr_parse(span_of("::/0"), &c, NULL), 0);
	assert_false(cidr_has(&c, (struct sockaddr *)&un));
}

static void ranges_refused(void **state)
{
	static const char *const bad[] = { "", "any", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
		"10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.1/8", "10.0.0/8", "10.0.0.0/8/8", "/8",
		"2001:db8::1/32", "::/129", "[::1]", "010.0.0.0/8x", "256.0.0.0/8", "0.0.0.1/0" };
	struct err e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct cidr c = { .bits = 777 };
		e.code = 0;
		if (cidr_parse(span_of(bad[i]), &c, &e) != -1)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(e.code, EX_CONFIG);
		assert_int_equal(c.bits, 777);
	}
	struct cidr c;
	assert_int_equal(cidr_parse(span_make("::1\0", 4), &c, NULL), -1);
}

static void hosts_and_ports(void **state)
{
	static const struct {
		const char *in, *fallback, *host, *port; /* host NULL: refused */
	} t[] = {
		{ "10.20.8.37:3535", NULL, "10.20.8.37", "3535" },
		{ "[2001:db8::1]:25", NULL, "2001:db8::1", "25" },
		{ "a.example:0", NULL, "a.example", "0" },
		{ "a.example:00025", NULL, "a.example", "25" },
		{ "a.example", "25", "a.example", "25" },
		{ "[::1]", "25", "::1", "25" },
		{ "a.example", NULL, NULL, NULL },
		{ "a.example:0", "25", NULL, NULL },
		{ "a.example:", "25", NULL, NULL },
		{ "a.example:65536", NULL, NULL, NULL },
		{ "a.example:25:25", NULL, NULL, NULL },
		{ ":25", NULL, NULL, NULL },
		{ "", NULL, NULL, NULL },
		{ "[]:25", NULL, NULL, NULL },
		{ "[::1]x:25", NULL, NULL, NULL },
		{ "[::1", "25", NULL, NULL },
		{ "[10.1.2.3]:25", NULL, NULL, NULL },
		{ "::1:25", NULL, NULL, NULL },
		{ "10.1.2:25", NULL, NULL, NULL },
		{ "10.1.2.300:25", NULL, NULL, NULL },
		{ "1e100.example:25", NULL, "1e100.example", "25" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char host[256] = "", port[6] = "";
		struct err e = { 0 };
		int r = hostport_parse(
			span_of(t[i].in), t[i].fallback, host, sizeof host, port, &e);
		if (r != (t[i].host ? 0 : -1))
			fail_msg("%s: %d %s", t[i].in, r, e.text);
		if (t[i].host) {
			assert_string_equal(host, t[i].host);
			assert_string_equal(port, t[i].port);
		} else {
			assert_int_equal(e.code, EX_CONFIG);
		}
	}
	char small[4], port[6];
	assert_int_equal(
		hostport_parse(span_of("abcd:1"), NULL, small, sizeof small, port, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(other_families_never),
		cmocka_unit_test(ranges_refused),
		cmocka_unit_test(hosts_and_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
