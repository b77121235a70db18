/*
 * What a relay is given, and how fast: a bucket of recipients for each relay, as SES counts them.
 * It goes from one flusher to the next, so that a new one begins with no second's worth that its
 * predecessor has just used.
 */
#include "flush/flusher.h"

#define LONGEST_MS 3600000 /* to a full bucket, if the clock is the one that it was stored by */

void pacing_open(const struct conf_mail *c, struct relay_end *end, int64_t now)
{
	const struct relay *r = &end->relay;

	bucket_init(&end->pace, (double)(r->has_rate ? r->rate : c->rate) / 1000, now);
}

bool pacing_holds(struct route *r, const struct batch *b, int64_t now)
{
	const int64_t ms = bucket_wait(&r->end[r->at].pace, b->hands, now);

	if (ms > 0)
		r->pace_at = now + ms;
	return ms > 0;
}

void pacing_throttled(struct route *r, struct relay_end *end, const struct batch *b, int64_t now)
{
	bucket_throttled(&end->pace, b->tx.began / 1000, now);
	r->dirty = true;
}

void pacing_well(struct route *r, struct relay_end *end, int64_t now)
{
	if (!bucket_is_slow(&end->pace))
		return;
	bucket_well(&end->pace, now);
	r->dirty |= !bucket_is_slow(&end->pace);
}

void pacing_save(struct relay_end *end, int64_t wall, int64_t now, struct store_relay *ret)
{
	int64_t full_ms;
	double rate;

	bucket_save(&end->pace, now, &full_ms, &rate);
	ret->rate = (int64_t)(rate * 1000);
	ret->full_at = full_ms > 0 ? wall + full_ms : 0;
}

void pacing_restore(struct relay_end *end, const struct store_relay *s, int64_t wall, int64_t now)
{
	const int64_t ms = s->full_at - wall;

	bucket_restore(&end->pace, ms > 0 && ms <= LONGEST_MS ? ms : 0, (double)s->rate / 1000,
		FLUSH_BATCH_MAX, now);
}

/* What is stored once, at a flusher's end: while it lasts it changes with each message. */
bool pacing_is_used(struct route *r, int64_t now)
{
	int64_t full_ms;
	double rate;

	for (unsigned i = 0; i < r->ends; i++) {
		bucket_save(&r->end[i].pace, now, &full_ms, &rate);
		if (full_ms > 0)
			return true;
	}
	return false;
}
