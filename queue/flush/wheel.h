/*
 * The wheel's own: loop.c turns it, wait.c knows when it has to turn next, and what may wake it.
 */
#ifndef CENMAIL_WHEEL_H
#define CENMAIL_WHEEL_H

#include "flush/flusher.h"
#include "flush/notice.h"
#include "flush/upkeep.h"

#include <poll.h>

#define LOOK_AT_LEAST_MS 10000 /* a clock that steps, or an event that was missed */

struct wheel {
	struct flusher *f;
	int signal_fd, wake_fd;
	int64_t closes_at;  /* monotonic ms: takes nothing new after */
	int64_t leaves_at;  /* the latest that it does, if there is no other one yet */
	int64_t files_at;   /* when it is looked whether the configuration has changed */
	bool changed;       /* it has */
	int64_t ends_at;    /* when what is in flight is cut */
	bool cut;           /* and it has been */
	uint64_t moved;     /* octets, when that was decided last */
	bool stopped;       /* by a signal */
	bool hurry;         /* there may be room at once for what waits */
	int64_t next_due;   /* monotonic ms */
	int64_t look_again; /* the same, for a change that could not be seen; 0: there is none */
	int64_t look_pause; /* before that */
	int64_t retry_at;   /* when the queue that could not be written is tried again */
	bool import;        /* there may be files in incoming/ */
	int64_t import_at;  /* not before: the last time it failed */
	int64_t complained; /* when that was said last; 0: never */
	struct err failed;  /* why it ends; code 0: for no fault */
	bool written;       /* since the last idle checkpoint */
	bool told_wal;      /* that the WAL is too large; once in a flusher's life */
	struct notices notices;
	int64_t notify_next; /* monotonic ms: when it is looked what lasts */
	struct upkeep upkeep;
	struct pollfd *pfd; /* signal, wake, then the ways in order */
	struct way **who;
};

/* Waits until something is to be done, and lets every connection do what it can. 0 or -1. */
int wheel_wait(struct wheel *w, struct err *e);
/* Before a change is looked for: who is about to commit has done so. Who is not done in time will
 * make no event of ours when he is: so it is looked for again, after pauses that double. */
void wheel_barrier(struct wheel *w, int64_t now);
/* What goes on without an end is said once a minute. */
void wheel_complain(struct wheel *w, const struct err *why, const char *what);

#endif
