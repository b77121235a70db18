/*
 * The table of options, by the argument lists of real callers (CASES.md A15) and by what has to be
 * refused.
 */
#include "sendmail/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ARGS_MAX 24

static int parse(const char *const *args, struct options *o, struct err *e)
{
	static char copy[ARGS_MAX][256];
	static char *argv[ARGS_MAX + 1];
	int argc = 0;

	for (; args[argc]; argc++) {
		assert_true(argc < ARGS_MAX);
		snprintf(copy[argc], sizeof(copy[argc]), "%s", args[argc]);
		argv[argc] = copy[argc];
	}
	argv[argc] = NULL;
	*e = (struct err) { 0 };
	return options_parse(argc, argv, o, e);
}

static void assert_same(const char *got, const char *want)
{
	if (!want)
		assert_null(got);
	else
		assert_string_equal(got ? got : "(null)", want);
}

static void test_callers(void **state)
{
	static const struct {
		const char *args[ARGS_MAX];
		bool header, dots;
		const char *sender, *name, *rcpts;
	} t[] = {
		{ { "sendmail", "-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root" },
			true, true, "root", "CronDaemon", "" },
		{ { "sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root" }, false, true,
			NULL, "CronDaemon", "root" },
		{ { "sendmail", "-FAnacron", "-odi", "root" }, false, false, NULL, "Anacron",
			"root" },
		{ { "/usr/sbin/sendmail", "-t", "-i" }, true, true, NULL, NULL, "" },
		{ { "sendmail", "-oi", "-fa@b.example", "-t" }, true, true, "a@b.example", NULL,
			"" },
		{ { "sendmail", "-i", "-f", "from@x", "--", "to@y" }, false, true, "from@x", NULL,
			"to@y" },
		{ { "sendmail", "-f", "sender@x", "-i", "to@y" }, false, true, "sender@x", NULL,
			"to@y" },
		{ { "sendmail", "-oem", "-oi", "-f", "a", "-N", "failure", "-R", "hdrs", "--",
			  "to@y" },
			false, true, "a", NULL, "to@y" },
		{ { "sendmail", "-i", "-F", "name", "-f", "addr", "--", "to@y" }, false, true,
			"addr", "name", "to@y" },
		{ { "sendmail", "-t" }, true, false, NULL, NULL, "" },
		{ { "sendmail", "-f", "sender", "to" }, false, false, "sender", NULL, "to" },
		{ { "sendmail", "-t", "-i", "-fX" }, true, true, "X", NULL, "" },
		{ { "sendmail", "-ti" }, true, true, NULL, NULL, "" },
		{ { "sendmail", "-tifX" }, true, true, "X", NULL, "" },
		{ { "sendmail", "-tif", "X", "to" }, true, true, "X", NULL, "to" },
		{ { "sendmail", "-f", "", "to" }, false, false, "", NULL, "to" },
		{ { "sendmail", "-f<>", "to" }, false, false, "<>", NULL, "to" },
		{ { "sendmail", "-r", "a@b", "-m", "-v", "to" }, false, false, "a@b", NULL, "to" },
		{ { "sendmail", "-bm", "-G", "-n", "-U", "-x", "-c", "to" }, false, false, NULL,
			NULL, "to" },
		{ { "sendmail", "-C", "/etc/x", "-X", "/tmp/log", "-d0.1", "-Dfile", "-oQ/tmp",
			  "to" },
			false, false, NULL, NULL, "to" },
		{ { "sendmail", "-O", "IgnoreDots=true", "-OQueueDirectory=/tmp", "to" }, false,
			true, NULL, NULL, "to" },
		{ { "sendmail", "-O", "ignoredots", "to" }, false, true, NULL, NULL, "to" },
		{ { "sendmail", "-OIgnoreDots=yes", "to" }, false, true, NULL, NULL, "to" },
		{ { "sendmail", "-oiTrue", "to" }, false, true, NULL, NULL, "to" },
		{ { "sendmail", "-O", "IgnoreDots=False", "-oiF", "-OIgnoreDotsX", "to" }, false,
			false, NULL, NULL, "to" },
		{ { "sendmail", "-Am", "-L", "tag", "-p", "ESMTP:host", "-h", "3", "-em", "-e", "m",
			  "to" },
			false, false, NULL, NULL, "to" },
		{ { "sendmail", "a@b", "c@d" }, false, false, NULL, NULL, "a@b c@d" },
		{ { "sendmail", "--", "-odd", "x" }, false, false, NULL, NULL, "-odd x" },
		{ { "sendmail", "-t", "--" }, true, false, NULL, NULL, "" },
	};
	struct options o;
	struct err e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char rcpts[256] = "";
		if (parse(t[i].args, &o, &e) != 0)
			fail_msg("row %zu: %s", i, e.text);
		for (unsigned k = 0; k < o.rcpts; k++) {
			size_t n = strlen(rcpts);
			snprintf(rcpts + n, sizeof(rcpts) - n, "%s%s", k ? " " : "", o.rcpt[k]);
		}
		assert_int_equal(o.mode, OPTIONS_SUBMIT);
		assert_int_equal(o.from_header, t[i].header);
		assert_int_equal(o.ignore_dots, t[i].dots);
		assert_same(o.sender, t[i].sender);
		assert_same(o.full_name, t[i].name);
		assert_string_equal(rcpts, t[i].rcpts);
	}
}

