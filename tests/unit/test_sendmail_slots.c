/*
 * Slots: so many for each uid and no more, given back by the end of a process however it ends.
 */
#include "sendmail/slots.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/test_slots.XXXXXX";

/* Each call opens the file anew, so that one process can stand for many. */
static void take_all(uid_t uid)
{
	struct err e = { 0 };

	for (unsigned i = 0; i < SLOTS_PER_UID; i++)
		if (slots_take(dir, uid, &e) != 0)
			fail_msg("slot %u of uid %u: %s", i, (unsigned)uid, e.text);
	assert_int_equal(slots_take(dir, uid, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
	assert_non_null(strstr(e.text, "unfinished"));
}

/* In a child that takes all slots of uid 7, says so, and waits to be killed. */
static pid_t start_greedy(void)
{
	char c;
	int p[2];

	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		take_all(7);
		_exit(write(p[1], "x", 1) == 1 && pause() ? 0 : 1);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	return pid;
}

static void a_kill_gives_them_back(void **state)
{
	struct err e = { 0 };

	for (int round = 0; round < 2; round++) {
		pid_t pid = start_greedy();
		assert_int_equal(slots_take(dir, 7, &e), -1);
		assert_int_equal(slots_take(dir, 8, &e), 0); /* others have their own */
		assert_int_equal(slots_take(dir, 6, &e), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	assert_int_equal(slots_take(dir, 7, &e), 0);
}

static void every_uid_has_its_own(void **state)
{
	struct err e = { 0 };
	struct stat st;
	char path[100];

	take_all(1000);
	take_all((uid_t)-2); /* the highest there is */
	assert_int_equal(slots_take(dir, 1001, &e), 0);
	assert_int_equal(slots_take(dir, 999, &e), 0);
	assert_int_equal(slots_take(dir, (uid_t)-3, &e), 0);
	snprintf(path, sizeof path, "%s/slots.lock", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_place_that_is_none(void **state)
{
	struct err e = { 0 };
	char path[100];

	assert_int_equal(slots_take("/nonexistent", 1, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
	snprintf(path, sizeof path, "%s/slots.lock", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(slots_take(dir, 1, &e), -1);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kill_gives_them_back),
		cmocka_unit_test(every_uid_has_its_own),
		cmocka_unit_test(a_place_that_is_none),
	};
	if (!mkdtemp(dir))
		return 1;
	umask(0);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
