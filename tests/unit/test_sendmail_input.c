/*
 * The loop that reads standard input: its deadline, and descriptors of every kind.
 */
#include "sendmail/input.h"

#include "base/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	return 0;
}

/* The code that reading fd ends with, 0 if all was well; *size: the octets that were taken. */
static int read_from(int fd, int64_t deadline_ms, uint64_t *size)
{
	struct spool spool;
	struct intake in;
	struct err e = { 0 };

	spool_init(&spool, "/tmp");
	intake_init(&in, true);
	in.on_header = on_header;
	in.to = &spool;
	in.size_max = 1 << 20;
	int r = input_read(fd, deadline_ms, &in, &e);
	*size = in.size;
	intake_done(&in);
	spool_done(&spool);
	return r == 0 ? 0 : e.code;
}

static void input_without_end(void **state)
{
	uint64_t size;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "\nx\n", 3), 3);
	int64_t start = clock_mono_ms();
	assert_int_equal(read_from(p[0], start + 100, &size), EX_TEMPFAIL);
	assert_in_range(clock_mono_ms() - start, 100, 20000);
	assert_int_equal(size, 5);
	assert_int_equal(read_from(p[0], start, &size), EX_TEMPFAIL); /* which has passed */
	close(p[0]);
	close(p[1]);
}

/* Octet by octet, for ever: each is progress, and yet it ends. */
static void input_that_trickles(void **state)
{
	uint64_t size;
	int p[2];

	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(p[0]);
		while (write(p[1], "x", 1) == 1)
			usleep(2000);
		_exit(0);
	}
	close(p[1]);
	int64_t start = clock_mono_ms();
	assert_int_equal(read_from(p[0], start + 200, &size), EX_TEMPFAIL);
	assert_in_range(clock_mono_ms() - start, 200, 20000);
	assert_true(size > 0);
	close(p[0]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void input_that_can_not_be_read(void **state)
{
	uint64_t size;
	int fd = open("/dev/null", O_WRONLY), dir = open("/", O_RDONLY);

	assert_int_equal(read_from(fd, INT64_MAX, &size), EX_NOINPUT);
	assert_int_equal(read_from(dir, INT64_MAX, &size), EX_NOINPUT);
	close(fd);
	close(dir);
	assert_int_equal(read_from(fd, INT64_MAX, &size), EX_NOINPUT); /* closed */
}

/* One that another process made non-blocking. */
static void input_that_does_not_block(void **state)
{
	uint64_t size;
	int p[2];

	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	pid_t pid = fork();
	if (pid == 0) {
		usleep(50000);
		_exit(write(p[1], "\nx\n", 3) == 3 ? 0 : 1);
	}
	close(p[1]);
	assert_int_equal(read_from(p[0], INT64_MAX, &size), 0);
	assert_int_equal(size, 5);
	close(p[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(input_without_end),
		cmocka_unit_test(input_that_trickles),
		cmocka_unit_test(input_that_can_not_be_read),
		cmocka_unit_test(input_that_does_not_block),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
