/*
 * Who sends, and the From that is made of it.
 */
#include "sendmail/sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_sender(void **state)
{
	static const struct {
		const char *given, *name, *address, *from; /* address NULL: refused */
	} t[] = {
		{ "a@b", NULL, "a@b", "a@b" },
		{ "a@b", "Foo Bar", "a@b", "Foo Bar <a@b>" },
		{ "X <a@b>", "", "a@b", "a@b" },
		{ "root", "Cron (Daemon)", "root@x.y", "\"Cron (Daemon)\" <root@x.y>" },
		{ "a@b", "O\"Neil \\x", "a@b", "\"O\\\"Neil \\\\x\" <a@b>" },
		{ "a@b", "\345\261\261\347\224\260 T", "a@b",
			"=?utf-8?q?=E5=B1=B1=E7=94=B0=20T?= <a@b>" },
		{ "", NULL, "", "MAILER-DAEMON@x.y" },
		{ "<>", "Foo", "", "MAILER-DAEMON@x.y" },
		{ NULL, "F", "root@x.y", "F <root@x.y>" },
		{ "a\nb@c", NULL, NULL, NULL },
		{ "a@b\r\nRCPT TO:<c@d>", NULL, NULL, NULL },
		{ "a\351@b", NULL, NULL, NULL },
		{ "a@b, c@d", NULL, NULL, NULL },
		{ "a@b", "x\nBcc: y", NULL, NULL },
		{ "a b", NULL, NULL, NULL },
		{ ",", NULL, NULL, NULL },
		{ "g:;", NULL, NULL, NULL },
		{ " ", "Foo", "", "MAILER-DAEMON@x.y" },
		{ "a@b", "\377\200\200", "a@b", "=?unknown-8bit?q?=FF=80=80?= <a@b>" },
		{ "a@b", "=?utf-8?q?x?=", "a@b", "\"=?utf-8?q?x?=\" <a@b>" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct sender_rules rules = { t[i].given, t[i].name, 0, "x.y" };
		struct sender s;
		struct err e = { 0 };
		struct buf out;
		int r = sender_settle(&rules, &s, &e);
		if (!t[i].address) {
			if (r == 0)
				fail_msg("row %zu was taken", i);
			assert_int_equal(e.code, EX_DATAERR);
			continue;
		}
		if (r != 0)
			fail_msg("row %zu: %s", i, e.text);
		buf_init(&out, 4096);
		sender_add_from(&s, &out);
		assert_string_equal(s.address, t[i].address);
		assert_string_equal(buf_str(&out), t[i].from);
		buf_done(&out);
	}
}

/* Encoded words are at most 75 octets, hold whole characters, and lose none. */
static void test_long_name(void **state)
{
	static const struct {
		const char *character, *begin;
		size_t end; /* of a whole character, encoded */
	} t[] = {
		{ "\345\261\261", "=?utf-8?q?", 9 },
		{ "\360\237\230\200", "=?utf-8?q?", 12 },
		{ "\303\251", "=?utf-8?q?", 6 },
		{ "\200", "=?unknown-8bit?q?", 3 },
	};

	for (size_t k = 0; k < sizeof(t) / sizeof(t[0]); k++) {
		char name[200] = "";
		const size_t each = strlen(t[k].character), begin = strlen(t[k].begin);
		struct sender_rules rules = { "a@b", name, 0, "x.y" };
		struct sender s;
		struct buf out;
		size_t put = 0, got = 0;

		for (; (put + 1) * each < sizeof(name); put++)
			memcpy(name + put * each, t[k].character, each + 1);
		assert_int_equal(sender_settle(&rules, &s, NULL), 0);
		buf_init(&out, 4096);
		sender_add_from(&s, &out);
		const char *p = buf_str(&out);
		while (strncmp(p, t[k].begin, begin) == 0) {
			size_t n = strcspn(p, " ");
			assert_true(n <= 75);
			assert_memory_equal(p + n - 2, "?=", 2);
			assert_int_equal((n - begin - 2) % t[k].end, 0);
			got += (n - begin - 2) / t[k].end;
			p += n + 1;
		}
		assert_int_equal(got, put);
		assert_string_equal(p, "<a@b>");
		buf_done(&out);
	}
}

static void test_gecos(void **state)
{
	static const struct {
		const char *gecos, *login, *want;
	} t[] = {
		{ "Jane Doe,Room 7,555", "jane", "Jane Doe" },
		{ "& Doe", "jane", "Jane Doe" },
		{ "The & &", "x1", "The X1 X1" },
		{ "& Doe", "Jane", "Jane Doe" },
		{ "&", "", "&" },
		{ "", "jane", "" },
		{ ",,,", "jane", "" },
		{ "a\tb\177c\nBcc: x", "jane", "abcBcc: x" },
		{ "\345\261\261", "jane", "\345\261\261" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct buf out;
		buf_init(&out, 4096);
		sender_add_gecos(t[i].gecos, t[i].login, &out);
		assert_string_equal(buf_str(&out), t[i].want);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_gecos),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
