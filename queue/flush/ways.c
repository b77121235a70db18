/*
 * A route's connections: when one is opened, what it may carry, and what its end says of the relay.
 *
 * All go to one relay, the one in use. While that is not the first one, and a relay before it may
 * be asked again, one connection more asks it: a probe. When the probe is ready the road turns:
 * what is in flight is answered, the other connections end, and what comes then goes by the
 * probe's.
 */
#include "flush/flusher.h"
#include "flush/report.h"

#include "base/clock.h"

void way_free(struct flusher *f, struct way *w)
{
	uint64_t in, out;

	link_traffic(w->link, &in, &out);
	f->stats.in += in;
	f->stats.out += out;
	link_free(w->link);
	*w = (struct way) { 0 };
}

bool route_open(const struct route *r, int64_t now)
{
	return r->resume_at == 0 || now >= r->resume_at;
}

bool route_takes(const struct route *r, const struct way *w)
{
	return w->link && !r->seeking && w->end == &r->end[r->at] &&
	       (r->ends == 1 || r->stored_at == r->at) &&
	       client_state(link_client(w->link)) == CLIENT_READY;
}

/* Connections that lead to it; *ret_used: some of them is, or has been, ready. */
static unsigned ways_to(const struct route *r, const struct relay_end *end, bool *ret_used)
{
	unsigned n = 0;

	*ret_used = false;
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link && r->way[i].end == end) {
			n++;
			*ret_used |= r->way[i].used;
		}
	return n;
}

/* One that takes the connection and then says nothing is given up while this flusher still lives,
 * to tell of it, and where there is another relay has time for that one; RFC 5321 would have it
 * wait five minutes. */
static int64_t opening_ms(const struct flusher *f, const struct route *r)
{
	const int64_t most = f->linger ? f->conf->linger / 4 * 3 : 0;

	return r->ends > 1 && (most == 0 || most > FLUSH_OPENING_MS) ? FLUSH_OPENING_MS : most;
}

static void open_way(struct flusher *f, struct route *r, struct relay_end *end, int64_t now)
{
	const struct conf_mail *c = f->conf;
	const struct link_options o = {
		.client = {
			.relay = &end->relay,
			.helo = c->hostname,
			.in_clear = end->in_clear,
			.window = (unsigned)c->window,
			.window_bytes = (size_t)c->window_bytes,
			.total_ms = FLUSH_TX_MS,
			.opening_ms = opening_ms(f, r),
		},
		.tls = end->tls,
		.connect_ms = r->ends > 1 ? FLUSH_CONNECT_MS : 0,
	};
	struct way *w = r->way;

	while (w->link)
		w++; /* there is room for a probe beside all the others */
	*w = (struct way) { .end = end, .link = link_new(&o, now) };
	window_init(&w->window, (unsigned)c->window);
	if (w->link)
		f->stats.connections++;
}

unsigned route_connections(const struct conf_mail *c, const struct relay_end *end)
{
	return end->relay.connections > 0 ? end->relay.connections : (unsigned)c->connections;
}

/* One that refused a connection beside others has as many as it wants, for a while. */
static unsigned allowed(const struct flusher *f, struct relay_end *end, int64_t now)
{
	const unsigned n = route_connections(f->conf, end);

	if (end->most != 0 && now >= end->more_at) {
		end->most = end->most + 1 < n ? end->most + 1 : 0;
		end->more_at = now + FLUSH_MORE_MS;
	}
	return end->most != 0 && end->most < n ? end->most : n;
}

/* How many connections the route wants now: one while it lingers on a relay that keeps idle ones,
 * one for each batch that waits, at most what is configured; no more while the pace holds them. */
static unsigned wanted(const struct flusher *f, const struct route *r, int64_t now)
{
	struct relay_end *end = &r->end[r->at];
	const unsigned most = allowed(f, end, now);
	unsigned n = r->waiting.batches + (r->waiting.suspects > 0);

	if (now < r->pace_at)
		n = 0;
	if (n > most)
		n = most;
	if (n == 0 && f->linger && !f->closing && now >= r->keep_after && end->relay.lmtp)
		n = 1;
	return n;
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
	bool used;

	if (end && ways_to(r, end, &used) == 0)
		open_way(f, r, end, now);
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
	unsigned n, have;
	bool used;

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
	have = ways_to(r, &r->end[r->at], &used);
	/* While the first is not up, the others wait: a dead relay is knocked at once. */
	while (have < n && (have == 0 || used)) {
		open_way(f, r, &r->end[r->at], now);
		have++;
	}
	if (used && r->at > 0)
		probe(f, r, now);
}

void route_ready(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	struct client *c = link_client(w->link);

	if (!w->used) {
		w->used = true;
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
	bool used;

	if (r->dirty && r->store_at < at)
		at = r->store_at;
	if (r->pace_at != 0 && r->pace_at < at)
		at = r->pace_at;
	if (r->at == 0 || r->seeking || r->resume_at != 0 || ways_to(r, &r->end[r->at], &used) == 0)
		return at;
	for (unsigned i = 0; i < r->at; i++) {
		int64_t when = r->end[i].resume_at;

		if (when < r->probe_at)
			when = r->probe_at;
		if (when < at && ways_to(r, &r->end[i], &used) == 0)
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

/* An idle connection that the peer closes, and one that we quit, is no fault. But whoever closes
 * them is not asked again at once. One over which messages were answered is made anew: some peers
 * end each after a few. And one more beside others that are up may have been one too many. */
void route_ended(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	const struct outcome fault = *client_fault(link_client(w->link));
	const bool was_idle = w->idle_since != 0, was_used = w->used, answered = w->answered;
	struct relay_end *end = w->end;
	unsigned left;
	bool used;

	way_free(f, w);
	left = ways_to(r, end, &used);
	if (fault.step == STEP_TLS && end->relay.tls == RELAY_TLS_MAY && !end->in_clear) {
		/* It was only for want of something better that TLS was tried. */
		end->in_clear = true;
		report_road(end->relay.text, &fault);
		log_line(LOG_WARNING, "smtp", "warning: %s: mail goes in the clear",
			end->relay.text);
	} else if (was_idle || fault.step == STEP_QUIT) {
		if (end == &r->end[r->at])
			r->keep_after = now + FLUSH_IDLE_MS;
	} else if (left > 0 && used) {
		if (!was_used) {
			end->most = left;
			end->more_at = now + FLUSH_MORE_MS;
		}
	} else if (!answered) {
		road_failed(f, r, end, &fault, 0, now);
	}
	if (r->seeking)
		road_turned(r);
}

void route_answered(struct flusher *f, struct way *w, const struct batch *b,
	const struct outcome *o, const struct verdict *v)
{
	struct route *r = b->route;
	const int64_t now = clock_mono_ms();

	switch (v->class) {
	case VERDICT_ROAD:
		if (o->lost || o->reply.code == 0)
			return; /* the connection ends */
		/* Once it may be the message, twice it is the relay. */
		if (!v->own_mail || !w->answered)
			road_failed(f, r, w->end, o, v->retry_ms, now);
		w->answered = false;
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
	r->refused = false;
	road_well(r, w->end);
}
