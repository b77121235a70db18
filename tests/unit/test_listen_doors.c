/*
 * Who may come in how often: guessing (E10), what each client has, and the senders it may have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "listen/door.h"
#include "listen/guess.h"
#include "listen/visitors.h"

#include <stdlib.h>
#include <unistd.h>

#define HEX "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" /* of "secret" */

/* Asks `n` times in a row; answers the last answer. */
static int64_t ask(struct guess *g, const char *name, const char *address, int n, int64_t now)
{
	int64_t wait = 0;

	for (int i = 0; i < n; i++)
		wait = guess_ask(g, name, address, now);
	return wait;
}

/* E10: by address, whatever the names. */
static void test_guessing_by_address(void **state)
{
	struct guess *g = guess_new();
	char name[16];

	(void)state;
	for (int i = 0; i < GUESS_ADDRESS; i++) {
		snprintf(name, sizeof name, "n%d", i);
		assert_int_equal(guess_ask(g, name, "192.0.2.1", 1000), 0);
	}
	assert_int_equal(guess_ask(g, "another", "192.0.2.1", 1000), -1);
	assert_int_equal(guess_ask(g, "another", "192.0.2.2", 1000), 0);
	/* refusals are not counted on top: after a while there is one guess again, and no more */
	assert_int_equal(ask(g, "x", "192.0.2.1", 100, 1000), -1);
	assert_int_equal(guess_ask(g, "y", "192.0.2.1", 1000 + GUESS_FORGET), 0);
	assert_int_equal(guess_ask(g, "z", "192.0.2.1", 1000 + GUESS_FORGET), -1);
	/* of IPv6 the network of 64 bits */
	assert_int_equal(ask(g, "v6", "2001:db8::1", 1, 1000), 0);
	for (int i = 0; i < GUESS_ADDRESS; i++) {
		snprintf(name, sizeof name, "6%d", i);
		(void)guess_ask(g, name, "2001:db8::2", 1000);
	}
	assert_int_equal(guess_ask(g, "new", "2001:db8::ffff", 1000), -1);
	assert_int_equal(guess_ask(g, "new", "2001:db8:0:1::1", 1000), 0);
	guess_free(g);
}

/* E10: by name, from anywhere; and the owner of the name is not locked out. */
static void test_guessing_by_name(void **state)
{
	struct guess *g = guess_new();
	char address[32];
	int64_t wait = 0;

	(void)state;
	assert_int_equal(guess_ask(g, "joe", "192.0.2.9", 1000), 0);
	guess_right(g, "joe", "192.0.2.9", 1000);
	for (int i = 0; i < GUESS_FREE; i++) {
		snprintf(address, sizeof address, "198.51.100.%d", i);
		assert_int_equal(guess_ask(g, "joe", address, 1000), 0);
	}
	/* from now on one after the other, and no further ahead than GUESS_WAIT_MAX */
	assert_int_equal(guess_ask(g, "joe", "203.0.113.1", 1000), 0);
	assert_int_equal(guess_ask(g, "joe", "203.0.113.2", 1000), GUESS_GAP);
	for (int i = 3; i < 20; i++) {
		snprintf(address, sizeof address, "203.0.113.%d", i);
		wait = guess_ask(g, "joe", address, 1000);
		assert_true(wait <= GUESS_WAIT_MAX);
	}
	assert_int_equal(wait, -1);
	assert_int_equal(guess_ask(g, "joe", "192.0.2.9", 1000), 0);
	/* a right one leaves nothing behind */
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(guess_ask(g, "ann", "192.0.2.10", 2000), 0);
		guess_right(g, "ann", "192.0.2.10", 2000);
	}
	/* forgotten within the hour, however many there were */
	assert_int_equal(guess_ask(g, "joe", "203.0.113.77", 1000 + 61 * GUESS_FORGET), 0);
	assert_int_equal(guess_ask(g, "joe", "203.0.113.78", 1000 + 61 * GUESS_FORGET), 0);
	guess_free(g);
}

