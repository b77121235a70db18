/*
 * One connection of a route, when it has nothing to do: kept, or ended.
 */
#include "flush/flusher.h"

int64_t way_idle_until(const struct way *w)
{
	const struct client *c = link_client(w->link);

	if (client_state(c) != CLIENT_READY || client_ehlo(c)->xonce || w->idle_since == 0)
		return INT64_MAX;
	return w->idle_since + FLUSH_IDLE_MS;
}

void way_rest(struct flusher *f, struct route *r, struct way *w, int64_t now)
{
	struct client *c = link_client(w->link);
	const bool sought = r->seeking && w->end == &r->end[r->seek_to];
	bool waits;

	if (client_state(c) != CLIENT_READY || client_flying(c) > 0 || (sought && !f->closing))
		return;
	/* What waits may be held by the pace: the connection is kept, but not for long. */
	waits = !r->seeking && route_open(r, now) && fair_peek(&r->waiting);
	if (f->closing || r->seeking || now >= way_idle_until(w) || (!waits && !f->linger))
		client_quit(c, now);
}
