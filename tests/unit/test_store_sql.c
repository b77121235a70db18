/*
 * cenmail-sql, the script, on a queue: it runs statements under the lock, leaves checkpoints to the
 * programs, wakes the flusher, and makes nothing. Needs sqlite3, and the source tree as the current
 * directory (or CENMAIL_SOURCE).
 */
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>

/* What it ended with; its standard output in out. */
static int run(const char *queue, const char *sql, char *out, size_t size)
{
	const char *source = secure_getenv("CENMAIL_SOURCE");
	char script[512];
	int fds[2], status;
	snprintf(script, sizeof script, "%s/queue/store/cenmail-sql", source ? source : ".");
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("CENMAIL_QUEUE", queue, 1);
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execl("/bin/sh", "sh", script, sql, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	size_t n = 0;
	ssize_t got;
	while (n < size - 1 && (got = read(fds[0], out + n, size - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = 0;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void statements(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct stat before, after;
	char out[512], path[128], events[4096];
	fixture_mail(&x, "x\r\n", "a@x", NULL);
	fixture_put(f, &x.m);
	snprintf(path, sizeof path, "%s/queue.lock", f->dir);
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(watch, path, IN_CLOSE_WRITE) >= 0);
	snprintf(path, sizeof path, "%s-wal", f->path);
	assert_int_equal(stat(path, &before), 0);
	/* The last one to close, too. */
	fixture_close(f);

	assert_int_equal(run(f->path, "update recipient set state='held'; select 'held', changes()",
				 out, sizeof out),
		0);
	assert_string_equal(out, "held|1\n");
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size > before.st_size);
	assert_true(read(watch, events, sizeof events) > 0);
	assert_int_not_equal(run(f->path, "update recipient set state='gone'", out, sizeof out), 0);
	close(watch);
	fixture_open(f);
	ask_is(f, "select state from recipient", "held");
	ask_is(f, "select relay||' '||reply from attempts", "by hand queued to held");
}

static void waits_for_the_lock(void **state)
{
	struct fixture *f = *state;
	char out[64], path[128];
	int ready[2];
	snprintf(path, sizeof path, "%s/queue.lock", f->dir);
	fixture_close(f);
	assert_int_equal(pipe(ready), 0);
	int64_t began = clock_mono_ms();
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(path, O_RDWR | O_CLOEXEC);
		flock(fd, LOCK_EX);
		if (write(ready[1], "x", 1) == 1)
			poll(NULL, 0, 300);
		_exit(0);
	}
	assert_int_equal(read(ready[0], out, 1), 1);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(run(f->path, "select 1", out, sizeof out), 0);
	assert_true(clock_mono_ms() - began >= 300);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void makes_nothing(void **state)
{
	struct fixture *f = *state;
	char out[64];
	assert_int_equal(run(f->path, "select 1", out, sizeof out), 78);
	assert_int_equal(access(f->path, F_OK), -1);
	FILE *empty = fopen(f->path, "w");
	assert_non_null(empty);
	fclose(empty);
	assert_int_equal(run(f->path, "create table x(y)", out, sizeof out), 78);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(statements),
		unit(waits_for_the_lock),
		unit_dir(makes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
