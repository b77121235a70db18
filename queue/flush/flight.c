/*
 * What is in flight and what waits, over all routes and their connections.
 */
#include "flush/flusher.h"

unsigned flight_on(const struct route *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->ways; i++)
		if (r->way[i].link)
			n += client_flying(link_client(r->way[i].link));
	return n;
}

unsigned flight_count(const struct flusher *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->routes; i++)
		n += flight_on(&f->route[i]);
	return n;
}

unsigned flight_waiting(const struct flusher *f, int64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->routes; i++)
		if (route_open(&f->route[i], now))
			n += f->route[i].waiting.recipients;
	return n;
}

struct cursor { /* among the connections of all routes */
	unsigned route, way;
};

/* The next that is open, from there on; NULL: there is none. */
static struct way *next_way(const struct flusher *f, struct cursor *at)
{
	for (; at->route < f->routes; at->route++, at->way = 0)
		while (at->way < f->route[at->route].ways) {
			struct way *w = &f->route[at->route].way[at->way++];

			if (w->link)
				return w;
		}
	return NULL;
}

bool flight_unsure(const struct flusher *f)
{
	const struct way *w;

	for (struct cursor at = { 0 }; (w = next_way(f, &at));) {
		const struct client *c = link_client(w->link);
		enum step step = STEP_CONNECT;

		if (client_ehlo(c)->xonce)
			continue;
		(void)client_deadline(c, &step);
		if (step == STEP_CONTENT)
			return true;
	}
	return false;
}

static void cut(struct way *w, int64_t now)
{
	client_cut(link_client(w->link), STEP_CONTENT, "the flusher had to end", now);
}

void flight_cut(struct flusher *f, int64_t now)
{
	struct way *w;

	for (struct cursor at = { 0 }; (w = next_way(f, &at));)
		cut(w, now);
}

void flight_let_go(struct flusher *f, int64_t now)
{
	struct way *w;

	for (struct cursor at = { 0 }; (w = next_way(f, &at));)
		if (w->stalled && !client_content_out(link_client(w->link)))
			cut(w, now);
}

bool flight_stalled(const struct flusher *f)
{
	const struct way *w;

	for (struct cursor at = { 0 }; (w = next_way(f, &at));)
		if (w->stalled && client_content_out(link_client(w->link)))
			return true;
	return false;
}

uint64_t flight_octets(const struct flusher *f)
{
	const struct way *w;
	uint64_t sum = 0;

	for (struct cursor at = { 0 }; (w = next_way(f, &at));)
		sum += way_octets(w);
	return sum;
}
