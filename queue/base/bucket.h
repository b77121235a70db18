/*
 * struct bucket: a token bucket that holds one second's worth and adapts: throttling halves its
 * rate (where there is none, what was taken of late), successes let it creep back. It may be
 * overdrawn by one batch, so that a batch that is larger than a second's worth goes at once, and
 * what comes after it waits. No lock and no clock: times are the caller's, monotonic milliseconds.
 */
#ifndef CENMAIL_BUCKET_H
#define CENMAIL_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	double rate, rate_max; /* a second; rate_max 0: no limit */
	double tokens;         /* below 0: promised already */
	int64_t at;            /* when `tokens` was true */
	int64_t lowered, raised;
	double known;           /* without a limit: what had been taken when throttling began */
	int64_t second;         /* without a limit: the one that is counted, */
	unsigned taken, before; /* and what was taken in it, and in the one before */
};

/* rate: a second; 0: no limit. */
void bucket_init(struct bucket *b, double rate, int64_t now_ms);
/* Another rate from now on. What is promised stays promised, and what throttling has taught stays
 * as far as it is no more than is allowed now. */
void bucket_set_rate(struct bucket *b, double rate, int64_t now_ms);
/* In how many ms n may go; 0: now. Takes nothing. */
int64_t bucket_wait(struct bucket *b, unsigned n, int64_t now_ms);
void bucket_take(struct bucket *b, unsigned n, int64_t now_ms);
/* Something that began at began_ms was throttled. What began before the rate was last lowered
 * lowers it no further: several that were on their way are one event. */
void bucket_throttled(struct bucket *b, int64_t began_ms, int64_t now_ms);
/* Something went well: a minute of successes leads from nothing to the full rate. */
void bucket_well(struct bucket *b, int64_t now_ms);
/* Whether throttling has lowered the rate, and it has not come back yet. */
bool bucket_is_slow(const struct bucket *b);

/* For a process that goes on with it: in how many ms it is full, 0: it is; and the rate that
 * throttling has taught, 0: none. */
void bucket_save(struct bucket *b, int64_t now_ms, int64_t *ret_full_ms, double *ret_rate);
/* In a bucket that has just been initialised. What bucket_save can't have said is brought to what
 * it can: a rate that no throttling leads to, and more than `most` promised, the largest batch. */
void bucket_restore(struct bucket *b, int64_t full_ms, double rate, unsigned most, int64_t now_ms);

#endif
