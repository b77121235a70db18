/*
 * What an answer, or the end of a connection, says of the relay and of the message that it met: at
 * whose door it is laid.
 *
 *   the first in flight, of which no content was sent, over a connection that has served others
 *                                    nobody's: some peers end each connection after a few messages
 *   the first in flight otherwise    that message's; and the relay's, where the connection had
 *                                    served none, and was not made for a suspect, and the message
 *                                    has not ended another one before
 *   what was in flight behind it     nobody's
 *
 * What is nobody's is sent again at once, as if nothing had been, and no more than a few times: a
 * message that peers die of, and that hides behind others, is found out.
 */
#include "flush/flying.h"
#include "flush/report.h"

#include "base/clock.h"

#define SPARED_MAX 3 /* times */

/* The connection ended with it, with or without a word. */
static bool ended_with(const struct outcome *o)
{
	return o->step >= STEP_MAIL && !o->unexpected && (o->lost || o->reply.code == 421);
}

/* Nothing of it was said: the connection ended before, or it was taken back from one that stalled.
 */
static bool never_began(const struct way *w, const struct batch *b)
{
	const struct outcome *o = &b->rcpt[0].outcome;

	return w->stalled && o->lost && o->step == STEP_CONNECT;
}

bool blame_spares(struct flusher *f, struct way *w, struct batch *b)
{
	const struct outcome *o = NULL;
	bool first;

	for (unsigned i = 0; i < b->hands && !o; i++)
		if (ended_with(&b->rcpt[i].outcome))
			o = &b->rcpt[i].outcome;
	if (!o)
		return never_began(w, b);
	first = !w->ended;
	w->ended = true;
	if (!o->lost && client_ehlo(link_client(w->link))->xonce)
		return false; /* our listener says whose fault it is */
	if (first && (!w->answered || o->step == STEP_CONTENT)) {
		w->excused = b->spares > 0;
		return false;
	}
	if (o->maybe_sent) /* by the queue, as that has to know where to ask */
		return !idset_has(&f->spared, b->message) && idset_add(&f->spared, b->message);
	return b->spares++ < SPARED_MAX;
}

bool blame_takes_back(struct flusher *f, struct way *w, struct batch *b)
{
	for (unsigned i = 0; i < b->hands; i++) {
		const struct outcome *o = &b->rcpt[i].outcome;

		if (o->maybe_sent || (!ended_with(o) && !never_began(w, b)))
			return false; /* some have an answer of their own */
	}
	log_line(LOG_INFO, "smtp",
		"%010lld: the connection to %s is of no use to it (%s): sent again",
		(long long)b->message, w->end->relay.text, b->rcpt[0].outcome.reply.text);
	flying_done(f, b);
	batch_again(b);
	return true;
}

/* Of a connection that has had a well one beside it, and was refused: there may be no more. */
static void one_too_many(struct relay_end *end, unsigned left, int64_t now)
{
	end->most = left;
	end->more_at = now + FLUSH_MORE_MS;
}

/* A suspect has met its fate: others of them wait for a while, in case the relay is not well. */
static void lone_died(struct route *r, int64_t now)
{
	r->lone_pause_ms = road_backoff(r->lone_pause_ms, FLUSH_BACKOFF_MAX);
	r->lone_at = now + r->lone_pause_ms;
}

/* It was only for want of something better that TLS was tried. */
static void go_clear(struct relay_end *end, const struct outcome *fault)
{
	end->in_clear = true;
	report_road(end->relay.text, fault);
	log_line(LOG_WARNING, "smtp", "warning: %s: mail goes in the clear", end->relay.text);
}

/* An idle connection that the peer closes, and one that we quit, is no fault. But whoever closes
 * them is not asked again at once. One over which messages were answered is made anew. */
void route_ended(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	const struct outcome fault = *client_fault(link_client(w->link));
	const struct way was = *w;
	struct relay_end *end = w->end;
	struct ways left;

	way_free(f, w);
	r->again = true; /* there may be room for another */
	left = ways_to(r, end);
	if (fault.step == STEP_TLS && end->relay.tls == RELAY_TLS_MAY && !end->in_clear) {
		go_clear(end, &fault);
	} else if (was.idle_since != 0 || fault.step == STEP_QUIT) {
		if (end == &r->end[r->at] && !was.lone && !was.stalled)
			r->keep_after = now + FLUSH_IDLE_MS;
	} else if (left.all > 0 && (!was.used || was.crowded) &&
		   (left.used || fault.reply.code != 0)) {
		one_too_many(end, left.all, now);
	} else if (was.lone && was.used) {
		lone_died(r, now);
	} else if (!left.used && !was.excused && (!was.answered || was.crowded)) {
		road_failed(f, r, end, &fault, 0, now);
	}
	if (r->seeking)
		road_turned(r);
}

/* Once it may be the message, twice it is the relay. */
static void blame_relay(struct flusher *f, struct way *w, const struct batch *b,
	const struct outcome *o, const struct verdict *v)
{
	if (w->lone && v->own_mail)
		return; /* it will end, and then lone_died */
	if (!v->own_mail || !w->answered)
		road_failed(f, b->route, w->end, o, v->retry_ms, clock_mono_ms());
	w->answered = false;
}

void route_answered(struct flusher *f, struct way *w, struct batch *b, const struct outcome *o,
	const struct verdict *v)
{
	struct route *r = b->route;
	const int64_t now = clock_mono_ms();

	switch (v->class) {
	case VERDICT_ROAD:
		w->crowded |= v->crowded;
		if (o->lost || o->reply.code == 0 || v->crowded || b->spared)
			return; /* the connection ends */
		if (!b->blamed)
			blame_relay(f, w, b, o, v);
		b->blamed = true;
		return;
	case VERDICT_UNKNOWN:
		return;
	case VERDICT_PACE:
		if (v->throttled)
			pacing_throttled(r, w->end, b, now);
		else
			road_paused(r, w->end, v->reply.text, v->retry_ms, now);
		break;
	case VERDICT_SENT:
		pacing_well(r, w->end, now);
		break;
	case VERDICT_NEVER:
	case VERDICT_LATER:
	case VERDICT_HELD:
		break;
	}
	w->answered = true;
	r->lone_at = r->lone_pause_ms = 0;
	r->refused = false;
	road_well(r, w->end);
}
