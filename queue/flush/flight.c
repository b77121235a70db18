/*
 * What is in flight and what waits, over all routes and their connections.
 */
#include "flush/flusher.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

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

uint64_t flight_octets(const struct flusher *f)
{
	uint64_t in, out, sum = 0;
	int kept;

	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++)
			if (f->route[i].way[k].link) {
				link_traffic(f->route[i].way[k].link, &in, &out);
				sum += in + out;
				if (ioctl(link_fd(f->route[i].way[k].link), SIOCOUTQ, &kept) == 0)
					sum -= (uint64_t)kept;
			}
	return sum;
}
