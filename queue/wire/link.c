/*
 * A link's beginning and end, what its owner may ask of it, and the wait of one who has no other.
 * Its steps are in link_step.c.
 */
#include "wire/link_state.h"

#include "base/clock.h"

#include <poll.h>

#define CONNECT_MS 30000

struct link *link_new(const struct link_options *o, int64_t now_ms)
{
	struct link *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->o = *o;
	l->o.connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
	l->began_us = clock_mono_us();
	conn_init(&l->conn, -1);
	l->client = client_new(&o->client, now_ms);
	if (!l->client) {
		free(l);
		return NULL;
	}
	const struct relay *r = o->client.relay;
	dial_init(&l->dial, r->host, r->port, l->o.connect_ms, now_ms);
	link_step(l, 0, now_ms);
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	conn_done(&l->conn);
	client_free(l->client);
	dial_done(&l->dial);
	free(l);
}

int link_fd(const struct link *l)
{
	return l->phase == CONNECTING ? dial_fd(&l->dial) : l->phase == DEAD ? -1 : l->conn.fd;
}

short link_events(const struct link *l)
{
	switch (l->phase) {
	case CONNECTING:
		return POLLIN;
	case HANDSHAKE:
		return l->conn.wants;
	case TALKING:
		if (l->write_wants != 0)
			return l->read_wants | l->write_wants;
		if (client_output(l->client, clock_mono_ms()).n > 0)
			return l->read_wants | POLLOUT;
		return l->read_wants;
	case DEAD:
		break;
	}
	return 0;
}

int64_t link_deadline(const struct link *l)
{
	enum step step;

	if (l->phase == DEAD)
		return INT64_MAX;
	if (l->phase == CONNECTING)
		return dial_deadline(&l->dial);
	if (l->phase == HANDSHAKE)
		return l->deadline_ms;
	if (l->more || client_state(l->client) == CLIENT_DEAD)
		return 0;
	int64_t at = client_deadline(l->client, &step);
	return l->quit_ms != 0 && l->quit_ms < at ? l->quit_ms : at;
}

struct client *link_client(struct link *l)
{
	return l->client;
}

const char *link_peer(const struct link *l)
{
	return l->dial.peer;
}

int64_t link_connect_us(const struct link *l)
{
	return l->connect_us;
}

void link_traffic(const struct link *l, uint64_t *ret_in, uint64_t *ret_out)
{
	*ret_in = l->phase == DEAD ? l->in : l->conn.in;
	*ret_out = l->phase == DEAD ? l->out : l->conn.out;
}

bool link_turn(struct link *l, int64_t deadline_ms, int stop_fd)
{
	int64_t now_ms = clock_mono_ms();

	if (l->phase == TALKING && l->write_wants == 0 && client_output(l->client, now_ms).n > 0) {
		link_step(l, 0, now_ms); /* most often there is room */
		return true;
	}
	struct pollfd p[2] = { { .fd = link_fd(l), .events = link_events(l) },
		{ .fd = stop_fd, .events = POLLIN } };
	int64_t at = link_deadline(l);
	int n = poll(p, 2, clock_poll_timeout(at < deadline_ms ? at : deadline_ms));
	now_ms = clock_mono_ms();
	if (n > 0 && p[1].revents != 0)
		return false;
	link_step(l, n > 0 ? p[0].revents : 0, now_ms);
	return now_ms < deadline_ms;
}

void link_run(struct link *l, enum client_state until, int64_t deadline_ms, int stop_fd)
{
	while (l->phase != DEAD && client_state(l->client) != until &&
		!client_has_done(l->client) && !client_gate(l->client))
		if (!link_turn(l, deadline_ms, stop_fd))
			return;
}
