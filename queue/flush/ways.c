/*
 * A route's connections: how many, to which relay, and what they may carry.
 *
 * All go to one relay, the one in use. While that is not the first one, and a relay before it may
 * be asked again, one connection more asks it: a probe. When the probe is ready the road turns:
 * what is in flight is answered, the other connections end, and what comes then goes by the
 * probe's.
 */
#include "flush/flusher.h"

#include "base/clock.h"

bool route_open(const struct route *r, int64_t now)
{
	return r->resume_at == 0 || now >= r->resume_at;
}

bool route_takes(const struct route *r, const struct way *w)
{
	return w->link && !w->stalled && !r->seeking && w->end == &r->end[r->at] &&
	       (r->ends == 1 || r->stored_at == r->at) &&
	       client_state(link_client(w->link)) == CLIENT_READY;
}

struct ways ways_to(const struct route *r, const struct relay_end *end)
{
	struct ways n = { 0 };

	for (unsigned i = 0; i < r->ways; i++) {
		const struct way *w = &r->way[i];

		if (!w->link || w->end != end)
			continue;
		n.all++;
		if (w->stalled)
			continue;
		n.lone += w->lone;
		n.plain += !w->lone;
		n.used |= w->used;
	}
	return n;
}

unsigned route_connections(const struct conf_mail *c, const struct relay_end *end)
{
	return end->relay.connections > 0 ? end->relay.connections : (unsigned)c->connections;
}

/* How many there may be in all, with those that stalled and the one for suspects. One that refused
 * a connection beside others has as many as it wants, for a while. */
static unsigned ceiling(const struct flusher *f, struct relay_end *end, int64_t now)
{
	const unsigned most = route_connections(f->conf, end) + FLUSH_WAYS_MORE;

	if (end->most != 0 && now >= end->more_at) {
		end->most = end->most + 1 < most ? end->most + 1 : 0;
		end->more_at = now + FLUSH_MORE_MS;
	}
	return end->most != 0 ? end->most : most;
}

/* Whether one is kept when it is idle, for new mail: a peer with a journal does not mind. */
static bool keeps_idle(const struct relay_end *end)
{
	return end->met ? end->xonce : end->relay.lmtp;
}

/* How many connections the route wants now, beside the one for suspects: one while it lingers on a
 * relay that keeps idle ones, one for each batch that waits, at most what is configured; no more
 * while the pace holds them. */
static unsigned wanted(const struct flusher *f, const struct route *r, int64_t now)
{
	const struct relay_end *end = &r->end[r->at];
	const unsigned most = route_connections(f->conf, end);
	unsigned n = r->waiting.batches;

	if (now < r->pace_at)
		n = 0;
	if (n > most)
		n = most;
	if (n == 0 && f->linger && !f->closing && now >= r->keep_after && keeps_idle(end))
		n = 1;
	return n;
}

/* Nothing else waits or is in flight, but what stalled. */
static bool is_quiet(struct route *r)
{
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && !r->way[i].stalled &&
			client_flying(link_client(r->way[i].link)) > 0)
			return false;
	return !fair_peek(&r->waiting);
}

/* Whether it is the suspects' turn: when nothing else is to be done, or not for too long. When it
 * is looked again is in r->lone_next. */
static bool lone_wanted(struct route *r, int64_t now)
{
	r->lone_next = 0;
	if (r->waiting.suspects == 0) {
		r->lone_since = 0;
		return false;
	}
	if (r->lone_since == 0)
		r->lone_since = now;
	if (now < r->lone_at) {
		r->lone_next = r->lone_at;
		return false;
	}
	if (now >= r->lone_since + FLUSH_LONE_MS || is_quiet(r))
		return now >= r->pace_at;
	r->lone_next = r->lone_since + FLUSH_LONE_MS;
	return false;
}

/* A connection for suspects; where there can be none more, one of the others becomes it. */
static void open_lone(struct flusher *f, struct route *r, bool more, int64_t now)
{
	struct relay_end *end = &r->end[r->at];

	if (more) {
		struct way *w = way_open(f, r, end, now);
		if (w)
			w->lone = true;
		return;
	}
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].end == end && route_takes(r, &r->way[i])) {
			r->way[i].lone = true;
			return;
		}
}

/* A relay before the one in use, that may be asked again; NULL: none. */
static struct relay_end *better(const struct route *r, int64_t now)
{
	for (unsigned i = 0; i < r->at; i++)
		if (road_end_open(&r->end[i], now))
			return &r->end[i];
	return NULL;
}

