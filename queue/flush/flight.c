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

bool flight_unsure(const struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++) {
			const struct way *w = &f->route[i].way[k];
			enum step step = STEP_CONNECT;

			if (!w->link || client_ehlo(link_client(w->link))->xonce)
				continue;
			(void)client_deadline(link_client(w->link), &step);
			if (step == STEP_CONTENT)
				return true;
		}
	return false;
}

void flight_cut(struct flusher *f, int64_t now)
{
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++)
			if (f->route[i].way[k].link)
				client_cut(link_client(f->route[i].way[k].link), STEP_CONTENT,
					"the flusher had to end", now);
}

void flight_let_go(struct flusher *f, int64_t now)
{
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++) {
			struct way *w = &f->route[i].way[k];

			if (w->link && w->stalled && !client_content_out(link_client(w->link)))
				client_cut(link_client(w->link), STEP_CONTENT,
					"the flusher had to end", now);
		}
}

bool flight_stalled(const struct flusher *f)
{
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++)
			if (f->route[i].way[k].link && f->route[i].way[k].stalled &&
				client_content_out(link_client(f->route[i].way[k].link)))
				return true;
	return false;
}

uint64_t flight_octets(const struct flusher *f)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++)
			if (f->route[i].way[k].link)
				sum += way_octets(&f->route[i].way[k]);
	return sum;
}
