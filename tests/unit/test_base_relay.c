/*
 * Relay URLs and secret files.
 */
#include "base/relay.h"
#include "base/ses_password.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEX32 "00112233445566778899aabbccddeeff"
#define PIN   "sha256:" HEX32 HEX32

static void urls(void **state)
{
	static const struct {
		const char *in, *text;
		bool lmtp;
		enum relay_tls tls;
	} t[] = {
		{ "lmtps://10.20.8.37:3535", "lmtps://10.20.8.37:3535", true, RELAY_TLS_WRAPPED },
		{ "LMTPS://10.20.8.37", "lmtps://10.20.8.37:3535", true, RELAY_TLS_WRAPPED },
		{ "lmtp://h", "lmtp://h:3535", true, RELAY_TLS_MAY },
		{ "lmtp+starttls://h", "lmtp+starttls://h:3535", true, RELAY_TLS_STARTTLS },
		{ "smtps://h", "smtps://h:465", false, RELAY_TLS_WRAPPED },
		{ "smtp://h", "smtp://h:25", false, RELAY_TLS_MAY },
		{ "  smtp+starttls://email-smtp.ap-northeast-1.amazonaws.com:0587  ",
			"smtp+starttls://email-smtp.ap-northeast-1.amazonaws.com:587", false,
			RELAY_TLS_STARTTLS },
		{ "smtp://[2001:db8::1]:2525", "smtp://[2001:db8::1]:2525", false, RELAY_TLS_MAY },
		{ "smtp://[::1]", "smtp://[::1]:25", false, RELAY_TLS_MAY },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct relay r;
		struct err e = { 0 };
		if (relay_parse(span_of(t[i].in), &r, &e) != 0)
			fail_msg("%s: %s", t[i].in, e.text);
		assert_string_equal(r.text, t[i].text);
		assert_int_equal(r.lmtp, t[i].lmtp);
		assert_int_equal(r.tls, t[i].tls);
	}
	struct relay v6;
	assert_int_equal(relay_parse(span_of("smtp://[2001:db8::1]:2525"), &v6, NULL), 0);
	assert_string_equal(v6.host, "2001:db8::1");
	assert_string_equal(v6.port, "2525");
}

