/*
 * flock(2) with a deadline. The common way, a free lock, costs one system call. A waiter sleeps in
 * the kernel, which wakes it when the holder lets go; a repeating timer breaks the sleep when the
 * deadline has passed (repeating, so that a signal just before the sleep is no loss).
 */
#include "store/lock.h"

#include "base/clock.h"
#include "store/internal.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

void lock_path(const char *queue, const char *name, struct buf *out)
{
	const char *slash = strrchr(queue, '/');
	buf_clear(out);
	if (slash)
		buf_add(out, queue, (size_t)(slash - queue) + 1);
	buf_add_str(out, name);
}

int lock_path_failed(const struct buf *path, const char *queue, struct err *e)
{
	if (!path->failed)
		return 0;
	return err_set(e, path->starved ? EX_TEMPFAIL : EX_CONFIG, "%s: %s", queue,
		path->starved ? "out of memory" : "the path is too long");
}

int lock_sync_directory(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int n = slash ? (int)(slash - path) + 1 : 2;

	if (snprintf(dir, sizeof dir, "%.*s", n, slash ? path : "./") >= (int)sizeof dir) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int r = fsync(fd);
	close(fd);
	return r;
}

void store_lock_path(const char *queue, struct buf *out)
{
	lock_path(queue, "queue.lock", out);
}

void store_incoming_path(const char *queue, struct buf *out)
{
	lock_path(queue, "incoming", out);
}

void store_wal_path(const char *queue, struct buf *out)
{
	buf_clear(out);
	buf_add_str(out, queue);
	buf_add_str(out, "-wal");
}

int lock_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return err_set(e, EX_CONFIG,
			"%s: does not exist; create the queue's files with"
			" `cenmail-flush --init`",
			path);
	return err_sys(e, EX_TEMPFAIL, "%s", path);
}

void store_lock_holder(const char *queue, const char *name, char out[HOLDER_NAME_MAX])
{
	struct buf path;
	struct stat st;

	snprintf(out, HOLDER_NAME_MAX, "another process");
	buf_init(&path, STORE_PATH_MAX);
	lock_path(queue, name, &path);
	if (!path.failed && stat(buf_str(&path), &st) == 0)
		holder_name(&st, HOLDER_FLOCK, 0, out);
	buf_done(&path);
}

static int timed_out(int fd, const char *path, struct err *e)
{
	char who[HOLDER_NAME_MAX] = "another process";
	struct stat st;
	if (fstat(fd, &st) == 0)
		holder_name(&st, HOLDER_FLOCK, 0, who);
	return err_set(e, EX_TEMPFAIL, "%s: %s does not let go of it", path, who);
}

static void on_alarm(int sig)
{
}

/* 0 taken, 1 the deadline has passed, -1 with errno. */
static int wait_for(int fd, int64_t deadline_ms)
{
	struct sigaction act = { .sa_handler = on_alarm }, old_act; /* no SA_RESTART */
	struct itimerval timer, old_timer;
	sigset_t alarm_only, old_mask;
	int64_t left = deadline_ms - clock_mono_ms();
	if (left <= 0)
		return 1;
	sigemptyset(&act.sa_mask);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	timer.it_value.tv_sec = left / 1000;
	timer.it_value.tv_usec = left % 1000 * 1000;
	timer.it_interval.tv_sec = 0;
	timer.it_interval.tv_usec = 20000;
	sigaction(SIGALRM, &act, &old_act);
	sigprocmask(SIG_UNBLOCK, &alarm_only, &old_mask);
	setitimer(ITIMER_REAL, &timer, &old_timer);
	int r, saved;
	do {
		r = flock(fd, LOCK_EX);
		saved = errno;
	} while (r < 0 && saved == EINTR && clock_mono_ms() < deadline_ms);
	setitimer(ITIMER_REAL, &old_timer, NULL);
	sigprocmask(SIG_SETMASK, &old_mask, NULL);
	sigaction(SIGALRM, &old_act, NULL);
	errno = saved;
	return r < 0 && saved == EINTR ? 1 : r;
}

int lock_take(int fd, const char *path, int64_t deadline_ms, struct err *e)
{
	int r = flock(fd, LOCK_EX | LOCK_NB);
	if (r < 0 && errno == EWOULDBLOCK)
		r = wait_for(fd, deadline_ms);
	if (r < 0)
		return err_sys(e, EX_TEMPFAIL, "%s: can't be locked", path);
	return r > 0 ? timed_out(fd, path, e) : 0;
}

void lock_release(int fd)
{
	flock(fd, LOCK_UN);
}

/* Waits beside a descriptor, so it can't sleep in flock. The holder's close is seen by inotify; it
 * comes a moment before the lock is free, hence a few quick tries after it. 1, 0 or -1 as below. */
static int wait_beside(int fd, const char *path, int64_t deadline_ms, int stop_fd)
{
	enum { QUICK_MS = 1, SLOW_MS = 1000 };
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch >= 0 && inotify_add_watch(watch, path, IN_CLOSE) < 0) {
		close(watch);
		watch = -1;
	}
	int pause = QUICK_MS, r = 0;
	for (;;) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			r = 1;
			break;
		}
		if (errno != EWOULDBLOCK && errno != EINTR) {
			r = -1;
			break;
		}
		int left = clock_poll_timeout(deadline_ms);
		if (left == 0)
			break;
		if (left < 0 || left > pause)
			left = pause;
		struct pollfd p[2] = { { .fd = stop_fd, .events = POLLIN },
			{ .fd = watch, .events = POLLIN } };
		if (poll(p, 2, left) < 0 && errno != EINTR) {
			r = -1;
			break;
		}
		if (p[0].revents)
			break;
		char events[4096];
		bool closed = p[1].revents && read(watch, events, sizeof events) > 0;
		pause = closed ? QUICK_MS : pause * 2;
		if (pause > (watch < 0 ? SLOW_MS / 10 : SLOW_MS))
			pause = watch < 0 ? SLOW_MS / 10 : SLOW_MS;
	}
	int saved = errno;
	if (watch >= 0)
		close(watch);
	errno = saved;
	return r;
}

int store_lock_file(const char *queue, const char *name, int64_t deadline_ms, int stop_fd,
	int *ret_fd, struct err *e)
{
	struct buf path;
	buf_init(&path, STORE_PATH_MAX);
	lock_path(queue, name, &path);
	int fd = lock_path_failed(&path, queue, e) < 0 ? -1 : lock_open(buf_str(&path), e);
	int r = -1;
	if (fd < 0)
		goto out;
	r = wait_beside(fd, buf_str(&path), deadline_ms, stop_fd);
	if (r < 0)
		err_sys(e, EX_TEMPFAIL, "%s: can't be locked", buf_str(&path));
	if (r == 1)
		*ret_fd = fd;
	else
		close(fd);
out:
	buf_done(&path);
	return r;
}

/* A shared lock keeps others from an exclusive one just the same. */
void store_lock_ready(int fd)
{
	(void)flock(fd, LOCK_SH | LOCK_NB);
}

enum store_lock_state store_lock_state(const char *queue, const char *name)
{
	enum store_lock_state state = STORE_LOCK_HELD;
	struct buf path;

	buf_init(&path, STORE_PATH_MAX);
	lock_path(queue, name, &path);
	int fd = path.failed ? -1 : lock_open(buf_str(&path), NULL);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		state = STORE_LOCK_FREE;
	else if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		state = STORE_LOCK_READY;
	if (fd >= 0)
		close(fd);
	buf_done(&path);
	return state;
}