/* Whatever comes: of fixed size, and what is most suspect stays known. */
static void test_guessing_is_bounded(void **state)
{
	struct guess *g = guess_new();
	char name[32], address[32];

	(void)state;
	assert_int_equal(ask(g, "victim", "192.0.2.1", GUESS_ADDRESS, 1000), -1);
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof name, "n%d", i);
		snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		(void)guess_ask(g, name, address, 1000);
	}
	assert_int_equal(guess_ask(g, "victim", "198.51.100.1", 1000), -1);
	guess_free(g);
}

static void test_visitors(void **state)
{
	struct visitors *v = visitors_new();
	struct visitor *a, *b;

	(void)state;
	a = visitor_enter(v, "joe", 2);
	b = visitor_enter(v, "joe", 2);
	assert_ptr_equal(a, b);
	assert_null(visitor_enter(v, "joe", 2));
	b = visitor_enter(v, "ann", 2);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	assert_int_equal(visitor_flying(v, a, 0, 3), 3);
	assert_int_equal(visitor_flying(v, a, 0, 2), 5);
	assert_int_equal(visitor_flying(v, a, 3, 1), 3);
	assert_int_equal(visitor_flying(v, b, 0, 1), 1);
	visitor_leave(v, a);
	assert_non_null(visitor_enter(v, "joe", 2));
	visitor_leave(v, a);
	visitor_leave(v, a);
	visitor_leave(v, b);
	visitor_leave(v, NULL);
	visitors_free(v);
}

static int open_door(struct door **d, const char *text, struct err *e)
{
	char path[] = "/tmp/cenmail-doors.XXXXXX";
	struct conf_listen c = { .clients = path };
	FILE *f = fdopen(mkstemp(path), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	int r = door_open(d, &c, e);
	unlink(path);
	return r;
}

static void test_senders(void **state)
{
	static const char *const bad[] = { "joe:" HEX ":\n", "joe:" HEX ":,a@b.example\n",
		"joe:" HEX ":a@b.example,\n", "joe:" HEX ":a@b.example,,c@d.example\n",
		"joe:" HEX ":a@b.example, c@d.example\n", "joe::" HEX "\n" };
	static const struct {
		const char *client, *sender;
		bool may;
	} cases[] = {
		{ "any", "a@b.example", true },
		{ "any", "", true },
		{ "one", "app@example.com", true },
		{ "one", "APP@Example.COM", true },
		{ "one", "app@example.com.evil.example", false },
		{ "one", "xapp@example.com", false },
		{ "one", "", false },
		{ "more", "x@example.net", true },
		{ "more", "x@sub.example.net", false },
		{ "more", "", true },
		{ "more", "\"x@example.net\"@evil.example", false },
	};
	struct err e = { 0 };
	struct door *d, *other;

	(void)state;
	assert_int_equal(open_door(&d,
				 "any:" HEX "\none:" HEX ":app@example.com\n"
				 "more:" HEX ":app@example.com,*@example.net,<>\n",
				 &e),
		0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (door_may_send(door_client(d, cases[i].client), cases[i].sender) != cases[i].may)
			fail_msg("%s as <%s>", cases[i].client, cases[i].sender);
	assert_null(door_client(d, "none"));
	assert_true(door_knows(d, "one", span_of("secret")));
	assert_int_equal(open_door(&other, "any:" HEX "\none:00" HEX "\n", &e), -1);
	assert_int_equal(open_door(&other, "any:" HEX ":a@b.example\n", &e), 0);
	assert_true(door_same_secret(door_client(d, "any"), door_client(other, "any")));
	door_close(other);
	door_close(d);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		e = (struct err) { 0 };
		if (open_door(&d, bad[i], &e) == 0)
			fail_msg("%s", bad[i]);
		assert_int_equal(e.code, EX_CONFIG);
		assert_null(strstr(e.text, "2bb80d")); /* no digest in the log */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guessing_by_address),
		cmocka_unit_test(test_guessing_by_name),
		cmocka_unit_test(test_guessing_is_bounded),
		cmocka_unit_test(test_visitors),
		cmocka_unit_test(test_senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
