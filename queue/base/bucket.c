/*
 * The token bucket.
 */
#include "base/bucket.h"

#define SLOWEST      (1.0 / 16) /* of rate_max, */
#define SLOWEST_SURE 1.0        /* and no more than any account has */
#define CREEP_MS     60000      /* from nothing to rate_max */
#define CREEP_MOST   1000       /* ms that one success stands for */

/* To where the rate creeps back. */
static double highest(const struct bucket *b)
{
	return b->rate_max > 0 ? b->rate_max : b->known;
}

/* No throttling leads below it. */
static double slowest(const struct bucket *b)
{
	return b->rate_max > 0 && b->rate_max * SLOWEST < SLOWEST_SURE ? b->rate_max * SLOWEST
								       : SLOWEST_SURE;
}

static double full(const struct bucket *b)
{
	return b->rate > 1 ? b->rate : 1;
}

void bucket_init(struct bucket *b, double rate, int64_t now_ms)
{
	*b = (struct bucket) { .rate = rate, .rate_max = rate, .at = now_ms };
	b->tokens = full(b);
	b->lowered = b->raised = now_ms - CREEP_MS;
}

static void refill(struct bucket *b, int64_t now_ms)
{
	if (now_ms > b->at) {
		b->tokens += (double)(now_ms - b->at) / 1000 * b->rate;
		b->at = now_ms;
	}
	if (b->tokens > full(b))
		b->tokens = full(b);
}

void bucket_set_rate(struct bucket *b, double rate, int64_t now_ms)
{
	refill(b, now_ms);
	if (b->rate <= 0) /* nothing was counted till now */
		b->tokens = 0;
	if (b->rate <= 0 || b->rate >= b->rate_max || (rate > 0 && b->rate >= rate))
		b->rate = rate;
	b->known = highest(b);
	b->rate_max = rate;
}

int64_t bucket_wait(struct bucket *b, unsigned n, int64_t now_ms)
{
	if (b->rate <= 0)
		return 0;
	refill(b, now_ms);
	double need = n < full(b) ? n : full(b);
	return b->tokens >= need ? 0 : (int64_t)((need - b->tokens) / b->rate * 1000) + 1;
}

/* Where there is no limit, how fast it goes. */
static void note_taken(struct bucket *b, unsigned n, int64_t now_ms)
{
	const int64_t second = now_ms / 1000;

	if (second != b->second) {
		b->before = second == b->second + 1 ? b->taken : 0;
		b->taken = 0;
		b->second = second;
	}
	b->taken += n;
}

static double taken_of_late(struct bucket *b, int64_t now_ms)
{
	note_taken(b, 0, now_ms);
	const unsigned n = b->taken > b->before ? b->taken : b->before;
	return n > 1 ? n : 1;
}

void bucket_take(struct bucket *b, unsigned n, int64_t now_ms)
{
	if (b->rate <= 0) {
		note_taken(b, n, now_ms);
		return;
	}
	refill(b, now_ms);
	b->tokens -= n;
}

void bucket_throttled(struct bucket *b, int64_t began_ms, int64_t now_ms)
{
	const double least = slowest(b);

	if (began_ms < b->lowered)
		return;
	if (b->rate <= 0) {
		b->rate = b->known = taken_of_late(b, now_ms);
		b->at = now_ms;
		b->tokens = 0;
	}
	refill(b, now_ms);
	b->rate = b->rate / 2 > least ? b->rate / 2 : least;
	if (b->tokens > 0)
		b->tokens = 0;
	b->lowered = b->raised = now_ms;
}

void bucket_well(struct bucket *b, int64_t now_ms)
{
	const double max = highest(b);
	const int64_t ms = now_ms - b->raised;

	if (!bucket_is_slow(b))
		return;
	refill(b, now_ms);
	b->rate += max * (double)(ms < CREEP_MOST ? ms : CREEP_MOST) / CREEP_MS;
	b->raised = now_ms;
	if (b->rate >= max)
		b->rate = b->rate_max;
}

bool bucket_is_slow(const struct bucket *b)
{
	return b->rate > 0 && (b->rate_max <= 0 || b->rate < b->rate_max);
}

void bucket_save(struct bucket *b, int64_t now_ms, int64_t *ret_full_ms, double *ret_rate)
{
	*ret_full_ms = 0;
	*ret_rate = bucket_is_slow(b) ? b->rate : 0;
	if (b->rate <= 0)
		return;
	refill(b, now_ms);
	*ret_full_ms = (int64_t)((full(b) - b->tokens) / b->rate * 1000 + 0.5);
}

void bucket_restore(struct bucket *b, int64_t full_ms, double rate, unsigned most, int64_t now_ms)
{
	if (rate > 0 && (b->rate_max <= 0 || rate < b->rate_max)) {
		b->rate = rate > slowest(b) ? rate : slowest(b);
		b->known = b->rate * 2;
		b->lowered = b->raised = now_ms;
	}
	if (b->rate > 0)
		b->tokens = full(b) - (double)full_ms / 1000 * b->rate;
	if (b->tokens < -(double)most)
		b->tokens = -(double)most;
	b->at = now_ms;
}
