/*
 * The user database as a static sendmail reads it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/cenmail-user-XXXXXX";

/* What is no account is passed over: the name service's marks, remarks, lines without numbers, a
 * number out of range, a line that is too long (whose rest is no line either). */
static int write_file(void **state)
{
	FILE *f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	fputs("+:::::::\n-nobody::0:0:::\n#root:x:0:0:remark:/:/bin/sh\n\nshort:x:0\n"
	      "words:x:zero:0:w:/:/\nhuge:x:4294967295:0:h:/:/\n:x:0:0:nameless:/:/\nlong:x:0:0:",
		f);
	for (int i = 0; i < 4088; i++)
		fputc('g', f);
	fputs("tail:x:0:0:tail:/:/\nroot:x:0:0:Super User,Room 1:/root:/bin/sh\n"
	      "other:x:0:0:second of the number:/:/\nzhang:*:1000:1000::/home/zhang:/bin/sh\n"
	      "last:x:1001:1001:L & Co",
		f);
	return fclose(f);
}

static int remove_file(void **state)
{
	return unlink(path);
}

static void finds_users(void **state)
{
	static const struct {
		const char *ask_name;
		uid_t ask_uid;
		const char *name, *gecos; /* name NULL: not found */
		uid_t uid;
	} row[] = {
		{ NULL, 0, "root", "Super User,Room 1", 0 },
		{ "root", 0, "root", "Super User,Room 1", 0 },
		{ "zhang", 0, "zhang", "", 1000 },
		{ NULL, 1001, "last", "L & Co", 1001 },
		{ NULL, 1002, NULL, NULL, 0 },
		{ "zhan", 0, NULL, NULL, 0 },
		{ "+", 0, NULL, NULL, 0 },
		{ "-nobody", 0, NULL, NULL, 0 },
		{ "short", 0, NULL, NULL, 0 },
		{ "words", 0, NULL, NULL, 0 },
		{ "huge", 0, NULL, NULL, 0 },
		{ NULL, (uid_t)-1, NULL, NULL, 0 },
		{ "long", 0, NULL, NULL, 0 },
		{ "tail", 0, NULL, NULL, 0 },
		{ "", 0, NULL, NULL, 0 },
	};
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct user u = { .name = "untouched" };
		int found = user_in_file(path, row[i].ask_name, row[i].ask_uid, &u, NULL);
		if (found != (row[i].name != NULL))
			fail_msg("row %u: found %d (%s)", i, found, u.name);
		assert_string_equal(u.name, found ? row[i].name : "untouched");
		if (found) {
			assert_string_equal(u.gecos, row[i].gecos);
			assert_int_equal(u.uid, row[i].uid);
		}
	}
	assert_int_equal(user_in_file("/nonexistent/passwd", "root", 0, NULL, NULL), 0);
}

/* What can't be read is not "nobody". */
static void says_when_it_can_not_tell(void **state)
{
	struct user u;
	struct err e = { 0 };

	assert_int_equal(user_in_file("/", "root", 0, &u, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
}

static void root_is_somebody(void **state)
{
	struct user u;
	assert_int_equal(user_by_uid(0, &u, NULL), 1);
	assert_string_equal(u.name, "root");
	assert_int_equal(user_by_name("root", &u, NULL), 1);
	assert_int_equal(u.uid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_users, write_file, remove_file),
		cmocka_unit_test(says_when_it_can_not_tell),
		cmocka_unit_test(root_is_somebody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
