/*
 * The token bucket.
 */
#include "listen/pace.h"

#define DAY_MS       ((int64_t)86400000)
#define SLOWEST      (1.0 / 16) /* of rate_max */
#define CREEP        1.02       /* for each success */
#define UNKNOWN_RATE 64.0       /* what throttling halves where no rate is configured */

void pace_init(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms)
{
	*p = (struct pace) { .rate_max = (double)millirate / 1000, .quota = quota };
	p->rate = p->rate_max;
	p->tokens = p->rate > 1 ? p->rate : 1;
	p->at = p->day_began = now_ms;
	pthread_mutex_init(&p->lock, NULL);
}

void pace_done(struct pace *p)
{
	pthread_mutex_destroy(&p->lock);
}

void pace_set(struct pace *p, uint64_t millirate, uint64_t quota)
{
	pthread_mutex_lock(&p->lock);
	double max = (double)millirate / 1000;
	/* What throttling has taught stays, as far as it is no more than is allowed now. */
	if (max != p->rate_max)
		p->rate = p->rate > 0 && p->rate < p->rate_max && p->rate < max ? p->rate : max;
	p->rate_max = max;
	p->quota = quota;
	pthread_mutex_unlock(&p->lock);
}

static int64_t take_tokens(struct pace *p, unsigned n, int64_t now_ms)
{
	double full = p->rate > 1 ? p->rate : 1;

	if (p->rate <= 0)
		return 0;
	p->tokens += (double)(now_ms - p->at) / 1000 * p->rate;
	if (p->tokens > full)
		p->tokens = full;
	p->at = now_ms;
	p->tokens -= n;
	return p->tokens >= 0 ? 0 : (int64_t)(-p->tokens / p->rate * 1000) + 1;
}

int64_t pace_take(struct pace *p, unsigned n, bool again, int64_t now_ms, int64_t *ret_retry)
{
	int64_t wait = -1;

	pthread_mutex_lock(&p->lock);
	if (now_ms - p->day_began >= DAY_MS) {
		p->day_began = now_ms;
		p->used = 0;
	}
	if (p->quota > 0 && !again && p->used + n > p->quota) {
		*ret_retry = p->day_began + DAY_MS - now_ms;
	} else {
		p->used += again ? 0 : n;
		wait = take_tokens(p, n, now_ms);
	}
	pthread_mutex_unlock(&p->lock);
	return wait;
}

void pace_not_sent(struct pace *p, unsigned n)
{
	pthread_mutex_lock(&p->lock);
	p->used -= n < p->used ? n : p->used; /* the day may have changed */
	pthread_mutex_unlock(&p->lock);
}

void pace_throttled(struct pace *p)
{
	pthread_mutex_lock(&p->lock);
	double max = p->rate_max > 0 ? p->rate_max : UNKNOWN_RATE;
	if (p->rate <= 0)
		p->rate = max;
	p->rate = p->rate / 2 > max * SLOWEST ? p->rate / 2 : max * SLOWEST;
	if (p->tokens > 0)
		p->tokens = 0;
	pthread_mutex_unlock(&p->lock);
}

void pace_went_well(struct pace *p)
{
	pthread_mutex_lock(&p->lock);
	double max = p->rate_max > 0 ? p->rate_max : UNKNOWN_RATE;
	if (p->rate > 0 && p->rate < max)
		p->rate *= CREEP;
	if (p->rate >= max)
		p->rate = p->rate_max;
	pthread_mutex_unlock(&p->lock);
}