static void test_modes(void **state)
{
	static const struct {
		const char *args[4];
		enum options_mode mode;
	} t[] = {
		{ { "mailq" }, OPTIONS_LIST },
		{ { "/usr/bin/mailq", "-Ac", "-v" }, OPTIONS_LIST },
		{ { "sendmail", "-bp" }, OPTIONS_LIST },
		{ { "sendmail", "-b", "p" }, OPTIONS_LIST },
		{ { "newaliases" }, OPTIONS_ALIASES },
		{ { "sendmail", "-bi" }, OPTIONS_ALIASES },
		{ { "sendmail", "-I" }, OPTIONS_ALIASES },
		{ { "mailq", "-bm", "x" }, OPTIONS_SUBMIT },
		{ { "sendmail", "-bv", "x" }, OPTIONS_VERIFY },
		{ { "sendmail", "-bs" }, OPTIONS_SESSION },
		{ { "sendmail", "-bs", "x" }, OPTIONS_SESSION },
		{ { "sendmail", "-t", "-bv" }, OPTIONS_VERIFY },
		{ { "sendmail", "-q" }, OPTIONS_FLUSH },
		{ { "sendmail", "-qf", "-v" }, OPTIONS_FLUSH },
		{ { "sendmail", "-vq" }, OPTIONS_FLUSH },
		{ { "sendmail", "-qI0000000017" }, OPTIONS_FLUSH },
		{ { "mailq", "-qRexample.com" }, OPTIONS_LIST },
		{ { "sendmail", "-qRa", "-bp" }, OPTIONS_LIST },
		{ { "sendmail", "--help" }, OPTIONS_HELP },
		{ { "sendmail", "--version" }, OPTIONS_VERSION },
	};
	struct options o;
	struct err e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (parse(t[i].args, &o, &e) != 0)
			fail_msg("row %zu: %s", i, e.text);
		assert_int_equal(o.mode, t[i].mode);
	}
}

