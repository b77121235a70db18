/*
 * What `-v` shows on a terminal while the flusher runs: one line, written again in its place. It
 * never waits for the terminal, looks up its width each time, and costs nothing where there is
 * none: all calls then find NULL in the flusher and return.
 */
#ifndef CENMAIL_PROGRESS_H
#define CENMAIL_PROGRESS_H

#include "flush/flusher.h"

/* NULL where fd is no terminal that can do it, or for want of memory: nothing is shown. Lines of
 * the log that go to standard error are from then on put above the line. */
struct progress *progress_new(int fd);
/* Takes the line away. */
void progress_free(struct progress *p);

/* Shows a few words instead of figures, at once: while nothing turns the wheel. */
void progress_say(struct progress *p, const char *words);
/* Draws when it is time, and there is something new to see. closes_at: the end of the linger,
 * monotonic ms. */
void progress_tend(struct flusher *f, int64_t closes_at, int64_t now);
/* Monotonic ms when progress_tend wants to be called; INT64_MAX: never. */
int64_t progress_deadline(const struct flusher *f);

/* --- the line itself, without I/O --- */

struct progress_view {
	uint64_t done, left; /* recipients: tried in this run, and still due */
	uint64_t later;      /* queued for a later time */
	unsigned flying;     /* messages */
	uint64_t failed, held, deferred;
	double rate;        /* recipients a second of late; below 0: not known yet */
	int64_t closed_ms;  /* a road that has work is closed for so long; 0: all are open */
	bool down;          /* and that is for a fault, and not to keep to a pace */
	bool ending;        /* nothing new is taken */
	int64_t lingers_ms; /* nothing is left: when it goes; 0: does not linger */
};

/* At most `columns` wide, as much of it as fits, in the order of what matters; terminated. */
void progress_line(const struct progress_view *v, unsigned columns, char *out, size_t size);

#endif
