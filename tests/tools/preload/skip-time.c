/*
 * LD_PRELOAD: time in which nothing happens is skipped. Where poll(2) has been called in vain for
 * SKIP_TIME_AFTER ms, what is left of its time-outs is not waited for: the clocks of the program
 * jump ahead by it, until something happens. So a peer's silence of ten minutes costs a test a
 * moment, and nothing else goes faster.
 *
 *   SKIP_TIME=FILE         of 8 octets: the ms that were skipped so far; shared by all with that
 *                          file, so that the next program begins where this one ended
 *   SKIP_TIME_AFTER=300
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t own, *skipped = &own;
static int after = -1; /* -1: off */

__attribute__((constructor)) static void begin(void)
{
	const char *to = getenv("SKIP_TIME"), *ms = getenv("SKIP_TIME_AFTER");
	int fd = to && ms ? open(to, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*skipped), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	skipped = map;
	after = (int)strtol(ms, NULL, 10);
}

static int wait_ms(struct pollfd *fds, nfds_t n, int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	return ppoll(fds, n, ms < 0 ? NULL : &t, NULL);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	static _Thread_local int in_vain;
	int patience = after - in_vain, r;

	if (patience < 1)
		patience = 1;
	if (after < 0 || (timeout >= 0 && timeout <= patience))
		patience = timeout;
	r = wait_ms(fds, n, patience);
	if (r != 0)
		in_vain = 0;
	else if (in_vain < after)
		in_vain += patience;
	if (r == 0 && timeout < 0)
		return wait_ms(fds, n, timeout);
	if (r == 0)
		atomic_fetch_add(skipped, timeout - patience);
	return r;
}

/* What _FORTIFY_SOURCE makes of it. */
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	return n * sizeof *fds <= size ? poll(fds, n, timeout) : (abort(), -1);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, id, t);

	if (r == 0 && after >= 0 && (id == CLOCK_REALTIME || id == CLOCK_MONOTONIC)) {
		const int64_t ms = atomic_load(skipped);

		t->tv_sec += ms / 1000;
		t->tv_nsec += ms % 1000 * 1000000;
		if (t->tv_nsec >= 1000000000) {
			t->tv_sec++;
			t->tv_nsec -= 1000000000;
		}
	}
	return r;
}