static void test_refused(void **state)
{
	static const char *const t[][4] = {
		{ "sendmail" },
		{ "sendmail", "-i" },
		{ "" },
		{ "", "x" },
		{ "sendmail", "-bv" },
		{ "sendmail", "-bvx", "x" },
		{ "sendmail", "-bd", "-q15m" },
		{ "sendmail", "-bD" },
		{ "sendmail", "-bh" },
		{ "sendmail", "-bH" },
		{ "sendmail", "-bt" },
		{ "sendmail", "-bl" },
		{ "sendmail", "-ba", "x" },
		{ "sendmail", "-bP" },
		{ "sendmail", "-b?", "x" },
		{ "sendmail", "-bmm", "x" },
		{ "sendmail", "-q15m" },
		{ "sendmail", "-q0" },
		{ "sendmail", "-qp" },
		{ "sendmail", "-qGa" },
		{ "sendmail", "-qQa" },
		{ "sendmail", "-qLa" },
		{ "sendmail", "-qIabc" },
		{ "sendmail", "-qI" },
		{ "sendmail", "-qI17x" },
		{ "sendmail", "-qI", "17" },
		{ "sendmail", "-qI99999999999999999999" },
		{ "sendmail", "-q!" },
		{ "sendmail", "-q!f" },
		{ "sendmail", "-q!!Ra" },
		{ "sendmail", "-qz" },
		{ "sendmail", "-qR" },
		{ "sendmail", "-qS" },
		{ "sendmail", "-qf", "x" },
		{ "sendmail", "-qff" },
		{ "sendmail", "-q", "-t" },
		{ "sendmail", "-b", "", "x" },
		{ "sendmail", "-bC" },
		{ "sendmail", "-br", "x" },
		{ "sendmail", "-bz" },
		{ "sendmail", "-Qwhy" },
		{ "sendmail", "-k", "x" },
		{ "sendmail", "-\351", "x" },
		{ "sendmail", "--unknown", "x" },
		{ "sendmail", "-f" },
		{ "sendmail", "-tf" },
		{ "sendmail", "-N", "sometimes", "x" },
		{ "sendmail", "-N", "", "x" },
		{ "sendmail", "-N", "success,", "x" },
		{ "sendmail", "-N", ",success", "x" },
		{ "sendmail", "-Nnever,failure", "x" },
		{ "sendmail", "-R", "some", "x" },
		{ "sendmail", "-V", "a=b", "x" },
		{ "sendmail", "-V", "a+2", "x" },
		{ "sendmail", "-B", "BINARYMIME", "x" },
		{ "sendmail", "x@y", "-t" },
		{ "mailq", "x" },
		{ "newaliases", "x" },
	};
	struct options o = { .verbose = true };
	struct err e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (parse(t[i], &o, &e) == 0)
			fail_msg("row %zu was taken", i);
		assert_int_equal(e.code, EX_USAGE);
		assert_true(strlen(e.text) > 10);
	}
	assert_true(o.verbose); /* untouched by failures */
}

static void test_dsn(void **state)
{
	struct options o;
	struct err e;

	assert_int_equal(parse((const char *const[]) { "sendmail", "-N", "delay, Success", "-Rfull",
				       "-Vid+2B1", "-B", "8bitmime", "x", NULL },
				 &o, &e),
		0);
	assert_string_equal(o.notify, "SUCCESS,DELAY");
	assert_string_equal(o.ret, "FULL");
	assert_string_equal(o.envid, "id+2B1");
	assert_true(o.eightbit);
	assert_int_equal(
		parse((const char *const[]) { "sendmail", "-Nsuccess,failure,delay", "x", NULL },
			&o, &e),
		0);
	assert_string_equal(o.notify, "SUCCESS,FAILURE,DELAY");
	assert_int_equal(
		parse((const char *const[]) { "sendmail", "-NNEVER", "x", NULL }, &o, &e), 0);
	assert_string_equal(o.notify, "NEVER");
}

