/*
 * Retention: what was settled long ago goes, a little at a time, and then the room it leaves.
 *
 * - content: when each recipient of its message was sent (`sent` ago) or failed (`failed` ago);
 * - recipients: `history` after they were settled; a message goes with the last of its recipients,
 *   and what content it still has with it;
 * - attempts: `history` after they were made, of dropped messages too; hours likewise;
 * - room: free pages, back to the file system, but for some that are kept (keep_space.c).
 *
 * Nothing is gone through but what goes: each has an index in the order of its time.
 *
 * A pass goes no further than an hour beyond the oldest thing it finds, so that a clock which is
 * wrong by years costs an hour of history a pass, and not all of it (C12).
 */
#ifndef CENMAIL_STORE_KEEP_H
#define CENMAIL_STORE_KEEP_H

#include "store/store.h"

#define KEEP_REACH_MS (60 * 60 * 1000) /* of a pass; and how late is too late */

struct keep_rules { /* ms */
	int64_t sent, failed, history;
};
struct keep_counts {
	uint64_t contents, recipients, messages, attempts, pages;
};
/* Embedded by the caller, who looks at counts only. */
struct keep {
	struct keep_rules rules;
	int64_t now; /* wall ms */
	bool all;
	unsigned stage;
	bool known;     /* what follows is of this stage */
	int64_t oldest; /* ms: what is next in it; INT64_MAX: nothing */
	int64_t limit;  /* what is younger stays */
	struct {        /* how far a walk along what was settled has come */
		int64_t settled, recipient;
	} at, written;
	bool giving_back;
	struct keep_counts counts;
};

/* Begins a pass. all: as far as the rules allow, and no free page is kept. */
void keep_begin(struct keep *k, const struct keep_rules *r, int64_t now, bool all);
/* One step of it: a few milliseconds of work under the lock, or none when there is nothing to do.
 * pressing: somebody waits, so only what is overdue by more than KEEP_REACH_MS. 1: there is more;
 * 0: the pass is over; -1: not now. */
int keep_step(struct store *s, struct keep *k, bool pressing, struct err *e);

#endif
