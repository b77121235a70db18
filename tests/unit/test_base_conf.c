/*
 * The configuration: what is read, what is refused and in which words, and that a dump reads back.
 */
#include "base/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/test_base_conf.XXXXXX";

static void put(const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int mail(const char *text, struct conf_mail *c, struct err *e)
{
	put(text, strlen(text));
	return conf_mail_read(path, c, e);
}

static void mail_defaults(void **state)
{
	struct conf_mail c;
	struct err e = { 0 };

	if (mail("", &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(c.queue, CENMAIL_SPOOLDIR "/queue.db");
	assert_int_equal(c.relay.n, 0);
	assert_string_not_equal(c.hostname, "");
	assert_string_equal(c.domain, "");
	assert_string_equal(c.aliases, "/etc/aliases");
	assert_int_equal(c.message_size, 41943040);
	assert_int_equal(c.recipients_max, 1000);
	assert_int_equal(c.retry_min, 60000);
	assert_int_equal(c.retry_max, 3600000);
	assert_int_equal(c.lifetime, 432000000);
	assert_int_equal(c.lifetime_max, 0);
	assert_int_equal(c.operator_reply.n, 0);
	assert_int_equal(c.bounce_lifetime, 86400000);
	assert_int_equal(c.warn_after, 14400000);
	assert_int_equal(c.linger, 60000);
	assert_int_equal(c.window, 1000);
	assert_int_equal(c.window_bytes, 16777216);
	assert_int_equal(c.connections, 1);
	assert_int_equal(c.rate, 0);
	assert_int_equal(c.keep_sent, 0);
	assert_int_equal(c.keep_failed, 2592000000);
	assert_int_equal(c.keep_history, 7776000000);
	assert_int_equal(c.lock_wait, 5000);
	assert_int_equal(c.log, LOG_TO_SYSLOG);
	conf_mail_done(&c);
	conf_mail_done(&c);
	conf_mail_done(NULL);
}

#define HEX "0011223344556677889900112233445566778899001122334455667788990011"

static const char full_mail[] =
	"# a comment\n"
	"\t # another, \xE6\x97\xA5\n"
	"\r\n"
	"queue /q/queue.db\r\n"
	"relay lmtps://10.20.8.37:3535 pin=sha256:" HEX " secret=/etc/s # is no comment\n"
	"relay   smtp://b\t\n"
	"route *@qq.com smtps://c ca=/x\n"
	"hostname sh.example\n"
	"rewrite_sender *@local \"a b\"@example.com\n"
	"rewrite_reply_to yes\n"
	"header X-A  some value # too\n"
	"warn_after 0\n"
	"operator_reply 550 account is  frozen\n"
	"message_size 1K\n"
	"rate 30/m\n"
	"notify /usr/bin/wall  cenmail\n"
	"log stderr"; /* no newline */

static void mail_values(void **state)
{
	struct conf_mail c;
	struct err e = { 0 };
	char text[sizeof full_mail];

	/* '#' elsewhere is part of the value, and a relay has no option of that name */
	assert_int_equal(mail(full_mail, &c, &e), -1);
	assert_non_null(strstr(e.text, ":5: relay: "));

	memcpy(text, full_mail, sizeof text);
	char *hash = strstr(text, " # is no comment");
	memset(hash, ' ', strlen(" # is no comment"));
	if (mail(text, &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(c.queue, "/q/queue.db");
	assert_int_equal(c.relay.n, 2);
	assert_string_equal(c.relay.v[0].first, "lmtps://10.20.8.37:3535");
	assert_string_equal(c.relay.v[0].rest, "pin=sha256:" HEX " secret=/etc/s");
	assert_string_equal(c.relay.v[1].first, "smtp://b");
	assert_string_equal(c.relay.v[1].rest, "");
	assert_string_equal(c.route.v[0].first, "*@qq.com");
	assert_string_equal(c.route.v[0].rest, "smtps://c ca=/x");
	assert_string_equal(c.rewrite_sender.v[0].rest, "\"a b\"@example.com");
	assert_int_equal(c.rewrite_reply_to, CONF_YES);
	assert_string_equal(c.header.v[0].first, "X-A");
	assert_string_equal(c.header.v[0].rest, "some value # too");
	assert_int_equal(c.warn_after, 0);
	assert_string_equal(c.operator_reply.v[0].first, "550");
	assert_string_equal(c.operator_reply.v[0].rest, "account is  frozen");
	assert_int_equal(c.message_size, 1024);
	assert_int_equal(c.rate, 500);
	assert_string_equal(c.notify, "/usr/bin/wall  cenmail");
	assert_int_equal(c.log, LOG_TO_STDERR);
	conf_mail_done(&c);
}

static void mail_refused(void **state)
{
	static const struct {
		const char *text, *words; /* words: after the file's name */
	} t[] = {
		{ "relai smtp://a\n", ":1: unknown key \"relai\"; did you mean \"relay\"?" },
		{ "\n\nRelay smtp://a\n", ":3: unknown key \"Relay\"; did you mean \"relay\"?" },
		{ "messgae_size 1M\n", "did you mean \"message_size\"?" },
		{ "frobnicate 1\n", ":1: unknown key \"frobnicate\"" },
		{ "x 1\n", ":1: unknown key \"x\"" },
		{ "queue=/q\n", ":1: unknown key \"queue=/q\"" },
		{ "queue /a\n\nqueue /b\n", ":3: \"queue\" is there already, in line 1" },
		{ "queue\n", ":1: \"queue\" needs a value: the database" },
		{ "queue  \t\n", "needs a value" },
		{ "queue q.db\n", ":1: queue: \"q.db\" is not an absolute path" },
		{ "relay a\n", ":1: relay: relay \"a\" does not begin" },
		{ "relay smtp://a secret=/x\n", "password" },
		{ "route *@qq.com\n", "needs a relay" },
		{ "route *@qq.com qq\n", ":1: route: relay \"qq\" does not begin" },
		{ "hostname a b\n", "not a domain name" },
		{ "hostname [1.2.3.4]\n", "not a domain name" },
		{ "postmaster root\n", ":1: postmaster: address <root>: has no @domain" },
		{ "bounce_sender <a@b>\n", "bounce_sender: address" },
		{ "rewrite_sender *@a\n", "needs an address" },
		{ "rewrite_sender *@a b@c d\n", "rewrite_sender: address" },
		{ "rewrite_reply_to maybe\n", "none of: no yes" },
		{ "header X:\n", "not the name" },
		{ "header X-A\n", "needs a value" },
		{ "header X\xC3\xA9 v\n", "not the name" },
		{ "header X-A v\xC3\xA9\n", "not ASCII" },
		{ "header X-A a\x01\n", ":1: a control character (octet 1)" },
		{ "header X-A a\rb\n", ":1: a control character (octet 13)" },
		{ "queue /a\x7f\n", "octet 127" },
		{ "message_size 40\n", "message_size: \"40\" is out of range, 1K to 900M" },
		{ "message_size 901M\n", "out of range" },
		{ "message_size 40MB\n", "is not a size like" },
		{ "message_size -1\n", "is not a size like" },
		{ "recipients_max 0\n", "out of range, 1 to 100000" },
		{ "recipients_max 1x\n", "is not a number" },
		{ "retry_min 60\n", "is not a duration like 30s" },
		{ "retry_min 0\n", "out of range, 1s to 1d" },
		{ "linger 2d\n", "out of range, 0 to 1d" },
		{ "keep_sent 99999999999999999999d\n", "is not a duration" },
		{ "log file\n", "log: \"file\" is none of: syslog stderr" },
		{ "lifetime 21d\nlifetime_max 20d\n", ": lifetime_max is shorter than lifetime" },
		{ "operator_reply 250 all is well\n", "\"250\" is not a code from 400 to 599" },
		{ "operator_reply account frozen\n", "\"account\" is not a code" },
		{ "operator_reply 550 frozen\n", "needs two words" },
		{ "retry_min 2h\n", ": retry_min is longer than retry_max" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct conf_mail c;
		struct err e = { 0 };
		if (mail(t[i].text, &c, &e) != -1)
			fail_msg("taken: %s", t[i].text);
		if (e.code != EX_CONFIG || strncmp(e.text, path, strlen(path)) != 0 ||
			!strstr(e.text, t[i].words))
			fail_msg("%s -> %s", t[i].text, e.text);
		assert_null(c.queue);
	}
}

static void files_that_are_none(void **state)
{
	struct conf_mail c;
	struct conf_listen l;
	struct err e = { 0 };

	put("queue /a\0b\n", 11);
	assert_int_equal(conf_mail_read(path, &c, &e), -1);
	assert_non_null(strstr(e.text, "control character (octet 0)"));
	assert_int_equal(conf_mail_read("/nonexistent/cenmail.conf", &c, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);
	assert_non_null(strstr(e.text, "/nonexistent/cenmail.conf"));
	assert_non_null(strstr(e.text, "cenmail.conf(5)"));
	assert_int_equal(conf_listen_read("/nonexistent/listen.conf", &l, NULL), -1);
	assert_int_equal(conf_mail_read("/tmp", &c, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);

	char *big = malloc((1 << 20) + 2);
	assert_non_null(big);
	memset(big, '#', (1 << 20) + 1);
	put(big, 1 << 20);
	assert_int_equal(conf_mail_read(path, &c, &e), 0);
	conf_mail_done(&c);
	put(big, (1 << 20) + 1);
	assert_int_equal(conf_mail_read(path, &c, &e), -1);
	assert_non_null(strstr(e.text, "1 MiB"));
	free(big);
}

static void too_many_relays(void **state)
{
	char text[20 * CONF_RELAYS + 40] = "";
	struct conf_mail c;
	struct err e = { 0 };
	size_t n = 0;

	for (int i = 0; i < CONF_RELAYS; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "relay smtp://h%d\n", i);
	assert_int_equal(mail(text, &c, &e), 0);
	assert_int_equal(c.relay.n, CONF_RELAYS);
	conf_mail_done(&c);
	snprintf(text + n, sizeof text - n, "relay smtp://more\n");
	assert_int_equal(mail(text, &c, &e), -1);
	assert_non_null(strstr(e.text, ":9: relay: more than 8"));
}

static char *dump_mail(const struct conf_mail *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	conf_mail_dump(c, f);
	fclose(f);
	return text;
}

static void mail_dump_reads_back(void **state)
{
	struct conf_mail c;
	struct err e;
	char text[sizeof full_mail];

	memcpy(text, full_mail, sizeof text);
	memset(strstr(text, " # is no comment"), ' ', strlen(" # is no comment"));
	assert_int_equal(mail(text, &c, &e), 0);
	char *once = dump_mail(&c);
	conf_mail_done(&c);
	assert_non_null(strstr(once, "\nrelay smtp://b\n"));
	assert_non_null(strstr(once, "\nheader X-A some value # too\n"));
	assert_non_null(strstr(once, "\nlifetime 5d\n"));
	assert_non_null(strstr(once, "\nwarn_after 0\n"));
	assert_non_null(strstr(once, "\nmessage_size 1K\n"));
	assert_non_null(strstr(once, "\n#postmaster\n"));
	assert_int_equal(mail(once, &c, &e), 0);
	char *twice = dump_mail(&c);
	conf_mail_done(&c);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
}

static int listen_conf(const char *text, struct conf_listen *c, struct err *e)
{
	put(text, strlen(text));
	return conf_listen_read(path, c, e);
}

#define PLAIN "listen 127.0.0.1:0 plain\nupstream smtp://127.0.0.1:2525\n"

static void listen_defaults(void **state)
{
	struct conf_listen c;
	struct err e = { 0 };

	if (listen_conf(PLAIN, &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(c.listen.v[0].first, "127.0.0.1:0");
	assert_string_equal(c.listen.v[0].rest, "plain");
	assert_string_equal(c.upstream, "smtp://127.0.0.1:2525");
	assert_int_equal(c.upstream_connections, 10);
	assert_int_equal(c.rate, 14000);
	assert_int_equal(c.quota, 0);
	assert_int_equal(c.in_doubt, IN_DOUBT_RESEND);
	assert_int_equal(c.allow.n, 0);
	assert_string_equal(c.journal, CENMAIL_STATEDIR "/journal.db");
	assert_int_equal(c.keep_journal, 2592000000);
	assert_int_equal(c.message_size, 41943040);
	assert_int_equal(c.sessions_max, 200);
	assert_string_not_equal(c.hostname, "");
	assert_int_equal(c.log, LOG_TO_SYSLOG);
	conf_listen_done(&c);
	conf_listen_done(NULL);
}

static void listen_values(void **state)
{
	struct conf_listen c;
	struct err e = { 0 };
	char *text = NULL;
	size_t n = 0;

	if (listen_conf("listen [::1]:3535 tls\nlisten a.example:25  starttls\n"
			"certificate /c\nkey /k\nallow 172.16.0.0/12\nallow ::1\n"
			"clients /etc/clients\nin_doubt hold\nrate 0.25/s\nallow_header X-SES-*\n"
			"upstream smtp+starttls://s.example secret=/etc/ses.secret\n",
		    &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(c.listen.n, 2);
	assert_string_equal(c.listen.v[1].rest, "starttls");
	assert_int_equal(c.allow.n, 2);
	assert_int_equal(c.in_doubt, IN_DOUBT_HOLD);
	assert_int_equal(c.rate, 250);
	assert_string_equal(c.upstream, "smtp+starttls://s.example secret=/etc/ses.secret");
	FILE *f = open_memstream(&text, &n);
	conf_listen_dump(&c, f);
	fclose(f);
	conf_listen_done(&c);
	assert_non_null(strstr(text, "\nrate 0.250/s\n"));
	assert_non_null(strstr(text, "\nlisten a.example:25 starttls\n"));
	assert_int_equal(listen_conf(text, &c, &e), 0);
	assert_int_equal(c.rate, 250);
	conf_listen_done(&c);
	free(text);

	assert_int_equal(listen_conf(PLAIN "rate 0\n", &c, &e), 0);
	assert_int_equal(c.rate, 0);
	conf_listen_done(&c);
}

static void listen_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} t[] = {
		{ "", "add where flushers connect" },
		{ "listen 127.0.0.1:1 plain\n", "no \"upstream\"; add" },
		{ "listen h:1 tls\nupstream smtp://a\n", "no \"certificate\"" },
		{ "listen h:1 plain\nlisten h:2 starttls\nupstream smtp://a\ncertificate /c\n",
			"no \"key\"" },
		{ PLAIN "listen 127.0.0.1:1\n", ":3: listen: \"127.0.0.1:1\" needs one word" },
		{ PLAIN "listen 127.0.0.1:1 tls plain\n", "needs one word" },
		{ PLAIN "listen 127.0.0.1 plain\n", "port" },
		{ PLAIN "listen ::1:25 plain\n", "brackets" },
		{ PLAIN "listen *:25 plain\n", "host" },
		{ PLAIN "allow 10.0.0.1/8\n", "beyond its prefix" },
		{ PLAIN "allow any\n", "address range" },
		{ PLAIN "upstream smtp://b\n", "already, in line 2" },
		{ PLAIN "rate 14\n", "is not a rate" },
		{ "listen [::1]:1 plain\nupstream smtp://h rate=1/s\n", "set the key \"rate\"" },
		{ "listen [::1]:1 plain\nupstream smtp://h connections=2\n",
			"set the key \"upstream_connections\"" },
		{ PLAIN "rate /s\n", "is not a rate" },
		{ PLAIN "rate .5/s\n", "is not a rate" },
		{ PLAIN "rate 1./s\n", "is not a rate" },
		{ PLAIN "rate 1.0001/s\n", "is not a rate" },
		{ PLAIN "rate 9999999/s\n", "out of range" },
		{ PLAIN "in_doubt maybe\n", "none of: resend hold" },
		{ PLAIN "allow_header a b\n", "not the name" },
		{ PLAIN "upstream_connection 3\n", "did you mean \"upstream_connections\"?" },
		{ PLAIN "sessions_max 0\n", "out of range" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct conf_listen c;
		struct err e = { 0 };
		if (listen_conf(t[i].text, &c, &e) != -1)
			fail_msg("taken: %s", t[i].text);
		if (e.code != EX_CONFIG || strncmp(e.text, path, strlen(path)) != 0 ||
			!strstr(e.text, t[i].words))
			fail_msg("%s -> %s", t[i].text, e.text);
		assert_null(c.journal);
	}
}

/* Too few descriptors: the caller is to try again; the configuration is not to blame. */
static void want_of_descriptors(void **state)
{
	struct conf_mail c;
	struct err e = { 0 };
	struct rlimit had, none;

	put("log stderr\n", 11);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	none = had;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int r = conf_mail_read(path, &c, &e);
	setrlimit(RLIMIT_NOFILE, &had);
	assert_int_equal(r, -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(want_of_descriptors),
		cmocka_unit_test(mail_defaults),
		cmocka_unit_test(mail_values),
		cmocka_unit_test(mail_refused),
		cmocka_unit_test(files_that_are_none),
		cmocka_unit_test(too_many_relays),
		cmocka_unit_test(mail_dump_reads_back),
		cmocka_unit_test(listen_defaults),
		cmocka_unit_test(listen_values),
		cmocka_unit_test(listen_refused),
	};
	int fd = mkstemp(path);
	if (fd < 0)
		return 99;
	close(fd);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
