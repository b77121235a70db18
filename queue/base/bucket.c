/*
 * The token bucket.
 */
#include "base/bucket.h"

#define SLOWEST      (1.0 / 16) /* of rate_max */
#define CREEP_MS     60000      /* from nothing to rate_max */
#define CREEP_MOST   1000       /* ms that one success stands for */
#define UNKNOWN_RATE 64.0       /* what throttling halves where no rate is configured */

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

void bucket_take(struct bucket *b, unsigned n, int64_t now_ms)
{
	if (b->rate <= 0)
		return;
	refill(b, now_ms);
	b->tokens -= n;
}

void bucket_throttled(struct bucket *b, int64_t began_ms, int64_t now_ms)
{
	double max = b->rate_max > 0 ? b->rate_max : UNKNOWN_RATE;

	if (began_ms < b->lowered)
		return;
	if (b->rate <= 0)
		b->rate = max;
	refill(b, now_ms);
	b->rate = b->rate / 2 > max * SLOWEST ? b->rate / 2 : max * SLOWEST;
	if (b->tokens > 0)
		b->tokens = 0;
	b->lowered = b->raised = now_ms;
}

void bucket_well(struct bucket *b, int64_t now_ms)
{
	double max = b->rate_max > 0 ? b->rate_max : UNKNOWN_RATE;
	int64_t ms = now_ms - b->raised;

	if (b->rate <= 0 || (b->rate_max > 0 && b->rate >= b->rate_max))
		return;
	refill(b, now_ms);
	b->rate += max * (double)(ms < CREEP_MOST ? ms : CREEP_MOST) / CREEP_MS;
	b->raised = now_ms;
	if (b->rate >= max)
		b->rate = b->rate_max;
}
