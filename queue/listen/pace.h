/*
 * struct pace: how fast SES may be given recipients: a token bucket shared by all workers, and the
 * quota of any 24 hours, kept by the hour. What was given outlives a restart by the journal, which
 * asks for it (pace_save) and gives it back (pace_restore). Times are monotonic ms.
 */
#ifndef CENMAIL_PACE_H
#define CENMAIL_PACE_H

#include "base/bucket.h"

#include <pthread.h>
#include <stdbool.h>

#define PACE_HOURS 25 /* the one under way, and 24 whole ones */

struct pace_given { /* recipients, by hours ago; [0]: in the hour under way */
	uint64_t hour[PACE_HOURS];
	int64_t into_ms; /* of that hour; in a copy */
};

struct pace {
	pthread_mutex_t lock;
	struct bucket bucket;
	uint64_t quota, used;    /* used: the sum of given */
	struct pace_given given; /* as of `turned` */
	int64_t turned;          /* when the hour under way began */
	int64_t paused_until;    /* SES said that its quota is used up */
};

/* millirate: recipients a second, times 1000; 0: no limit. quota: in 24 hours; 0: no limit. */
void pace_init(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms);
void pace_done(struct pace *p);
/* Other limits from now on; what was used of the day's stays used. SES is asked again what it says
 * of its own. */
void pace_set(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms);

enum pace_says {
	PACE_TAKEN, /* they may be sent in *ret_ms */
	PACE_RATE,  /* that would be later than wait_max: nothing was taken; *ret_ms as before */
	PACE_QUOTA, /* the day's quota is used up, and has room again in *ret_ms; nothing taken */
};
/* Takes n. again: they are in the quota already. */
enum pace_says pace_take(
	struct pace *p, unsigned n, bool again, int64_t wait_max, int64_t now_ms, int64_t *ret_ms);
/* Of those that were taken, n were not given to SES after all: the quota is not theirs. */
void pace_not_sent(struct pace *p, unsigned n);
/* SES said 454 to a transaction that began then. */
void pace_throttled(struct pace *p, int64_t began_ms, int64_t now_ms);
/* SES said that its own quota is used up: nothing is given to it for so long. */
void pace_pause(struct pace *p, int64_t ms, int64_t now_ms);
void pace_went_well(struct pace *p, int64_t now_ms);

/* A copy. */
void pace_save(struct pace *p, int64_t now_ms, struct pace_given *ret);
/* What was given by a process before this one, which saved it elapsed_ms ago. Below 0, as after the
 * clock went back, is 0: so nothing is forgotten, nor kept for longer than a day. */
void pace_restore(
	struct pace *p, const struct pace_given *given, int64_t elapsed_ms, int64_t now_ms);

#endif
