/*
 * Recipients, aliases and the sender: what a name leads to, duplicates, loops, ceilings.
 */
#include "base/aliases.h"
#include "base/recipients.h"

#include "tests/unit/aliases_fixture.h"

/* All recipients, separated by a space; the error's code in *ret_code. */
static const char *resolve(
	const struct recipients_rules *rules, const char *list, int *ret_code, char *notes)
{
	static char out[4096];
	struct recipients *r = recipients_new(rules);
	struct err e = { 0 };
	size_t n = 0;

	out[0] = '\0';
	*ret_code = recipients_add(r, span_of(list), &e) == 0 ? 0 : e.code;
	for (unsigned i = 0; i < recipients_count(r); i++)
		n += (size_t)snprintf(
			out + n, sizeof(out) - n, "%s%s", i ? " " : "", recipients_at(r, i));
	if (notes)
		snprintf(notes, 1024, "%s", recipients_notes(r));
	recipients_free(r);
	return out;
}

static void test_names(void **state)
{
	static const struct {
		const char *domain, *postmaster, *list, *want;
		int code;
	} t[] = {
		{ "", "", "a@b, C@D", "a@b C@D", 0 },
		{ "", "", "a@b, a@B, A@b, a@b", "a@b A@b", 0 },
		{ "", "", "@x:a@b", "", EX_DATAERR },
		{ "", "", "<@x:a@b>", "a@b", 0 },
		{ "", "", "foo", "", EX_NOUSER },
		{ "x.y", "", "foo, foo@x.y", "foo@x.y", 0 },
		{ "", "pm@z", "root", "pm@z", 0 }, /* a system account */
		{ "x.y", "pm@z", "root, nosuchaccount", "pm@z nosuchaccount@x.y", 0 },
		{ "x.y", "pm", "root", "pm@x.y", 0 },
		{ "", "pm@z", "nosuchaccount", "", EX_NOUSER },
		{ "x.y", "", "\\root", "root@x.y", 0 },
		{ "", "", "<>", "", EX_DATAERR },
		{ "x.y", "", "a\351@b", "", EX_DATAERR },
		{ "x.y", "", "a\001@b", "", EX_DATAERR },
		{ "x.y", "", "\351", "", EX_DATAERR },
		{ "x.y", "", "a..b@c", "", EX_DATAERR },
		{ "x.y", "", "good@a, bad@", "", EX_DATAERR },
		{ "x.y", "", "\"x' UNION SELECT--\"@a, %n@a", "\"x' UNION SELECT--\"@a %n@a", 0 },
		{ "x.y", "", "$(id)@a", "", EX_DATAERR },
		{ "x.y", "", "\"a b\"", "\"a b\"@x.y", 0 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int code;
		struct recipients_rules rules = { t[i].domain, t[i].postmaster, NULL, 10 };
		assert_string_equal(resolve(&rules, t[i].list, &code, NULL), t[i].want);
		if (code != t[i].code)
			fail_msg("%s: %d", t[i].list, code);
	}
}

static void test_aliases(void **state)
{
	static const char text[] = "# comment\n"
				   "root: admin@z, ops\n"
				   "Ops:  a@b,\n"
				   "   c@d,\n"
				   "# in between\n"
				   "\te@f\n"
				   "\n"
				   "self: self, x@y\n"
				   "loop: pool\n"
				   "pool: loop\n"
				   "prog: |/bin/cat, \"|/bin/cat x,y\", p@q\n"
				   "file: /var/mail/x\n"
				   "null: /dev/null\n"
				   "list: :include:/etc/list\n"
				   "\"q name\": q@r\n"
				   "crlf: c@d\r\n"
				   "bad: foo bar, b@b\n"
				   "empty:\n"
				   "black: hole, hole\n"
				   "hole: |/bin/cat\n"
				   "\"q:u\\\"o\": u@o\n"
				   "lit: \\root\n"
				   "last: l@l";
	static const struct {
		const char *list, *want, *note;
		int code;
	} t[] = {
		{ "root", "admin@z a@b c@d e@f", "", 0 },
		{ "ROOT", "admin@z a@b c@d e@f", "", 0 },
		{ "\\root", "root@x.y", "", 0 },
		{ "lit", "root@x.y", "", 0 },
		{ "root@x.y", "root@x.y", "", 0 },
		{ "ops, root, ops", "a@b c@d e@f admin@z", "", 0 },
		{ "self", "self@x.y x@y", "", 0 },
		{ "loop", "loop@x.y", "leads back to itself", 0 },
		{ "prog", "p@q", "a program", 0 },
		{ "file", "", "a file", EX_NOUSER },
		{ "null", "", "a file", EX_NOUSER },
		{ "list", "", "a list in a file", EX_NOUSER },
		{ "crlf", "c@d", "", 0 },
		{ "bad", "b@b", "foo bar", 0 },
		{ "empty", "", "", EX_NOUSER },
		{ "black", "", "hole: leads to no address", EX_NOUSER },
		{ "\"q name\"", "q@r", "", 0 },
		{ "\"Q:u\\\"o\"", "u@o", "", 0 },
		{ "\"ops\"", "a@b c@d e@f", "", 0 },
		{ "last", "l@l", "", 0 },
		{ "none", "none@x.y", "", 0 },
	};
	struct recipients_rules rules = { "x.y", "", path, 100 };

	write_aliases(span_of(text));
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char notes[1024];
		int code;
		const char *got = resolve(&rules, t[i].list, &code, notes);
		if (strcmp(got, t[i].want) != 0 || code != t[i].code)
			fail_msg("%s: %s (%d) %s", t[i].list, got, code, notes);
		if (t[i].note[0] ? !strstr(notes, t[i].note) : notes[0] != '\0')
			fail_msg("%s: %s", t[i].list, notes);
	}
}

