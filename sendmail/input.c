/*
 * The loop that reads. A descriptor that another process made non-blocking is waited for.
 */
#include "sendmail/input.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define CHUNK (64 * 1024)

/* 1: it can be read; 0: look again; -1. */
static int wait_readable(int fd, int64_t deadline_mono_ms, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, clock_poll_timeout(deadline_mono_ms));

	if (n > 0)
		return 1;
	if (n < 0 && errno != EINTR)
		return err_sys(e, EX_OSERR, "poll");
	if (n == 0 && clock_mono_ms() >= deadline_mono_ms)
		return err_set(e, EX_TEMPFAIL,
			"standard input did not end in time: nothing was stored, send it again");
	return 0;
}

int input_read(int fd, int64_t deadline_mono_ms, struct intake *in, struct err *e)
{
	static char chunk[CHUNK];
	bool any = false;

	while (!in->ended) {
		int ready = wait_readable(fd, deadline_mono_ms, e);
		if (ready < 0)
			return -1;
		if (ready == 0)
			continue;
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n == 0)
			break;
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return err_sys(e, any ? EX_IOERR : EX_NOINPUT,
				"standard input can't be read: nothing was stored");
		any = true;
		if (intake_add(in, span_make(chunk, (size_t)n), e) != 0)
			return -1;
	}
	return intake_end(in, e);
}
