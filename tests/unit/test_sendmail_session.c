/*
 * A session of -bs without a queue: its deadlines, and a caller that is slow, or gone.
 */
#include "sendmail/session.h"

#include "base/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct pipes {
	int in[2], out[2]; /* the session reads in[0] and writes out[1] */
};

static struct pipes open_pipes(void)
{
	struct pipes p;

	assert_int_equal(pipe(p.in), 0);
	assert_int_equal(pipe(p.out), 0);
	return p;
}

static void never(const struct submitted *m, uid_t caller)
{
	fail_msg("stored");
}

static void refused(const char *reply, uid_t caller)
{
}

static int run(const struct pipes *p, int64_t idle_ms, int64_t max_ms, struct err *e)
{
	static char name[] = "h.example", none[] = "", queue[] = "/nonexistent/queue.db";
	struct conf_mail conf = { .hostname = name,
		.domain = none,
		.postmaster = none,
		.queue = queue,
		.message_size = 1000,
		.recipients_max = 10 };
	const struct session_options o = { .draft = { .conf = &conf },
		.in = p->in[0],
		.out = p->out[1],
		.idle_ms = idle_ms,
		.max_ms = max_ms,
		.stored = never,
		.refused = refused };

	return session_run(&o, e);
}

static void close_pipes(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		(void)close(p->in[i]);
		(void)close(p->out[i]);
	}
}

/* All that was said, up to 64 KiB. */
static const char *said(struct pipes *p)
{
	static char text[65536 + 1];

	ssize_t n = read(p->out[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void say(const struct pipes *p, const char *text)
{
	assert_int_equal(write(p->in[1], text, strlen(text)), strlen(text));
}

#define TIMED_OUT "421 4.4.2 Timed out: a message without its 250 is not stored\r\n"

/* A caller that says nothing more, between messages or within one. */
static void test_idle(void **state)
{
	static const char *const t[] = { "", "EHLO c\r\n", "EHLO",
		"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n" };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct pipes p = open_pipes();
		struct err e = { 0 };
		int64_t began = clock_mono_ms();
		say(&p, t[i]);
		assert_int_equal(run(&p, 150, 60000, &e), -1);
		assert_int_equal(e.code, EX_TEMPFAIL);
		assert_non_null(strstr(e.text, "421"));
		assert_true(clock_mono_ms() - began >= 149);
		const char *text = said(&p);
		assert_memory_equal(text, "220 h.example ESMTP cenmail\r\n", 29);
		assert_string_equal(text + strlen(text) - strlen(TIMED_OUT), TIMED_OUT);
		close_pipes(&p);
	}
}

static void *talk(int fd)
{
	/* a caller that is never idle for long, and has all of the time in the world */
	for (int i = 0; i < 1000; i++) {
		if (write(fd, "NOOP\r\n", 6) != 6)
			break;
		usleep(20000);
	}
	return NULL;
}

static void test_total(void **state)
{
	struct pipes p = open_pipes();
	struct err e = { 0 };
	int64_t began = clock_mono_ms();
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		talk(p.in[1]);
		_exit(0);
	}
	assert_int_equal(run(&p, 10000, 300, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
	assert_true(clock_mono_ms() - began < 5000);
	assert_non_null(strstr(said(&p), TIMED_OUT));
	(void)kill(child, SIGKILL);
	close_pipes(&p);
}

/* Replies that nobody takes: the pipe is full, and the session does not wait for ever. */
static void test_replies_not_taken(void **state)
{
	struct pipes p = open_pipes();
	struct err e = { 0 };
	char octets[4096] = "";

	(void)fcntl(p.out[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(write(p.out[1], octets, sizeof(octets)), sizeof(octets));
	say(&p, "EHLO c\r\n");
	assert_int_equal(run(&p, 150, 60000, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
	assert_non_null(strstr(e.text, "does not read"));
	close_pipes(&p);
}

static void test_ends(void **state)
{
	struct pipes p = open_pipes();
	struct err e = { 0 };

	say(&p, "HELO c\r\nQUIT\r\n");
	assert_int_equal(run(&p, 10000, 60000, &e), 0);
	close_pipes(&p);

	p = open_pipes();
	(void)close(p.in[1]);
	p.in[1] = -1;
	assert_int_equal(run(&p, 10000, 60000, &e), 0);
	assert_string_equal(said(&p), "220 h.example ESMTP cenmail\r\n");
	close_pipes(&p);

	p = open_pipes(); /* what can't be read: the wrong end */
	int wrong = p.in[0];
	p.in[0] = p.in[1];
	p.in[1] = wrong;
	(void)close(wrong);
	p.in[1] = -1;
	assert_int_equal(run(&p, 10000, 60000, &e), -1);
	assert_int_equal(e.code, EX_NOINPUT);
	close_pipes(&p);

	p = open_pipes(); /* nobody reads */
	(void)close(p.out[0]);
	p.out[0] = -1;
	assert_int_equal(run(&p, 10000, 60000, &e), -1);
	assert_int_equal(e.code, EX_IOERR);
	close_pipes(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_replies_not_taken),
		cmocka_unit_test(test_ends),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
