/*
 * The roads: which relay a recipient's mail takes, the connections to it, and what a fault of the
 * road means: the next relay of the route, and when all have failed, a pause.
 */
#include "flush/flusher.h"

#include "base/address.h"
#include "base/clock.h"

#include <errno.h>

/* Adds one relay to the route: "URL options". */
static int add_end(struct route *r, struct span url, struct err *e)
{
	struct relay_end *grown = realloc(r->end, (r->ends + 1) * sizeof *grown);
	struct relay_end *end;

	if (!grown)
		return err_set(e, EX_OSERR, "out of memory for a relay");
	r->end = grown;
	end = &r->end[r->ends];
	memset(end, 0, sizeof *end);
	if (relay_parse(url, &end->relay, e) < 0 || relay_read_secret(&end->relay, e) < 0)
		return -1;
	end->tls = tls_client_context(&end->relay, e);
	if (!end->tls) {
		relay_done(&end->relay);
		return -1;
	}
	r->ends++;
	return 0;
}

static int add_pair(struct route *r, const char *url, const char *options, struct err *e)
{
	struct buf b;
	int result;

	buf_init(&b, 4096);
	buf_printf(&b, "%s%s%s", url, options[0] ? " " : "", options);
	result = b.failed ? err_set(e, EX_CONFIG, "relay: too long") : add_end(r, buf_span(&b), e);
	buf_done(&b);
	return result;
}

static int open_ways(struct route *r, unsigned n, struct err *e)
{
	r->way = calloc(n, sizeof *r->way);
	if (!r->way)
		return err_set(e, EX_OSERR, "out of memory for connections");
	r->ways = n;
	return 0;
}

int route_open_all(struct flusher *f, struct err *e)
{
	const struct conf_mail *c = f->conf;

	if (c->relay.n == 0)
		return err_set(e, EX_CONFIG,
			"no relay is configured: add a line like `relay lmtps://10.20.8.37:3535 "
			"pin=sha256:HEX secret=/etc/cenmail/relay.secret`");
	f->route = calloc(c->route.n + 1, sizeof *f->route);
	if (!f->route)
		return err_set(e, EX_OSERR, "out of memory for routes");
	for (f->routes = 0; f->routes < c->route.n; f->routes++) {
		struct route *r = &f->route[f->routes];

		r->pattern = c->route.v[f->routes].first;
		if (open_ways(r, (unsigned)c->connections, e) < 0 ||
			add_end(r, span_of(c->route.v[f->routes].rest), e) < 0)
			return err_prefix(e, "route %s: ", r->pattern);
	}
	struct route *r = &f->route[f->routes++];
	if (open_ways(r, (unsigned)c->connections, e) < 0)
		return -1;
	for (unsigned i = 0; i < c->relay.n; i++)
		if (add_pair(r, c->relay.v[i].first, c->relay.v[i].rest, e) < 0)
			return -1;
	return 0;
}

/* Counts what went over the connection, and frees it. */
static void close_way(struct flusher *f, struct way *w)
{
	uint64_t in, out;

	link_traffic(w->link, &in, &out);
	f->stats.in += in;
	f->stats.out += out;
	link_free(w->link);
	*w = (struct way) { 0 };
}

/* QUIT is written, and its answer not waited for: a whole round trip, for nothing. */
static void hang_up(struct flusher *f, struct way *w)
{
	client_quit(link_client(w->link), clock_mono_ms());
	link_step(w->link, 0, clock_mono_ms());
	close_way(f, w);
}

/* What an error left in flight: still due in the queue, with the same tokens. */
static void drop_flying(struct flusher *f, struct way *w)
{
	struct client *c = link_client(w->link);

	if (client_flying(c) == 0)
		return;
	client_cut(c, STEP_CONTENT, "the flusher had to end", clock_mono_ms());
	for (struct transaction *t; (t = client_done(c));)
		batch_drop(f, t->owner);
}

void route_close_all(struct flusher *f)
{
	for (unsigned i = 0; f->route && i <= f->conf->route.n; i++) {
		struct route *r = &f->route[i];

		for (unsigned w = 0; w < r->ways; w++)
			if (r->way[w].link) {
				drop_flying(f, &r->way[w]);
				hang_up(f, &r->way[w]);
			}
		for (struct batch *b; (b = batch_pop(r));)
			batch_drop(f, b);
		for (unsigned k = 0; k < r->ends; k++) {
			tls_context_unref(r->end[k].tls);
			relay_done(&r->end[k].relay);
		}
		free(r->way);
		free(r->end);
	}
	free(f->route);
	f->route = NULL;
}

