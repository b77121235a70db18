/*
 * What becomes of a recipient after a verdict: its state, and when it is tried next. No I/O.
 */
#include "flush/retry.h"

#include "base/random.h"

#include <assert.h>

/* A message is given up for age only after this many tries of its own: the hours in which the
 * road was down are not held against it. With the default backoff they take about seven hours. */
#define TRIES_BEFORE_EXPIRY 12

int64_t retry_backoff(const struct retry_rules *rules, unsigned tries)
{
	int64_t ms = rules->retry_min;
	int64_t spread;

	for (unsigned i = 0; i < tries && ms < rules->retry_max; i++)
		ms *= 2;
	if (ms > rules->retry_max)
		ms = rules->retry_max;
	spread = ms / 4;
	ms += (int64_t)random_below((uint64_t)spread * 2 + 1) - spread;
	if (ms < rules->retry_min)
		return rules->retry_min;
	return ms > rules->retry_max ? rules->retry_max : ms;
}

struct retry retry_after(const struct verdict *v, const struct retry_rules *rules, unsigned tries,
	int64_t since, int64_t now, bool exact)
{
	const struct retry at_once = { .state = STORE_QUEUED, .next_try = now };
	const struct retry back_off = {
		.state = STORE_QUEUED,
		.counts = true,
		.next_try = now + retry_backoff(rules, tries),
	};

	switch (v->class) {
	case VERDICT_SENT:
		return (struct retry) { .state = STORE_SENT, .counts = true, .next_try = now };
	case VERDICT_NEVER:
		return (struct retry) { .state = STORE_FAILED, .counts = true, .next_try = now };
	case VERDICT_HELD:
		return (struct retry) { .state = STORE_HELD, .counts = true, .next_try = now };
	case VERDICT_LATER:
		if (tries + 1 >= TRIES_BEFORE_EXPIRY && now - since > rules->lifetime)
			return (struct retry) {
				.state = STORE_FAILED, .counts = true, .next_try = now
			};
		return back_off;
	case VERDICT_PACE:
		return at_once;
	case VERDICT_ROAD:
		if (!v->own_mail)
			return at_once;
		if (exact && tries == 0)
			return (struct retry) {
				.state = STORE_QUEUED, .counts = true, .next_try = now
			};
		return back_off;
	case VERDICT_UNKNOWN:
		return back_off;
	}
	assert(!"a verdict of no class");
	return at_once;
}
