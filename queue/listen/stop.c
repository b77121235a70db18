/*
 * The word to stop.
 */
#include "listen/stop.h"

#include <sys/eventfd.h>
#include <unistd.h>

int stop_init(struct stop *s, struct err *e)
{
	atomic_init(&s->said, false);
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return s->fd < 0 ? err_sys(e, EX_OSERR, "eventfd") : 0;
}

void stop_done(struct stop *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void stop_say(struct stop *s)
{
	atomic_store(&s->said, true);
	(void)eventfd_write(s->fd, 1);
}

bool stop_said(const struct stop *s)
{
	return atomic_load(&s->said);
}
