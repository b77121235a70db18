/*
 * When retention (store/keep.h) works: while there is nothing to send, a step at a time with a
 * pause after each, so that a sender who comes has the queue to himself. While there is always
 * something to send, only for what is overdue, and seldom.
 */
#ifndef CENMAIL_FLUSH_UPKEEP_H
#define CENMAIL_FLUSH_UPKEEP_H

#include "base/conf.h"
#include "store/keep.h"

struct upkeep {
	struct keep keep;
	bool under_way;     /* a pass */
	bool told;          /* that it failed; once in a flusher's life */
	int64_t next;       /* monotonic ms: of the next step, or pass */
	int64_t idle_since; /* monotonic ms; 0: not idle */
};

/* Does a step when it is time; idle: nothing is to be sent. Whether it may have written. */
bool upkeep_tend(struct upkeep *u, struct store *s, const struct conf_mail *c, bool idle);
/* Whether one that does not linger may go: the pass is over, or has had its time. */
bool upkeep_done(const struct upkeep *u);

/* `--vacuum`: all of it now, however long that takes, in the same steps; says on stdout what it
 * did. 0, or -1: EX_NOPERM for who is neither root nor the queue's owner. */
int upkeep_all(const struct conf_mail *c, struct err *e);

#endif
