/*
 * What becomes of a recipient after a verdict: its state, and when it is tried next. No I/O.
 *
 * A message is given up by an answer about itself and by nothing else; but what was tried for a
 * lifetime in vain is, with the next such answer. What is charged to that lifetime is the time
 * since it began without the hours in which its road was down, and never more than the pauses
 * between its own tries come to: neither the weeks in which no flusher ran nor a clock that steps
 * are held against it. Past lifetime_max the road's hours count as well; it must have been tried
 * for a quarter of its lifetime all the same.
 */
#ifndef CENMAIL_RETRY_H
#define CENMAIL_RETRY_H

#include "base/verdict.h"
#include "store/store.h"

struct retry_rules {
	int64_t retry_min, retry_max, lifetime, lifetime_max; /* milliseconds */
};

/* One recipient, at its verdict. */
struct retry_facts {
	unsigned tries; /* before this one */
	int64_t since;  /* wall ms: when its lifetime began */
	int64_t down;   /* ms since then in which its road was down */
	int64_t now;    /* wall ms */
	/* The peer keeps a journal: a second try doubles nothing, and the first one after a broken
	 * connection may be made at once. */
	bool exact;
	/* For jitter: what has the same seed and the same number of tries comes due together, as
	 * the recipients of one message should. */
	uint64_t seed;
};

struct retry {
	enum store_state state;
	bool counts;      /* tries goes up */
	int64_t next_try; /* wall ms */
};

struct retry retry_after(
	const struct verdict *v, const struct retry_rules *rules, const struct retry_facts *f);

/* Whether `down` of the facts can make a difference: it costs a look into the queue. */
bool retry_needs_down(const struct retry_rules *rules, const struct retry_facts *f);

/* How far ahead a next_try may lie; beyond it, it is of a clock that was set back, and due. No
 * pause is longer than retry_max, and by hand an hour is the most (schema.sql). */
int64_t retry_horizon(int64_t retry_max);

/* retry_min doubled for each try, at most retry_max, spread by up to a quarter so that what failed
 * together does not come back together. */
int64_t retry_backoff(const struct retry_rules *rules, unsigned tries, uint64_t seed);

#endif
