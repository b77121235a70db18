/*
 * struct pace: how fast SES may be given recipients: a token bucket that holds one second's worth,
 * shared by all workers, and the day's quota. SES's throttling halves the rate, successes let it
 * creep back.
 */
#ifndef CENMAIL_PACE_H
#define CENMAIL_PACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pace {
	pthread_mutex_t lock;
	double rate, rate_max; /* recipients a second; rate_max 0: no limit */
	double tokens;         /* below 0: promised already */
	int64_t at;            /* when `tokens` was true, monotonic ms */
	uint64_t quota, used;  /* recipients; since day_began */
	int64_t day_began;
};

/* millirate: recipients a second, times 1000; 0: no limit. quota: a day; 0: no limit. */
void pace_init(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms);
void pace_done(struct pace *p);
/* Other limits from now on; what was used of the day's stays used. */
void pace_set(struct pace *p, uint64_t millirate, uint64_t quota);
/* Takes n; answers how many ms from now they may be sent. -1: the quota is used up, and *ret_retry
 * says for how many more ms; nothing was taken. again: they are in the quota already. */
int64_t pace_take(struct pace *p, unsigned n, bool again, int64_t now_ms, int64_t *ret_retry);
/* Of those that were taken, n were not given to SES after all: the quota is not theirs. */
void pace_not_sent(struct pace *p, unsigned n);
void pace_throttled(struct pace *p);
void pace_went_well(struct pace *p);

#endif
