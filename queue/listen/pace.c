/*
 * The pace. SES counts the recipients of any 24 hours; here an hour's leave the count together,
 * once the last of them is a day old.
 */
#include "listen/pace.h"

#include <string.h>

#define HOUR_MS ((int64_t)3600000)

void pace_init(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms)
{
	*p = (struct pace) { .quota = quota, .turned = now_ms };
	bucket_init(&p->bucket, (double)millirate / 1000, now_ms);
	pthread_mutex_init(&p->lock, NULL);
}

void pace_done(struct pace *p)
{
	pthread_mutex_destroy(&p->lock);
}

void pace_set(struct pace *p, uint64_t millirate, uint64_t quota, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	bucket_set_rate(&p->bucket, (double)millirate / 1000, now_ms);
	p->quota = quota;
	p->paused_until = now_ms;
	pthread_mutex_unlock(&p->lock);
}

/* --- the hours --- */

static void sum_up(struct pace *p)
{
	p->used = 0;
	for (unsigned i = 0; i < PACE_HOURS; i++)
		p->used += p->given.hour[i];
}

static void turn_by(struct pace *p, int64_t hours)
{
	unsigned n = hours < PACE_HOURS ? (unsigned)hours : PACE_HOURS;
	struct pace_given *g = &p->given;

	memmove(g->hour + n, g->hour, (PACE_HOURS - n) * sizeof *g->hour);
	memset(g->hour, 0, n * sizeof *g->hour);
	sum_up(p);
}

static void turn(struct pace *p, int64_t now_ms)
{
	int64_t hours = (now_ms - p->turned) / HOUR_MS;

	if (hours > 0) {
		turn_by(p, hours);
		p->turned += hours * HOUR_MS;
	}
}

/* In how many ms n more fit into the quota. */
static int64_t quota_wait(struct pace *p, unsigned n, int64_t now_ms)
{
	uint64_t used = p->used;

	if (p->quota == 0 || used + n <= p->quota)
		return 0;
	/* The oldest go first: those of i hours ago when i more than the last have turned. */
	for (unsigned i = PACE_HOURS - 1; i > 0; i--) {
		used -= p->given.hour[i];
		if (used + n <= p->quota)
			return p->turned + (PACE_HOURS - i) * HOUR_MS - now_ms;
	}
	return p->turned + PACE_HOURS * HOUR_MS - now_ms;
}

/* --- */

enum pace_says pace_take(
	struct pace *p, unsigned n, bool again, int64_t wait_max, int64_t now_ms, int64_t *ret_ms)
{
	enum pace_says says = PACE_QUOTA;
	int64_t ms;

	pthread_mutex_lock(&p->lock);
	turn(p, now_ms);
	ms = again ? 0 : quota_wait(p, n, now_ms);
	if (p->paused_until - now_ms > ms)
		ms = p->paused_until - now_ms;
	if (ms == 0) {
		ms = bucket_wait(&p->bucket, n, now_ms);
		says = ms > wait_max ? PACE_RATE : PACE_TAKEN;
	}
	if (says == PACE_TAKEN) {
		bucket_take(&p->bucket, n, now_ms);
		p->given.hour[0] += again ? 0 : n;
		p->used += again ? 0 : n;
	}
	pthread_mutex_unlock(&p->lock);
	*ret_ms = ms;
	return says;
}

void pace_not_sent(struct pace *p, unsigned n)
{
	pthread_mutex_lock(&p->lock);
	/* The hour may have turned meanwhile: those of the one before stay in the count. */
	uint64_t back = n < p->given.hour[0] ? n : p->given.hour[0];
	p->given.hour[0] -= back;
	p->used -= back;
	pthread_mutex_unlock(&p->lock);
}

void pace_throttled(struct pace *p, int64_t began_ms, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	bucket_throttled(&p->bucket, began_ms, now_ms);
	pthread_mutex_unlock(&p->lock);
}

void pace_pause(struct pace *p, int64_t ms, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	if (now_ms + ms > p->paused_until)
		p->paused_until = now_ms + ms;
	pthread_mutex_unlock(&p->lock);
}

void pace_went_well(struct pace *p, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	bucket_well(&p->bucket, now_ms);
	pthread_mutex_unlock(&p->lock);
}

void pace_save(struct pace *p, int64_t now_ms, struct pace_given *ret)
{
	pthread_mutex_lock(&p->lock);
	turn(p, now_ms);
	*ret = p->given;
	ret->into_ms = now_ms - p->turned;
	pthread_mutex_unlock(&p->lock);
}

void pace_restore(
	struct pace *p, const struct pace_given *given, int64_t elapsed_ms, int64_t now_ms)
{
	int64_t into = given->into_ms + (elapsed_ms > 0 ? elapsed_ms : 0);

	pthread_mutex_lock(&p->lock);
	p->given = *given;
	turn_by(p, into / HOUR_MS);
	p->turned = now_ms - into % HOUR_MS;
	pthread_mutex_unlock(&p->lock);
}