/* A5: each ceiling. */
static void test_ceilings(void **state)
{
	static char *many[OPTIONS_ARGS_MAX + 2];
	static char longest[OPTIONS_VALUE_MAX + 2];
	char name[] = "sendmail", f[] = "-F", x[] = "x", choice[] = "-qRx";
	struct options o;
	struct err e;

	for (size_t i = 0; i <= OPTIONS_ARGS_MAX; i++)
		many[i] = name;
	assert_int_equal(options_parse(OPTIONS_ARGS_MAX, many, &o, &e), 0);
	assert_int_equal(options_parse(OPTIONS_ARGS_MAX + 1, many, &o, &e), -1);
	assert_int_equal(e.code, EX_USAGE);
	assert_int_equal(options_parse(0, many, &o, &e), -1);
	assert_int_equal(e.code, EX_USAGE);

	memset(longest, 'a', sizeof(longest) - 1);
	assert_int_equal(options_parse(2, (char *[]) { longest, x, NULL }, &o, &e), -1);
	assert_int_equal(e.code, EX_USAGE);
	assert_int_equal(options_parse(4, (char *[]) { name, f, longest, x, NULL }, &o, &e), -1);
	assert_int_equal(e.code, EX_USAGE);
	for (size_t i = 1; i <= OPTIONS_CHOICES_MAX + 1; i++)
		many[i] = choice;
	assert_int_equal(options_parse(OPTIONS_CHOICES_MAX + 1, many, &o, &e), 0);
	assert_int_equal(options_parse(OPTIONS_CHOICES_MAX + 2, many, &o, &e), -1);
	assert_int_equal(e.code, EX_USAGE);
	longest[OPTIONS_NAME_MAX] = '\0';
	assert_int_equal(options_parse(4, (char *[]) { name, f, longest, x, NULL }, &o, &e), 0);
}

static void test_choices(void **state)
{
	static const struct {
		const char *args[6];
		bool chosen; /* message 17, from Root@host.example to a@example.com */
	} t[] = {
		{ { "sendmail", "-q" }, true },
		{ { "sendmail", "-qI17" }, true },
		{ { "sendmail", "-qI0000000017" }, true },
		{ { "sendmail", "-qI7" }, false },
		{ { "sendmail", "-qI170" }, false },
		{ { "sendmail", "-q!I17" }, false },
		{ { "sendmail", "-q!I18" }, true },
		{ { "sendmail", "-qSroot@HOST" }, true },
		{ { "sendmail", "-qShost.example" }, true },
		{ { "sendmail", "-qSRoot@host.example " }, false },
		{ { "sendmail", "-qSexample.com" }, false },
		{ { "sendmail", "-q!Sexample.com" }, true },
		{ { "sendmail", "-qRexample.com" }, true },
		{ { "sendmail", "-qRa@example.com" }, true },
		{ { "sendmail", "-qRb@example.com" }, false },
		{ { "sendmail", "-qRb@", "-qRa@" }, true },
		{ { "sendmail", "-qRa@", "-qSnobody" }, false },
		{ { "sendmail", "-qRa@", "-qSroot", "-qI17" }, true },
		{ { "sendmail", "-qRa@", "-qSroot", "-q!I17" }, false },
	};
	struct options o;
	struct err e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (parse(t[i].args, &o, &e) != 0)
			fail_msg("row %zu: %s", i, e.text);
		if (options_chosen(&o, 17, "Root@host.example", "a@example.com") != t[i].chosen)
			fail_msg("row %zu", i);
	}
	assert_int_equal(parse((const char *const[]) { "sendmail", "-qSx", NULL }, &o, &e), 0);
	assert_false(options_chosen(&o, 17, "", "x@y")); /* the null sender holds nothing */
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	options_help(to);
	fclose(to);
	/* every letter of sendmail 8's, the LSB's and Postfix's own lists */
	for (const char *p = "AbBCDdeFfGhiILMmNnOopqQRrtUVvXx"; *p; p++) {
		char want[8];
		snprintf(want, sizeof(want), "\n  -%c", *p);
		if (!strstr(text, want))
			fail_msg("-%c is missing", *p);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_dsn),
		cmocka_unit_test(test_ceilings),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_help),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