/* What a flusher that was killed had in flight only the relay in use knows, and what is in doubt
 * was brought to it: all that is due is answered there first, or had its time. */
static bool may_leave(const struct route *r, int64_t now)
{
	return now >= r->probe_at || (r->waiting.recipients == 0 && flight_on(r) == 0);
}

static void probe(struct flusher *f, struct route *r, int64_t now)
{
	struct relay_end *end = may_leave(r, now) ? better(r, now) : NULL;

	if (end && ways_to(r, end).all == 0)
		way_open(f, r, end, now);
}

/* While the road turns: connections that nobody waits for any longer. */
static void turn_on(struct flusher *f, struct route *r)
{
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && !r->way[i].used && r->way[i].end != &r->end[r->seek_to])
			way_free(f, &r->way[i]);
	road_turned(r);
}

void route_tend(struct flusher *f, struct route *r, int64_t now)
{
	struct ways have;
	unsigned n, most;

	r->again = false;
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link)
			way_watch(&r->way[i], now);
	if (r->seeking)
		turn_on(f, r);
	if (!route_open(r, now) || r->seeking)
		return;
	if (r->resume_at != 0) {
		r->resume_at = 0;
		f->look = true; /* while it was closed little was taken for it */
	}
	road_choose(r, now);
	if (r->seeking)
		return;
	n = wanted(f, r, now);
	most = ceiling(f, &r->end[r->at], now);
	have = ways_to(r, &r->end[r->at]);
	/* While the first is not up, the others wait: a dead relay is knocked at once. */
	for (; have.plain < n && have.all < most && (have.plain == 0 || have.used); have.plain++) {
		if (!way_open(f, r, &r->end[r->at], now))
			break;
		have.all++;
	}
	if (have.lone == 0 && (have.used || have.plain == 0) && lone_wanted(r, now))
		open_lone(f, r, have.all < most, now);
	if (have.used && r->at > 0)
		probe(f, r, now);
}

void route_ready(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	struct client *c = link_client(w->link);

	if (!w->used) {
		w->used = true;
		w->end->met = true;
		w->end->xonce = client_ehlo(c)->xonce;
		if (w->end < &r->end[r->at] && !r->seeking)
			road_turn(r, (unsigned)(w->end - r->end));
	}
	/* Where a message waits, its answer is what counts. */
	if (w->end->down_since != 0 && r->waiting.recipients == 0 && client_flying(c) == 0 &&
		w->end == &r->end[r->at] && !r->seeking)
		road_well(r, w->end);
}

bool route_probing(const struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++) {
		const struct route *r = &f->route[i];

		for (unsigned k = 0; k < r->ways && r->at > 0; k++)
			if (r->way[k].link && !r->way[k].used && r->way[k].end != &r->end[r->at])
				return true;
	}
	return false;
}

int64_t route_deadline(const struct route *r)
{
	int64_t at = r->resume_at != 0 ? r->resume_at : INT64_MAX;

	if (r->again)
		return 0;
	if (r->dirty && r->store_at < at)
		at = r->store_at;
	if (r->pace_at != 0 && r->pace_at < at)
		at = r->pace_at;
	if (r->lone_next != 0 && r->lone_next < at)
		at = r->lone_next;
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && r->way[i].watch_at != 0 && r->way[i].watch_at < at)
			at = r->way[i].watch_at;
	if (r->at == 0 || r->seeking || r->resume_at != 0 || ways_to(r, &r->end[r->at]).all == 0)
		return at;
	for (unsigned i = 0; i < r->at; i++) {
		int64_t when = r->end[i].resume_at;

		if (when < r->probe_at)
			when = r->probe_at;
		if (when < at && ways_to(r, &r->end[i]).all == 0)
			at = when;
	}
	return at;
}

/* What is in doubt elsewhere is no fault of the relay that is left: it is asked again later. */
bool route_seek(struct route *r, int64_t again_ms, int64_t now)
{
	unsigned to = r->at;

	if (now - r->sought_at >= again_ms)
		r->sought = 0;
	do
		to = (to + 1) % r->ends;
	while (to != r->at && !road_end_open(&r->end[to], now));
	if (r->sought + 1 >= r->ends || to == r->at)
		return false;
	if (r->sought++ == 0)
		r->sought_at = now;
	r->probe_at = now + FLUSH_BACKOFF_MAX;
	road_turn(r, to);
	return true;
}