struct route *route_for(struct flusher *f, const char *address)
{
	for (unsigned i = 0; i + 1 < f->routes; i++)
		if (address_match(f->route[i].pattern, span_of(address)))
			return &f->route[i];
	return &f->route[f->routes - 1];
}

bool route_open(const struct route *r, int64_t now)
{
	return r->resume_at == 0 || now >= r->resume_at;
}

void route_pause(struct route *r, int64_t ms, int64_t now)
{
	const int64_t at = now + (ms < FLUSH_BACKOFF_MIN ? FLUSH_BACKOFF_MIN : ms);

	if (at > r->resume_at)
		r->resume_at = at;
}

void route_well(struct route *r)
{
	r->backoff_ms = 0;
	r->failed_ends = 0;
	r->down = r->refused = false;
}

bool route_seek(struct route *r, int64_t again_ms, int64_t now)
{
	if (now - r->sought_at >= again_ms)
		r->sought = 0;
	if (r->sought + 1 >= r->ends)
		return false;
	if (r->sought++ == 0)
		r->sought_at = now;
	r->seeking = true;
	return true;
}

/* Its last connection to the relay before is gone. */
static void seek_next(struct route *r)
{
	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link)
			return;
	r->seeking = false;
	r->at = (r->at + 1) % r->ends;
}

/* Where there is another relay, one that takes the connection and then says nothing is given up
 * while this flusher still has time for the other; RFC 5321 would have it wait five minutes. */
static struct link *connect_to(
	struct flusher *f, const struct route *r, const struct relay_end *end, int64_t now)
{
	const struct conf_mail *c = f->conf;
	const struct link_options o = {
		.client = {
			.relay = &end->relay,
			.helo = c->hostname,
			.window = (unsigned)c->window,
			.window_bytes = (size_t)c->window_bytes,
			.total_ms = FLUSH_TX_MS,
			.opening_ms = r->ends > 1 ? FLUSH_OPENING_MS : 0,
		},
		.tls = end->tls,
	};

	f->stats.connections++;
	return link_new(&o, now);
}

/* How many connections the route wants now: one while it lingers on a relay that keeps idle ones,
 * one for each batch that waits, at most what is configured. */
static unsigned wanted(const struct flusher *f, const struct route *r, int64_t now)
{
	unsigned n = 0;

	for (const struct batch *b = r->first; b && n < r->ways; b = b->next)
		n++;
	if (n == 0 && f->linger && !f->closing && now >= r->keep_after && r->end[r->at].relay.lmtp)
		n = 1;
	return n;
}

void route_tend(struct flusher *f, struct route *r, int64_t now)
{
	unsigned n;

	if (!route_open(r, now) || r->seeking)
		return;
	if (r->resume_at != 0) {
		r->resume_at = 0;
		f->look = true; /* while it was closed little was taken for it */
	}
	n = wanted(f, r, now);
	for (unsigned i = 0; i < n && i < r->ways; i++) {
		struct way *w = &r->way[i];

		/* While the first is not up, the others wait: a dead relay is knocked at once. */
		if (i > 0 && (!r->way[0].link || !r->way[0].used))
			break;
		if (!w->link) {
			*w = (struct way) { .end = &r->end[r->at] };
			window_init(&w->window, (unsigned)f->conf->window);
			w->link = connect_to(f, r, w->end, now);
			if (!w->link)
				route_pause(r, FLUSH_BACKOFF_MIN, now);
		}
	}
}

void route_ended(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	const struct outcome fault = *client_fault(link_client(w->link));
	const char *relay = w->end->relay.text;
	const bool was_idle = w->idle_since != 0;

	close_way(f, w);
	/* An idle connection that the peer closes, and one that we quit, is no fault. But whoever
	 * closes them is not asked again at once. */
	if (was_idle || fault.step == STEP_QUIT) {
		r->keep_after = now + FLUSH_IDLE_MS;
		if (r->seeking)
			seek_next(r);
		return;
	}
	r->seeking = false;
	r->at = (r->at + 1) % r->ends;
	if (++r->failed_ends < r->ends)
		return;
	r->failed_ends = 0;
	r->backoff_ms = r->backoff_ms == 0 ? FLUSH_BACKOFF_MIN : r->backoff_ms * 2;
	if (r->backoff_ms > FLUSH_BACKOFF_MAX)
		r->backoff_ms = FLUSH_BACKOFF_MAX;
	route_pause(r, r->backoff_ms, now);
	if (!r->down)
		settle_road(f, r, relay, &fault);
	r->down = true;
}
