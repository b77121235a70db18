/*
 * The locks: one writer at a time, waited for with a deadline, the holder named; what a person's
 * shell beside us may hold; and the wake-up that a sender's closing gives.
 */
#include "tests/unit/store_fixture.h"

#include "store/lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/time.h>

struct holder {
	pid_t pid;
	int go; /* closing it lets the holder go */
};

/* A child that holds a lock file until it is told, or for hold_ms. */
static struct holder hold(struct fixture *f, const char *name, int hold_ms)
{
	char path[160], c;
	int ready[2], go[2];
	struct holder h;
	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	h.pid = fork();
	if (h.pid == 0) {
		close(go[1]);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		struct pollfd p = { .fd = go[0], .events = POLLIN };
		poll(&p, 1, hold_ms);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	h.go = go[1];
	return h;
}

static void let_go(struct holder *h)
{
	int status;
	close(h->go);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	assert_int_equal(status, 0);
}

static int put(struct store *s, struct err *e)
{
	struct fixture_mail x;
	int64_t id;
	fixture_mail(&x, "x\r\n", "a@x", NULL);
	return store_put(s, &x.m, &id, e);
}

static struct store *open_as(struct fixture *f, enum store_role role, int64_t wait)
{
	struct store *s = NULL;
	struct err e;
	if (store_open(&s, f->path, role, wait, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

/* C10: a holder that does not let go costs lock_wait, is named, and nothing is stored. */
static void a_holder_is_named(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	char pid[32];
	fixture_close(f);
	struct holder h = hold(f, "queue.lock", -1);
	int64_t began = clock_mono_ms();
	struct store *s = open_as(f, STORE_SUBMIT, 150);
	assert_int_equal(put(s, &e), -1);
	int64_t took = clock_mono_ms() - began;
	assert_true(took >= 150 && took < 5000);
	assert_int_equal(e.code, EX_TEMPFAIL);
	snprintf(pid, sizeof pid, "process %d (", (int)h.pid);
	if (!strstr(e.text, pid))
		fail_msg("\"%s\" does not name %s", e.text, pid);
	let_go(&h);
	assert_int_equal(put(s, &e), 0);
	store_close(s);
	fixture_open(f);
	ask_is(f, "select count(*) from message", "1");
}

/* The same for a shell's open transaction; opening and putting share the time. */
static void a_writer_beside_is_named(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	char pid[32];
	by_hand(f, "begin immediate");
	int64_t began = clock_mono_ms();
	struct store *s = open_as(f, STORE_SUBMIT, 150);
	assert_int_equal(put(s, &e), -1);
	assert_in_range(clock_mono_ms() - began, 150, 3000);
	assert_int_equal(e.code, EX_TEMPFAIL);
	snprintf(pid, sizeof pid, "process %d (", (int)getpid());
	if (!strstr(e.text, pid))
		fail_msg("\"%s\" does not name %s", e.text, pid);
	by_hand(f, "rollback");
	assert_int_equal(put(s, &e), 0);
	store_close(s);
}

static int alarms;
static void on_alarm(int sig)
{
	alarms++;
}

static void a_waiter_is_woken(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	/* The caller's own alarm is still set afterwards, and its handler is its own. */
	struct sigaction act = { .sa_handler = on_alarm }, now;
	struct itimerval timer = { .it_value = { .tv_sec = 1000 } };
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	fixture_close(f);
	struct holder h = hold(f, "queue.lock", 100);
	struct store *s = open_as(f, STORE_SUBMIT, 30000);
	int64_t began = clock_mono_ms();
	assert_int_equal(put(s, &e), 0);
	assert_true(clock_mono_ms() - began < 10000);
	let_go(&h);
	store_close(s);
	sigaction(SIGALRM, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_alarm);
	getitimer(ITIMER_REAL, &timer);
	assert_true(timer.it_value.tv_sec > 900 && alarms == 0);
	memset(&timer, 0, sizeof timer);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* C16: a person's open write transaction costs lock_wait at most; an open read transaction costs
 * nothing, and the WAL is small again when it has ended. */
static void a_shell_beside(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct stat st;
	struct buf wal;
	buf_init(&wal, 4096);
	store_wal_path(f->path, &wal);
	int64_t began = clock_mono_ms();
	struct store *s = open_as(f, STORE_SUBMIT, 200);
	by_hand(f, "begin immediate");
	assert_int_equal(put(s, &e), -1);
	int64_t took = clock_mono_ms() - began;
	assert_true(took >= 200 && took < 5000);
	assert_int_equal(e.code, EX_TEMPFAIL);
	by_hand(f, "rollback");

	by_hand(f, "begin; select count(*) from message");
	began = clock_mono_ms();
	for (int i = 0; i < 60; i++)
		assert_int_equal(put(s, &e), 0);
	assert_true(clock_mono_ms() - began < 20000);
	assert_int_equal(stat(buf_str(&wal), &st), 0);
	assert_true(st.st_size > 128 * 4096);
	ask_is(f, "select count(*) from message", "0"); /* its own view of the past */
	assert_true(store_checkpoint(f->s, true) > 128 * 4096);
	by_hand(f, "commit");
	assert_int_equal(put(s, &e), 0);
	assert_int_equal(stat(buf_str(&wal), &st), 0);
	assert_int_equal(st.st_size, 0);
	ask_is(f, "select count(*) from message", "61");
	store_close(s);
	buf_done(&wal);
}

static unsigned closes_seen(int watch)
{
	char events[4096];
	unsigned n = 0;
	ssize_t got = read(watch, events, sizeof events);
	for (ssize_t at = 0; at < got; n++) {
		struct inotify_event ev;
		memcpy(&ev, events + at, sizeof ev);
		at += (ssize_t)(sizeof ev + ev.len);
	}
	return n;
}

/* Rule 8: each of a sender's transactions wakes the flusher; the flusher's own don't. */
static void a_sender_wakes_the_flusher(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct buf path;
	buf_init(&path, 4096);
	store_lock_path(f->path, &path);
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(watch, buf_str(&path), IN_CLOSE_WRITE) >= 0);
	assert_int_equal(put(f->s, &e), 0);
	assert_int_equal(store_barrier(f->s, &e), 0);
	store_checkpoint(f->s, true);
	assert_int_equal(closes_seen(watch), 0);
	struct store *s = open_as(f, STORE_SUBMIT, 1000);
	assert_int_equal(put(s, &e), 0);
	assert_int_equal(closes_seen(watch), 1);
	assert_int_equal(put(s, &e), 0);
	assert_int_equal(closes_seen(watch), 1);
	store_close(s);
	close(watch);
	buf_done(&path);
}

static void idle_checkpoint(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct stat st;
	char wal[128];
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	/* What others wrote counts too. */
	struct store *s = open_as(f, STORE_SUBMIT, 1000);
	assert_int_equal(put(s, &e), 0);
	store_close(s);
	store_checkpoint(f->s, false);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(store_checkpoint(f->s, true), 0);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* Rule 7: flush.lock and next.lock. */
static void lock_files(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	int fd = -1, other = -1, stop[2];
	fixture_close(f);
	assert_int_equal(store_lock_file(f->path, "flush.lock", 0, -1, &fd, &e), 1);
	close(fd);
	assert_int_equal(store_lock_file(f->path, "other.lock", 0, -1, &fd, &e), -1);
	assert_int_equal(e.code, EX_CONFIG);

	/* Held: not now, not until the deadline, not after the word to stop. */
	struct holder h = hold(f, "flush.lock", -1);
	int64_t now = clock_mono_ms();
	assert_int_equal(store_lock_file(f->path, "flush.lock", 0, -1, &other, &e), 0);
	assert_true(clock_mono_ms() - now < 5000);
	now = clock_mono_ms();
	assert_int_equal(store_lock_file(f->path, "flush.lock", now + 120, -1, &other, &e), 0);
	assert_true(clock_mono_ms() - now >= 120);
	assert_int_equal(pipe(stop), 0);
	assert_int_equal(write(stop[1], "x", 1), 1);
	assert_int_equal(store_lock_file(f->path, "flush.lock", INT64_MAX, stop[0], &other, &e), 0);
	assert_int_equal(other, -1);
	close(stop[0]);
	close(stop[1]);
	let_go(&h);

	/* Its holder dies: the waiter has it soon. */
	h = hold(f, "flush.lock", 1500);
	now = clock_mono_ms();
	assert_int_equal(store_lock_file(f->path, "flush.lock", now + 60000, -1, &fd, &e), 1);
	int64_t took = clock_mono_ms() - now;
	assert_true(took < 1500 + 800); /* by inotify, and not by the second's fall-back */
	let_go(&h);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(a_holder_is_named),
		unit(a_writer_beside_is_named),
		unit(a_waiter_is_woken),
		unit(a_shell_beside),
		unit(a_sender_wakes_the_flusher),
		unit(idle_checkpoint),
		unit(lock_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
