/*
 * sasl: both sides against each other, and the server against what a client may send. The
 * plug-ins' absence is tried in a mount namespace, before the library starts.
 */
#include "base/base64.h"
#include "wire/sasl.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool verify(void *arg, const char *name, struct span password)
{
	int *asked = arg;

	if (asked)
		(*asked)++;
	return strcmp(name, "shanghai") == 0 && span_eq(password, span_of("s3cret word"));
}

static enum sasl_checked check(const char *p, size_t n, char name[64])
{
	struct err e = { 0 };
	enum sasl_checked r = sasl_check_plain(span_make(p, n), verify, NULL, name, 64, &e);

	if (r == SASL_BROKEN)
		fail_msg("%s", e.text);
	return r;
}

static void plain_against_each_other(void **state)
{
	struct buf out, plain;
	struct err e = { 0 };
	char name[64] = "";

	buf_init(&out, 4096);
	buf_init(&plain, 4096);
	struct sasl_login *s =
		sasl_login_new("PLAIN", "mail.example", "shanghai", "s3cret word", &e);
	assert_non_null(s);
	if (sasl_login_first(s, &out, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(base64_decode(buf_span(&out), &plain), 0);
	static const char expected[] = "\0shanghai\0s3cret word";
	assert_true(span_eq(buf_span(&plain), span_make(expected, sizeof expected - 1)));
	assert_int_equal(check(plain.data, plain.len, name), SASL_GOOD);
	assert_string_equal(name, "shanghai");
	/* All has been said: a challenge now is a fault. */
	buf_clear(&out);
	assert_int_equal(sasl_login_step(s, span_of(""), &out, &e), -1);
	sasl_login_free(s);
	buf_done(&out);
	buf_done(&plain);
}

static void login_by_challenges(void **state)
{
	struct buf out;
	struct err e = { 0 };

	buf_init(&out, 4096);
	struct sasl_login *s = sasl_login_new("LOGIN", "mail.example", "AKIA", "pw", &e);
	assert_non_null(s);
	if (sasl_login_first(s, &out, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(out.len, 0);
	assert_int_equal(sasl_login_step(s, span_of("VXNlcm5hbWU6"), &out, &e), 0);
	assert_string_equal(buf_str(&out), "QUtJQQ==");
	buf_clear(&out);
	assert_int_equal(sasl_login_step(s, span_of("UGFzc3dvcmQ6"), &out, &e), 0);
	assert_string_equal(buf_str(&out), "cHc=");
	buf_clear(&out);
	assert_int_equal(sasl_login_step(s, span_of("VXNlcm5hbWU6"), &out, &e), -1);
	assert_int_equal(out.len, 0);
	sasl_login_free(s);
	buf_done(&out);
}

static void bad_challenges(void **state)
{
	static const char *const bad[] = { "Ok", "VXNlcm5hbWU", "VXNl cm5h", "*" };
	struct buf out;

	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = { 0 };
		struct sasl_login *s = sasl_login_new("LOGIN", "h.example", "u", "p", &e);
		assert_non_null(s);
		assert_int_equal(sasl_login_first(s, &out, &e), 0);
		if (sasl_login_step(s, span_of(bad[i]), &out, &e) != -1)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(e.code, EX_PROTOCOL);
		assert_int_equal(out.len, 0);
		sasl_login_free(s);
	}
	char *big = malloc(1 << 20);
	assert_non_null(big);
	memset(big, 'A', 1 << 20);
	struct sasl_login *s = sasl_login_new("LOGIN", "h.example", "u", "p", NULL);
	assert_int_equal(sasl_login_first(s, &out, NULL), 0);
	assert_int_equal(sasl_login_step(s, span_make(big, 1 << 20), &out, NULL), -1);
	sasl_login_free(s);
	free(big);
	buf_done(&out);
}

static void names_refused(void **state)
{
	char longest[257];
	struct err e = { 0 };

	memset(longest, 'a', 256);
	longest[256] = '\0';
	assert_null(sasl_login_new("PLAIN", "h.example", longest, "p", &e));
	assert_int_equal(e.code, EX_CONFIG);
	assert_null(sasl_login_new("PLAIN", "h.example", "u", longest, NULL));
	assert_null(sasl_login_new("PLAIN", "h.example", "", "p", NULL));
	assert_null(sasl_login_new("PLAIN", "h.example", "u", "", NULL));
	sasl_login_free(NULL);
}

#define CASE(text, result)                                                                         \
	{                                                                                          \
		text, sizeof text - 1, result                                                      \
	}
static void responses(void **state)
{
	static const struct {
		const char *p;
		size_t n;
		enum sasl_checked result;
	} t[] = {
		CASE("\0shanghai\0s3cret word", SASL_GOOD),
		CASE("shanghai\0shanghai\0s3cret word", SASL_GOOD),
		CASE("tokyo\0shanghai\0s3cret word", SASL_WRONG),
		CASE("\0shanghai\0s3cret wor", SASL_WRONG),
		CASE("\0shanghai\0s3cret word ", SASL_WRONG),
		CASE("\0SHANGHAI\0s3cret word", SASL_WRONG),
		CASE("\0nobody\0s3cret word", SASL_WRONG),
		CASE("\0shanghai@localhost\0s3cret word", SASL_WRONG),
		CASE("", SASL_MALFORMED),
		CASE("\0", SASL_MALFORMED),
		CASE("\0\0", SASL_MALFORMED),
		CASE("\0\0s3cret word", SASL_MALFORMED),
		CASE("\0shanghai\0", SASL_MALFORMED),
		CASE("\0shanghai", SASL_MALFORMED),
		CASE("shanghai s3cret word", SASL_MALFORMED),
		CASE("\0shanghai\0s3cret word\0", SASL_MALFORMED),
		CASE("\0shanghai\0s3cret word\0x", SASL_MALFORMED),
		CASE("\0\0shanghai\0s3cret word", SASL_MALFORMED),
		CASE("*", SASL_MALFORMED),
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char name[64] = "untouched";
		enum sasl_checked r = check(t[i].p, t[i].n, name);
		if (r != t[i].result)
			fail_msg("case %zu: %d", i, (int)r);
		assert_string_equal(name, r == SASL_GOOD ? "shanghai" : "untouched");
	}
}

static void responses_too_long(void **state)
{
	char *big = calloc(1, 1 << 20), name[64] = "untouched";

	assert_non_null(big);
	memset(big + 1, 'a', (1 << 20) - 1);
	assert_int_equal(check(big, 1 << 20, name), SASL_MALFORMED);
	big[9] = '\0';
	assert_int_equal(check(big, 1 << 20, name), SASL_MALFORMED);
	free(big);

	static const char good[] = "\0shanghai\0s3cret word";
	char small[8];
	assert_int_equal(sasl_check_plain(span_make(good, sizeof good - 1), verify, NULL, small,
				 sizeof small, NULL),
		SASL_WRONG);
}

/* No answer is taken from anywhere but the verifier, and it is asked once. */
static void the_verifier_decides(void **state)
{
	static const char good[] = "\0shanghai\0s3cret word", other[] = "\0tokyo\0s3cret word";
	int asked = 0;
	char name[64];

	assert_int_equal(sasl_check_plain(span_make(other, sizeof other - 1), verify, &asked, name,
				 sizeof name, NULL),
		SASL_WRONG);
	assert_int_equal(asked, 1);
	assert_int_equal(sasl_check_plain(span_make(good, sizeof good - 1), verify, &asked, name,
				 sizeof name, NULL),
		SASL_GOOD);
	assert_int_equal(asked, 2);
}

static void *exchange(void *arg)
{
	bool wrong = ((uintptr_t)arg & 1) != 0, ok = false;
	struct buf out, plain;
	char name[64];

	buf_init(&out, 4096);
	buf_init(&plain, 4096);
	struct sasl_login *s = sasl_login_new(
		"PLAIN", "h.example", "shanghai", wrong ? "guess" : "s3cret word", NULL);
	if (s && sasl_login_first(s, &out, NULL) == 0 && base64_decode(buf_span(&out), &plain) == 0)
		ok = sasl_check_plain(buf_span(&plain), verify, NULL, name, sizeof name, NULL) ==
		     (wrong ? SASL_WRONG : SASL_GOOD);
	sasl_login_free(s);
	buf_done(&out);
	buf_done(&plain);
	return ok ? arg : NULL;
}

static void a_hundred_at_once(void **state)
{
	pthread_t t[100];

	for (uintptr_t i = 0; i < 100; i++)
		assert_int_equal(pthread_create(&t[i], NULL, exchange, (void *)(i + 2)), 0);
	for (uintptr_t i = 0; i < 100; i++) {
		void *r = NULL;
		assert_int_equal(pthread_join(t[i], &r), 0);
		assert_ptr_equal(r, (void *)(i + 2));
	}
}

/* An empty directory over each place where plug-ins may be. */
static int hide(const char *dir)
{
	DIR *d = opendir(dir);
	if (!d)
		return 0;
	closedir(d);
	return mount("none", dir, "tmpfs", 0, NULL);
}

static int without_plugins(void)
{
	static const char *const dirs[] = { "/usr/lib/sasl2", "/usr/lib64/sasl2",
		"/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/aarch64-linux-gnu/sasl2" };
	struct err client = { 0 }, server = { 0 };
	struct buf out;
	char name[64];

	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return 77;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		if (hide(dirs[i]) < 0)
			return 77;
	buf_init(&out, 4096);
	/* The environment must not bring others in. */
	setenv("SASL_PATH", "/proc/1/root/usr/lib/x86_64-linux-gnu/sasl2", 1);
	if (sasl_start(true, true, NULL) < 0 || secure_getenv("SASL_PATH"))
		return 1;
	struct sasl_login *s = sasl_login_new("PLAIN", "h.example", "u", "p", &client);
	if (!s || sasl_login_first(s, &out, &client) != -1 || client.code != EX_CONFIG ||
		!strstr(client.text, "libsasl2-modules") ||
		!strstr(client.text, "cyrus-sasl-plain"))
		return 2;
	sasl_login_free(s);
	if (sasl_check_plain(span_make("\0a\0b", 4), verify, NULL, name, sizeof name, &server) !=
			SASL_BROKEN ||
		server.code != EX_CONFIG || !strstr(server.text, "libsasl2-modules"))
		return 3;
	return 0;
}

static int plugins_missing_status; /* from before sasl_start */

static void plugins_missing(void **state)
{
	if (plugins_missing_status == 77)
		skip(); /* no mount namespaces here */
	assert_int_equal(plugins_missing_status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_against_each_other),
		cmocka_unit_test(login_by_challenges),
		cmocka_unit_test(bad_challenges),
		cmocka_unit_test(names_refused),
		cmocka_unit_test(responses),
		cmocka_unit_test(responses_too_long),
		cmocka_unit_test(the_verifier_decides),
		cmocka_unit_test(a_hundred_at_once),
		cmocka_unit_test(plugins_missing),
	};
	struct err e;
	int status = 0;

	pid_t child = fork();
	if (child == 0)
		_exit(without_plugins());
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	plugins_missing_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (sasl_start(true, true, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