/* Doubling at each step would be 2^40 without "once a message"; deeper than the bound is refused.
 */
static void test_alias_bounds(void **state)
{
	struct recipients_rules rules = { "", "", path, 100 };
	struct buf text;
	int code;

	buf_init(&text, 65536);
	for (int i = 0; i < 14; i++)
		buf_printf(&text, "a%d: a%d, a%d, n%d@x\n", i, i + 1, i + 1, i);
	buf_add_str(&text, "a14: end@x\n");
	for (int i = 0; i < 40; i++)
		buf_printf(&text, "d%d: d%d\n", i, i + 1);
	buf_add_str(&text, "d40: end@x\n");
	write_aliases(buf_span(&text));
	resolve(&rules, "a0", &code, NULL);
	assert_int_equal(code, 0);
	assert_string_equal(resolve(&rules, "d30", &code, NULL), "end@x");
	assert_string_equal(resolve(&rules, "d0", &code, NULL), "");
	assert_int_equal(code, EX_NOUSER);
	buf_done(&text);
}

static void test_alias_files(void **state)
{
	struct recipients_rules rules = { "x.y", "", "/nonexistent/aliases", 100 };
	int code;

	assert_string_equal(resolve(&rules, "a", &code, NULL), "a@x.y");
	assert_int_equal(code, 0);
	rules.aliases = "/tmp";
	resolve(&rules, "a", &code, NULL);
	assert_int_equal(code, EX_CONFIG);
	resolve(&rules, "a@b", &code, NULL); /* not read when it is not needed */
	assert_int_equal(code, 0);
}

/* Root's mail is not swallowed by an alias that has become useless, nor by a file that can't be
 * read: cron does not look at exit codes. */
static void test_postmaster_catches(void **state)
{
	static const struct {
		const char *aliases, *list, *want, *note;
		int code;
	} t[] = {
		{ "root: |/bin/cat\n", "root", "pm@z", ":1: alias root: a program is not used", 0 },
		{ "root: |/bin/cat\n", "root", "pm@z", ":1: alias root: leads nowhere", 0 },
		{ "x: y\nroot: nosuchaccount\n", "root", "pm@z", ":2: alias root: nosuchaccount",
			0 },
		{ "root: ops\nops: root\n", "root", "pm@z", ":1: alias root: leads back", 0 },
		{ "root: daemon\ndaemon: /dev/null\n", "root", "pm@z", ":2: alias daemon", 0 },
		{ "root: daemon, daemon\ndaemon: /dev/null\n", "root, daemon", "pm@z", "", 0 },
		{ "root: a@b\n", "root", "a@b", "", 0 },
		{ "ops: |/bin/cat\n", "ops", "", "", EX_NOUSER },
		{ "ops: (a comment, (alone)\n", "ops", "", "", EX_NOUSER },
	};
	struct recipients_rules rules = { "", "pm@z", path, 100 };
	char notes[1024];
	int code;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		write_aliases(span_of(t[i].aliases));
		const char *got = resolve(&rules, t[i].list, &code, notes);
		if (strcmp(got, t[i].want) != 0 || code != t[i].code || !strstr(notes, t[i].note))
			fail_msg("row %zu: %s (%d) %s", i, got, code, notes);
	}
	rules.aliases = "/tmp"; /* a directory */
	assert_string_equal(resolve(&rules, "root", &code, notes), "pm@z");
	assert_non_null(strstr(notes, "/tmp"));
	resolve(&rules, "nosuchaccount", &code, notes);
	assert_int_equal(code, EX_CONFIG);
}

