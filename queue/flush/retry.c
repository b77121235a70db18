/*
 * What becomes of a recipient after a verdict: its state, and when it is tried next. No I/O.
 */
#include "flush/retry.h"

#include <assert.h>

/* Past lifetime_max, the part of its lifetime that it must have been tried for. */
#define TRIED_AT_LEAST 4

#define AN_HOUR (INT64_C(60) * 60 * 1000)
#define A_STEP  (INT64_C(60) * 1000) /* back, by which a clock is put right without our notice */

/* The pause after so many tries, without jitter. */
static int64_t pause_after(const struct retry_rules *rules, unsigned tries)
{
	int64_t ms = rules->retry_min;

	for (unsigned i = 0; i < tries && ms < rules->retry_max; i++)
		ms *= 2;
	return ms < rules->retry_max ? ms : rules->retry_max;
}

/* All of them up to the last try. */
static int64_t pauses_of(const struct retry_rules *rules, unsigned tries)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < tries; i++) {
		const int64_t ms = pause_after(rules, i);

		if (ms == rules->retry_max)
			return sum + ms * (tries - i);
		sum += ms;
	}
	return sum;
}

/* SplitMix64's last step: seeds that differ by one have nothing in common after it. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

int64_t retry_backoff(const struct retry_rules *rules, unsigned tries, uint64_t seed)
{
	int64_t ms = pause_after(rules, tries);
	const int64_t spread = ms / 4;

	ms += (int64_t)(mix(seed + tries * UINT64_C(0x9e3779b97f4a7c15)) %
			((uint64_t)spread * 2 + 1)) -
	      spread;
	if (ms < rules->retry_min)
		return rules->retry_min;
	return ms > rules->retry_max ? rules->retry_max : ms;
}

int64_t retry_horizon(int64_t retry_max)
{
	return (retry_max > AN_HOUR ? retry_max : AN_HOUR) + A_STEP;
}

/* Where the clock has gone back beyond its beginning, what it was tried for. */
static int64_t age_of(const struct retry_rules *rules, const struct retry_facts *f)
{
	return f->now >= f->since ? f->now - f->since : pauses_of(rules, f->tries);
}

bool retry_needs_down(const struct retry_rules *rules, const struct retry_facts *f)
{
	return age_of(rules, f) >= rules->lifetime && pauses_of(rules, f->tries) >= rules->lifetime;
}

static bool is_over(const struct retry_rules *rules, const struct retry_facts *f)
{
	const int64_t age = age_of(rules, f), tried = pauses_of(rules, f->tries);

	if (age - f->down >= rules->lifetime && tried >= rules->lifetime)
		return true;
	return age >= rules->lifetime_max && tried >= rules->lifetime / TRIED_AT_LEAST;
}

/* Not now: later, or when its lifetime is over never. */
static struct retry put_off(const struct retry_rules *rules, const struct retry_facts *f)
{
	if (is_over(rules, f))
		return (struct retry) { STORE_FAILED, true, f->now };
	return (struct retry) { STORE_QUEUED, true,
		f->now + retry_backoff(rules, f->tries, f->seed) };
}

struct retry retry_after(
	const struct verdict *v, const struct retry_rules *rules, const struct retry_facts *f)
{
	switch (v->class) {
	case VERDICT_SENT:
		return (struct retry) { STORE_SENT, true, f->now };
	case VERDICT_NEVER:
		return (struct retry) { STORE_FAILED, true, f->now };
	case VERDICT_HELD:
		return (struct retry) { STORE_HELD, true, f->now };
	case VERDICT_LATER:
		return put_off(rules, f);
	case VERDICT_PACE:
		return (struct retry) { STORE_QUEUED, false, f->now };
	case VERDICT_ROAD:
	case VERDICT_UNKNOWN:
		if (!v->own_mail && (v->class == VERDICT_ROAD || v->maybe_sent))
			return (struct retry) { STORE_QUEUED, false, f->now };
		if (f->exact && f->tries == 0 && (v->class == VERDICT_ROAD || v->maybe_sent))
			return (struct retry) { STORE_QUEUED, true, f->now };
		return put_off(rules, f);
	}
	assert(!"a verdict of no class");
	return put_off(rules, f);
}