static void refused(void **state)
{
	static const struct {
		const char *in, *words;
	} t[] = {
		{ "", "begin" },
		{ "10.20.8.37:3535", "begin" },
		{ "http://h", "begin" },
		{ "smtps:/h", "begin" },
		{ "smtps://", "host" },
		{ "smtps://:465", "host" },
		{ "smtps://h_:x", "port" },
		{ "smtps://h:", "port" },
		{ "smtps://h:0", "port" },
		{ "smtps://h:65536", "port" },
		{ "smtps://h:+1", "port" },
		{ "smtps://h/path", "host" },
		{ "smtps://u@h", "host" },
		{ "smtps://a..b", "host" },
		{ "smtps://[::1", "host" },
		{ "smtps://[1.2.3.4]", "host" },
		{ "smtps://::1", "host" },
		{ "smtps://1.2.3", "host" },
		{ "smtps://1.2.3.400", "host" },
		{ "smtps://h pin=", "pin" },
		{ "smtps://h pin=md5:00", "pin" },
		{ "smtps://h pin=sha256:00", "pin" },
		{ "smtps://h pin=" PIN ",", "pin" },
		{ "smtps://h pin=" PIN "," PIN "," PIN "," PIN "," PIN, "more than 4" },
		{ "smtps://h pin=" PIN " ca=/x", "not both" },
		{ "smtps://h ca=x", "absolute" },
		{ "smtps://h ca=/x ca=/y", "twice" },
		{ "smtps://h secret=", "absolute" },
		{ "smtps://h sekret=/x", "none of" },
		{ "smtps://h rate=", "like 14/s" },
		{ "smtps://h rate=14", "like 14/s" },
		{ "smtps://h rate=14/h", "like 14/s" },
		{ "smtps://h rate=-1/s", "like 14/s" },
		{ "smtps://h rate=4000000000/s", "like 14/s" },
		{ "smtps://h rate=1/s rate=1/s", "twice" },
		{ "smtps://h connections=0", "1 to 100" },
		{ "smtps://h connections=101", "1 to 100" },
		{ "smtps://h connections=2 connections=2", "twice" },
		{ "smtp://h pin=" PIN, "verifies" },
		{ "lmtp://h secret=/x", "password" },
		{ "smtps://h\x01", "printable" },
		{ "smtps://h\n", "printable" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct relay r;
		struct err e = { 0 };
		if (relay_parse(span_of(t[i].in), &r, &e) != -1 || e.code != EX_CONFIG ||
			!strstr(e.text, t[i].words))
			fail_msg("%s: %s", t[i].in, e.text);
	}
}

static void options(void **state)
{
	struct relay r;
	struct err e;

	assert_int_equal(relay_parse(span_of("lmtps://h pin=" PIN ",SHA256:" HEX32 HEX32
					     " \t secret=/etc/cenmail/relay.secret"),
				 &r, &e),
		0);
	assert_int_equal(r.pins, 2);
	assert_int_equal(r.pin[1][31], 0xff);
	assert_int_equal(r.pin[0][1], 0x11);
	assert_string_equal(r.secret, "/etc/cenmail/relay.secret");
	assert_string_equal(r.ca, "");
	assert_false(r.has_rate);
	assert_int_equal(r.connections, 0);
}

static void paces(void **state)
{
	static const struct {
		const char *in;
		uint64_t rate; /* a second, times 1000 */
	} t[] = {
		{ "rate=14/s", 14000 },
		{ "rate=0.5/s", 500 },
		{ "rate=30/m", 500 },
		{ "rate=100/m", 1666 },
		{ "rate=0.001/m", 1 }, /* slow, but never without a limit */
		{ "rate=0/m", 0 },
		{ "rate=0", 0 },
		{ "connections=7 rate=1.25/s", 1250 },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char text[100];
		struct relay r;
		struct err e = { 0 };
		snprintf(text, sizeof text, "smtps://h %s", t[i].in);
		if (relay_parse(span_of(text), &r, &e) != 0)
			fail_msg("%s: %s", t[i].in, e.text);
		assert_true(r.has_rate);
		assert_int_equal(r.rate, t[i].rate);
		assert_int_equal(r.connections, t[i].in[0] == 'c' ? 7 : 0);
	}
}

static char path[] = "/tmp/test_base_relay.XXXXXX";

static void put(const char *text, size_t n, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void secrets(void **state)
{
	static const struct {
		const char *text;
		const char *user, *password; /* NULL: refused */
	} t[] = {
		{ "u:p\n", "u", "p" },
		{ "u:p", "u", "p" },
		{ "u:p:q \r\n", "u", "p:q " },
		{ "u:\xC3\xA9\n", "u", "\xC3\xA9" },
		{ "", NULL, NULL },
		{ "\n", NULL, NULL },
		{ "u\n", NULL, NULL },
		{ "u:\n", NULL, NULL },
		{ ":p\n", NULL, NULL },
		{ "u:p\nv:q\n", NULL, NULL },
		{ "u:p\n\n", NULL, NULL },
		{ "u:a\tb\n", NULL, NULL },
		/* an IAM key; AWS's published vectors are in the next test */
		{ "iam eu-central-1 AKIA1:some+secret+key\n", "AKIA1",
			"BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2" },
		{ "iam:p\n", "iam", "p" },
		{ "iam eu-central-1 AKIA1:\n", NULL, NULL },
		{ "iam eu-central-1 :some+secret+key\n", NULL, NULL },
		{ "iam eu-central-1 AKIA1:two words\n", NULL, NULL },
	};
	struct relay r = { 0 };
	struct err e;

	assert_int_equal(relay_read_secret(&r, &e), 0); /* none to read */
	snprintf(r.secret, sizeof r.secret, "%s", path);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		put(t[i].text, strlen(t[i].text), 0600);
		assert_int_equal(relay_read_secret(&r, &e), t[i].user ? 0 : -1);
		assert_string_equal(r.user, t[i].user ? t[i].user : "");
		assert_string_equal(r.password, t[i].user ? t[i].password : "");
		relay_done(&r);
		assert_string_equal(r.password, "");
	}
	put("u:p\0q", 5, 0600);
	assert_int_equal(relay_read_secret(&r, &e), -1);
	char big[600];
	memset(big, 'x', sizeof big);
	big[1] = ':';
	put(big, 2 + 255, 0640);
	assert_int_equal(relay_read_secret(&r, &e), 0);
	put(big, 2 + 256, 0600);
	assert_int_equal(relay_read_secret(&r, &e), -1);
	put(big, sizeof big, 0600);
	assert_int_equal(relay_read_secret(&r, &e), -1);
}

static void passwords_of_ses(void **state)
{
	static const struct {
		const char *region, *secret, *password;
	} t[] = {
		{ "eu-central-1", "some+secret+key",
			"BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2" },
		{ "eu-central-1", "another+secret+key",
			"BBbphbrQmrKMx42d1N6+C7VINYEBGI5v9VsZeTxwskfh" },
		{ "us-west-1", "some+secret+key", "BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj" },
		{ "us-west-1", "another+secret+key",
			"BKVmjjMDFk/qqw8EROW99bjCS65PF8WKvK5bSr4Y6EqF" },
	};
	char out[SES_PASSWORD_SIZE], big[200];
	struct err e;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		assert_int_equal(
			ses_password(span_of(t[i].region), span_of(t[i].secret), out, &e), 0);
		assert_string_equal(out, t[i].password);
	}
	memset(big, 'x', sizeof big);
	assert_int_equal(ses_password(span_of("r"), span_make(big, sizeof big), out, &e), -1);
	assert_int_equal(ses_password(span_of("r"), span_of(""), out, &e), -1);
	assert_int_equal(ses_password(span_of(""), span_of("s"), out, &e), -1);
}

static void secret_files_that_are_open_to_others(void **state)
{
	struct relay r = { 0 };
	struct err e;

	snprintf(r.secret, sizeof r.secret, "%s", path);
	put("u:p\n", 4, 0604);
	assert_int_equal(relay_read_secret(&r, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	assert_non_null(strstr(e.text, "chmod 600"));
	put("u:p\n", 4, 0602);
	assert_int_equal(relay_read_secret(&r, &e), -1);
	snprintf(r.secret, sizeof r.secret, "/tmp");
	assert_int_equal(relay_read_secret(&r, &e), -1);
	assert_non_null(strstr(e.text, "regular"));
	snprintf(r.secret, sizeof r.secret, "/nonexistent/x");
	assert_int_equal(relay_read_secret(&r, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	relay_done(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(refused),
		cmocka_unit_test(options),
		cmocka_unit_test(paces),
		cmocka_unit_test(secrets),
		cmocka_unit_test(passwords_of_ses),
		cmocka_unit_test(secret_files_that_are_open_to_others),
	};
	int fd = mkstemp(path);
	if (fd < 0)
		return 99;
	close(fd);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