/* Each name may cost a look into the user database. */
static void test_names_have_a_ceiling(void **state)
{
	struct recipients_rules rules = { "x.y", "pm@z", NULL, 2 };
	int code;

	assert_string_equal(resolve(&rules, "n,n,n,n,n,n,n,n", &code, NULL), "n@x.y");
	assert_int_equal(code, 0);
	resolve(&rules, "n,n,n,n,n,n,n,n,n", &code, NULL);
	assert_int_equal(code, EX_DATAERR);
}

/* An alias over the maximum refuses the message: half of its addresses would be mail lost. */
static void test_alias_over_the_maximum(void **state)
{
	struct recipients_rules rules = { "", "", path, 3 };
	int code;

	write_aliases(span_of("all: some, d@x\nsome: a@x, b@x, c@x\n"));
	assert_string_equal(resolve(&rules, "some", &code, NULL), "a@x b@x c@x");
	assert_int_equal(code, 0);
	resolve(&rules, "all", &code, NULL);
	assert_int_equal(code, EX_DATAERR);
	rules.max = 2;
	resolve(&rules, "all", &code, NULL);
	assert_int_equal(code, EX_DATAERR);
}

/* A list that is refused leaves nothing behind: not its first addresses, and not an alias that
 * counts as expanded while its addresses are gone. */
static void test_all_or_nothing(void **state)
{
	struct recipients_rules rules = { "", "", path, 4 };
	struct recipients *r = recipients_new(&rules);
	struct err e = { 0 };

	write_aliases(span_of("all: some, d@x, e@x\nsome: a@x, b@x, c@x\n"));
	assert_int_equal(recipients_add(r, span_of("z@x"), &e), 0);
	assert_int_equal(recipients_add(r, span_of("all"), &e), -1);
	assert_true(recipients_are_full(r));
	assert_int_equal(recipients_add(r, span_of("y@x, nobody"), &e), -1);
	assert_int_equal(e.code, EX_NOUSER);
	assert_false(recipients_are_full(r));
	assert_int_equal(recipients_count(r), 1);
	assert_int_equal(recipients_add(r, span_of("some"), &e), 0);
	assert_int_equal(recipients_count(r), 4);
	assert_int_equal(recipients_add(r, span_of("c@x, z@x, some"), &e), 0); /* all there */
	assert_int_equal(recipients_count(r), 4);
	assert_string_equal(recipients_at(r, 0), "z@x");
	assert_string_equal(recipients_at(r, 3), "c@x");
	recipients_free(r);
}

static void test_maximum(void **state)
{
	struct recipients_rules rules = { "", "", NULL, 1000 };
	struct recipients *r = recipients_new(&rules);
	struct err e = { 0 };
	char one[32];

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 1000; i++) {
			snprintf(one, sizeof(one), "a%d@b", i);
			assert_int_equal(recipients_add(r, span_of(one), &e), 0);
		}
	assert_int_equal(recipients_count(r), 1000);
	assert_string_equal(recipients_at(r, 999), "a999@b");
	assert_int_equal(recipients_add(r, span_of("x@y"), &e), -1);
	assert_int_equal(e.code, EX_DATAERR);
	assert_non_null(strstr(e.text, "1000"));
	recipients_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_aliases, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_alias_bounds, make_path, remove_path),
		cmocka_unit_test(test_alias_files),
		cmocka_unit_test_setup_teardown(test_postmaster_catches, make_path, remove_path),
		cmocka_unit_test(test_names_have_a_ceiling),
		cmocka_unit_test_setup_teardown(
			test_alias_over_the_maximum, make_path, remove_path),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, make_path, remove_path),
		cmocka_unit_test(test_maximum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
