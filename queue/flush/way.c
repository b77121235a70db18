/*
 * One connection of a route: opened, looked after, ended.
 *
 * One on which nothing moves any more, though a message is in flight, has stalled: it keeps that
 * message, for as long as the protocol allows, and others go by another connection. One that is
 * lone is there for suspects, one at a time, and for nothing else.
 */
#include "flush/flusher.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* One that takes the connection and then says nothing is given up while this flusher still lives,
 * to tell of it, and where there is another relay has time for that one; RFC 5321 would have it
 * wait five minutes. */
static int64_t opening_ms(const struct flusher *f, const struct route *r)
{
	const int64_t most = f->linger ? f->conf->linger / 4 * 3 : 0;

	return r->ends > 1 && (most == 0 || most > FLUSH_OPENING_MS) ? FLUSH_OPENING_MS : most;
}

struct way *way_open(struct flusher *f, struct route *r, struct relay_end *end, int64_t now)
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
	unsigned i = 0;

	while (i < r->ways && r->way[i].link)
		i++;
	if (i == r->ways)
		return NULL; /* connections that stalled with a relay before this one have them all
			      */
	struct way *w = &r->way[i];
	*w = (struct way) { .end = end, .link = link_new(&o, now) };
	window_init(&w->window, (unsigned)c->window);
	if (!w->link)
		return NULL;
	f->stats.connections++;
	return w;
}

void way_free(struct flusher *f, struct way *w)
{
	uint64_t in, out;

	link_traffic(w->link, &in, &out);
	f->stats.in += in;
	f->stats.out += out;
	link_free(w->link);
	*w = (struct way) { 0 };
}

uint64_t way_octets(const struct way *w)
{
	uint64_t in, out;
	int kept;

	link_traffic(w->link, &in, &out);
	if (ioctl(link_fd(w->link), SIOCOUTQ, &kept) == 0)
		out -= (uint64_t)kept;
	return in + out;
}

/* A peer with a journal answers in order and at SES's pace: there nothing stands still for others,
 * who are in the same window. */
static bool may_stall(const struct way *w)
{
	const struct client *c = link_client(w->link);

	return !w->stalled && client_state(c) == CLIENT_READY && client_flying(c) > 0 &&
	       !client_ehlo(c)->xonce;
}

void way_watch(struct way *w, int64_t now)
{
	uint64_t moved;

	if (!may_stall(w)) {
		w->watch_at = 0;
		return;
	}
	if (w->watch_at != 0 && now < w->watch_at)
		return;
	moved = way_octets(w);
	if (w->watch_at != 0 && moved == w->moved) {
		w->stalled = true;
		w->watch_at = 0;
		client_withdraw(link_client(w->link), now);
		return;
	}
	/* The first look is soon, at what was just written. */
	w->moved = moved;
	w->watch_at = now + (w->watch_at == 0 ? FLUSH_STALL_MS / 8 : FLUSH_STALL_MS);
}

int64_t way_idle_until(const struct way *w)
{
	const struct client *c = link_client(w->link);

	if (client_state(c) != CLIENT_READY || client_ehlo(c)->xonce || w->idle_since == 0)
		return INT64_MAX;
	return w->idle_since + FLUSH_IDLE_MS;
}

/* Whether there is a message for it, be it that the pace holds that for a while. */
static bool is_waited_for(struct route *r, const struct way *w, int64_t now)
{
	if (r->seeking || !route_open(r, now) || w->stalled)
		return false;
	return w->lone ? r->waiting.suspects > 0 && now >= r->lone_at
		       : fair_peek(&r->waiting) != NULL;
}

void way_rest(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	struct client *c = link_client(w->link);
	const bool sought = r->seeking && w->end == &r->end[r->seek_to];
	const bool plain = !w->lone && !w->stalled;

	if (client_state(c) != CLIENT_READY || client_flying(c) > 0)
		return;
	if (sought && plain && !f->closing)
		return;
	if (f->closing || r->seeking || now >= way_idle_until(w) ||
		(!is_waited_for(r, w, now) && !(plain && f->linger)))
		client_quit(c, now);
}
