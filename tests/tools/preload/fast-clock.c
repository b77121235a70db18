/*
 * LD_PRELOAD: time runs CENMAIL_FAST times as fast for a program, by the monotonic clock and by
 * what waits on it: poll and pthread_cond_timedwait. So a test sees in a second what takes a
 * minute.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000

static int64_t factor = 1, base;
static int (*wait_until)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static struct timespec spec_of(int64_t ns)
{
	return (struct timespec) { ns / NS, ns % NS };
}

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * NS + t->tv_nsec;
}

static int64_t now(void)
{
	struct timespec t;

	(void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return ns_of(&t);
}

__attribute__((constructor)) static void begin(void)
{
	const char *fast = getenv("CENMAIL_FAST");

	if (fast && strtol(fast, NULL, 10) > 0)
		factor = strtol(fast, NULL, 10);
	base = now();
	*(void **)&wait_until = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	if (id != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, id, t);
	*t = spec_of(base + (now() - base) * factor);
	return 0;
}

int poll(struct pollfd *p, nfds_t n, int ms)
{
	struct timespec t = spec_of((int64_t)ms * 1000000 / factor);

	return (int)syscall(SYS_ppoll, p, n, ms < 0 ? NULL : &t, NULL, 0);
}

int __poll_chk(struct pollfd *p, nfds_t n, int ms, size_t size)
{
	(void)size;
	return poll(p, n, ms);
}

/* All conditions of ours are of the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
	struct timespec t = spec_of(base + (ns_of(until) - base) / factor);

	return wait_until(c, m, &t);
}
