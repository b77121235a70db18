/*
 * What becomes of a recipient after a verdict: its state, and when it is tried next. No I/O.
 */
#ifndef CENMAIL_RETRY_H
#define CENMAIL_RETRY_H

#include "base/verdict.h"
#include "store/store.h"

struct retry_rules {
	int64_t retry_min, retry_max, lifetime; /* milliseconds */
};

struct retry {
	enum store_state state;
	bool counts;      /* tries goes up */
	int64_t next_try; /* wall ms */
};

/* tries: those before this one. since: when its lifetime began. exact: the peer keeps a journal,
 * so that a second try doubles nothing and the first one after a broken connection may be made at
 * once. */
struct retry retry_after(const struct verdict *v, const struct retry_rules *rules, unsigned tries,
	int64_t since, int64_t now, bool exact);

/* retry_min doubled for each try, at most retry_max, spread by up to a quarter so that what failed
 * together does not come back together. */
int64_t retry_backoff(const struct retry_rules *rules, unsigned tries);

#endif
