/*
 * Which relays a recipient's mail takes: the routes, as the configuration has them.
 */
#include "flush/flusher.h"

#include "base/address.h"
#include "base/clock.h"

#include <strings.h>

/* Adds one relay to the route: "URL options". */
static int add_end(const struct conf_mail *c, struct route *r, struct span url, struct err *e)
{
	struct relay_end *grown, *end;

	if (r->ends == CONF_RELAYS)
		return err_set(e, EX_CONFIG, "more than %d relays", CONF_RELAYS);
	grown = realloc(r->end, (r->ends + 1) * sizeof *grown);
	if (!grown)
		return err_set(e, EX_OSERR, "out of memory for a relay");
	r->end = grown;
	end = &r->end[r->ends];
	memset(end, 0, sizeof *end);
	if (relay_parse(url, &end->relay, e) < 0 || relay_read_secret(&end->relay, e) < 0)
		return -1;
	pacing_open(c, end, clock_mono_ms());
	end->tls = tls_client_context(&end->relay, e);
	if (!end->tls) {
		relay_done(&end->relay);
		return -1;
	}
	r->ends++;
	return 0;
}

static int add_pair(
	const struct conf_mail *c, struct route *r, const struct conf_pair *p, struct err *e)
{
	struct buf b;
	int result;

	buf_init(&b, 4096);
	buf_printf(&b, "%s%s%s", p->first, p->rest[0] ? " " : "", p->rest);
	result = b.failed ? err_set(e, EX_CONFIG, "relay: too long")
			  : add_end(c, r, buf_span(&b), e);
	buf_done(&b);
	return result;
}

/* For the relay with the most connections, what has stalled there, and a probe of another. */
static int open_ways(struct flusher *f, struct err *e)
{
	for (unsigned i = 0; i < f->routes; i++) {
		struct route *r = &f->route[i];

		for (unsigned k = 0; k < r->ends; k++)
			if (r->ways < route_connections(f->conf, &r->end[k]))
				r->ways = route_connections(f->conf, &r->end[k]);
		r->ways += FLUSH_WAYS_MORE + 1;
		r->way = calloc(r->ways, sizeof *r->way);
		if (!r->way)
			return err_set(e, EX_OSERR, "out of memory for connections");
	}
	return 0;
}

/* The route of that pattern: a line like one before adds a relay to it. */
static struct route *of_pattern(struct flusher *f, const char *pattern)
{
	for (unsigned i = 0; i < f->routes; i++)
		if (strcasecmp(f->route[i].pattern, pattern) == 0)
			return &f->route[i];
	f->route[f->routes].pattern = pattern;
	return &f->route[f->routes++];
}

int route_open_all(struct flusher *f, struct err *e)
{
	const struct conf_mail *c = f->conf;
	struct route *r;

	if (c->relay.n == 0)
		return err_set(e, EX_CONFIG,
			"no relay is configured: add a line like `relay lmtps://10.20.8.37:3535 "
			"pin=sha256:HEX secret=/etc/cenmail/relay.secret`");
	f->route = calloc(c->route.n + 1, sizeof *f->route);
	if (!f->route)
		return err_set(e, EX_OSERR, "out of memory for routes");
	for (unsigned i = 0; i < c->route.n; i++) {
		r = of_pattern(f, c->route.v[i].first);
		if (add_end(c, r, span_of(c->route.v[i].rest), e) < 0)
			return err_prefix(e, "route %s: ", r->pattern);
	}
	r = &f->route[f->routes++];
	r->pattern = "";
	for (unsigned i = 0; i < c->relay.n; i++)
		if (add_pair(c, r, &c->relay.v[i], e) < 0)
			return -1;
	return open_ways(f, e);
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

/* QUIT is written, and its answer not waited for: a whole round trip, for nothing. */
static void hang_up(struct flusher *f, struct way *w)
{
	client_quit(link_client(w->link), clock_mono_ms());
	link_step(w->link, 0, clock_mono_ms());
	way_free(f, w);
}

static void close_route(struct flusher *f, struct route *r)
{
	for (unsigned i = 0; r->way && i < r->ways; i++)
		if (r->way[i].link) {
			drop_flying(f, &r->way[i]);
			hang_up(f, &r->way[i]);
		}
	for (struct batch *b; (b = fair_pop(&r->waiting));)
		batch_drop(f, b);
	for (struct batch *b; (b = fair_pop_suspect(&r->waiting));)
		batch_drop(f, b);
	for (unsigned i = 0; i < r->ends; i++) {
		tls_context_unref(r->end[i].tls);
		relay_done(&r->end[i].relay);
	}
	free(r->way);
	free(r->end);
}

void route_close_all(struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++)
		close_route(f, &f->route[i]);
	free(f->route);
	f->route = NULL;
	f->routes = 0;
}

struct route *route_for(struct flusher *f, const char *address)
{
	for (unsigned i = 0; i + 1 < f->routes; i++)
		if (address_match(f->route[i].pattern, span_of(address)))
			return &f->route[i];
	return &f->route[f->routes - 1];
}
