/*
 * A client on a socket. The phases:
 *
 *   CONNECTING --> HANDSHAKE --> TALKING --> DEAD      TLS from the first byte
 *   CONNECTING --> TALKING --> HANDSHAKE --> TALKING   STARTTLS
 *
 * Any of them may end in DEAD. In TALKING the client says what is to be written and takes what is
 * read; every fault of the road is told to it by client_cut, so that client_fault has the reason.
 */
#include "wire/link_state.h"

#include "base/clock.h"

#include <assert.h>
#include <poll.h>

#define QUIT_MS   2000         /* for the answer to QUIT, on which nothing hangs */
#define READ_MAX  (256 * 1024) /* octets a step */
#define WRITE_MAX (512 * 1024)

/* --- the end --- */

static void shut(struct link *l)
{
	l->in = l->conn.in;
	l->out = l->conn.out;
	conn_done(&l->conn);
	l->phase = DEAD;
	l->more = false;
}

static void fail(struct link *l, enum step step, const char *why, int64_t now_ms)
{
	if (client_state(l->client) != CLIENT_DEAD)
		client_cut(l->client, step, why, now_ms);
	shut(l);
}

/* "the reply to MAIL", for what the client waits for. */
static void name_awaited(enum step step, char *out, size_t size)
{
	snprintf(out, size, "the %s%s%s", step == STEP_GREETING ? "" : "reply to ",
		step == STEP_CONTENT ? "the " : "", step_name(step));
}

/* The connection broke while the client talked. */
static void lose(struct link *l, const char *how, int64_t now_ms)
{
	char why[REPLY_TEXT_MAX], awaited[40];
	enum step step = STEP_CONNECT;

	bool idle = client_deadline(l->client, &step) == INT64_MAX;

	name_awaited(step, awaited, sizeof awaited);
	snprintf(why, sizeof why, "%s: %s while %s%s", l->dial.peer, how,
		idle ? "idle" : "waiting for ", idle ? "" : awaited);
	fail(l, step, why, now_ms);
}

/* --- TLS --- */

static void heed_client(struct link *l, int64_t now_ms);

static void step_handshake(struct link *l, int64_t now_ms)
{
	struct err e = { 0 };
	char why[REPLY_TEXT_MAX];

	switch (conn_handshake(&l->conn, &e)) {
	case CONN_OK:
		l->phase = TALKING;
		l->read_wants = POLLIN;
		l->write_wants = 0;
		client_tls_done(l->client, tls_verified(l->conn.tls), now_ms);
		heed_client(l, now_ms);
		break;
	case CONN_AGAIN:
		break;
	case CONN_EOF:
	case CONN_FAILED:
		snprintf(why, sizeof why, "%s: %s", l->dial.peer, e.text);
		fail(l, STEP_TLS, why, now_ms);
		break;
	}
}

static void begin_handshake(struct link *l, int64_t now_ms)
{
	struct err e = { 0 };

	assert(l->o.tls);
	if (conn_start_tls(&l->conn, l->o.tls, &e) < 0) {
		fail(l, STEP_TLS, e.text, now_ms);
		return;
	}
	l->phase = HANDSHAKE;
	l->since_ms = now_ms;
	l->deadline_ms = now_ms + l->o.connect_ms;
	step_handshake(l, now_ms);
}

static void step_connecting(struct link *l, int64_t now_ms)
{
	int fd = -1;

	switch (dial_step(&l->dial, now_ms, &fd)) {
	case DIAL_BUSY:
		return;
	case DIAL_FAILED:
		fail(l, STEP_CONNECT, l->dial.failed.text, now_ms);
		return;
	case DIAL_CONNECTED:
		break;
	}
	dial_done(&l->dial);
	conn_init(&l->conn, fd);
	if (l->o.client.relay->tls == RELAY_TLS_WRAPPED) {
		begin_handshake(l, now_ms);
	} else {
		l->phase = TALKING;
		l->read_wants = POLLIN;
	}
}

/* --- the dialogue --- */

/* What the client's state asks of the link, after each call that may have changed it. */
static void heed_client(struct link *l, int64_t now_ms)
{
	switch (client_state(l->client)) {
	case CLIENT_OPENING:
		break;
	case CLIENT_TLS: /* nothing more may be read in the clear */
		if (!l->conn.tls)
			begin_handshake(l, now_ms);
		break;
	case CLIENT_READY:
		if (l->connect_us == 0)
			l->connect_us = clock_mono_us() - l->began_us;
		break;
	case CLIENT_QUITTING:
		if (l->quit_ms == 0)
			l->quit_ms = now_ms + QUIT_MS;
		break;
	case CLIENT_DEAD:
		shut(l);
		break;
	}
}

/* One read. Whether octets were moved. */
static bool read_some(struct link *l, size_t *moved, int64_t now_ms)
{
	char in[16384];
	size_t n = 0;
	struct err e = { 0 };

	switch (conn_read(&l->conn, in, sizeof in, &n, &e)) {
	case CONN_OK:
		*moved += n;
		l->read_wants = POLLIN;
		client_input(l->client, span_make(in, n), now_ms);
		heed_client(l, now_ms);
		return l->phase == TALKING;
	case CONN_AGAIN:
		l->read_wants = l->conn.wants;
		return false;
	case CONN_EOF:
		lose(l, "connection closed by the peer", now_ms);
		return false;
	case CONN_FAILED:
		lose(l, e.text, now_ms);
		return false;
	}
	return false;
}

/* One write. Whether octets were moved. */
static bool write_some(struct link *l, size_t *moved, int64_t now_ms)
{
	size_t n = 0;
	struct span out = client_output(l->client, now_ms);

	if (out.n == 0) {
		heed_client(l, now_ms);
		return false;
	}
	switch (conn_write(&l->conn, out.p, out.n, &n, &l->write_failed)) {
	case CONN_OK:
		*moved += n;
		l->write_wants = 0;
		client_written(l->client, n, now_ms);
		heed_client(l, now_ms);
		return l->phase == TALKING;
	case CONN_AGAIN:
		l->write_wants = l->conn.wants;
		return false;
	case CONN_EOF:
		err_set(&l->write_failed, EX_IOERR, "connection closed by the peer");
		return false;
	case CONN_FAILED:
		return false;
	}
	return false;
}

static void step_talking(struct link *l, short revents, int64_t now_ms)
{
	const short over = POLLHUP | POLLERR;
	bool can_read = (revents & (l->read_wants | over)) || conn_pending(&l->conn);
	bool can_write = l->write_wants == 0 || (revents & (l->write_wants | over));
	size_t in = 0, out = 0;
	bool moved = true;

	while (moved && l->phase == TALKING) {
		moved = false;
		/* First what the peer has said: it may be a 421 before a reset. */
		if (can_read && in < READ_MAX) {
			moved = read_some(l, &in, now_ms);
			can_read = moved && !l->conn.drained;
		}
		if (l->phase == TALKING && can_write && out < WRITE_MAX) {
			can_write = write_some(l, &out, now_ms);
			moved |= can_write;
		}
		if (l->phase == TALKING && l->write_failed.code != 0) {
			while (in < READ_MAX && read_some(l, &in, now_ms))
				;
			if (l->phase == TALKING)
				lose(l, l->write_failed.text, now_ms);
		}
	}
	l->more = l->phase == TALKING && conn_pending(&l->conn);
}

/* --- deadlines --- */

static void check_deadline(struct link *l, int64_t now_ms)
{
	char why[REPLY_TEXT_MAX], awaited[40], after[32];
	enum step step = STEP_CONNECT;

	if (l->phase == TALKING) {
		int64_t at = client_deadline(l->client, &step);
		if (at != l->deadline_ms) {
			l->deadline_ms = at;
			l->since_ms = now_ms;
		}
	}
	if (l->phase == TALKING && l->quit_ms != 0 && now_ms >= l->quit_ms) {
		fail(l, STEP_QUIT, "no answer to QUIT", now_ms);
		return;
	}
	if (l->phase == CONNECTING || l->phase == DEAD || now_ms < l->deadline_ms)
		return;
	/* Rounded, as the clock was read a moment after the wait began. */
	int64_t ms = l->deadline_ms - l->since_ms;
	snprintf(after, sizeof after, "%.*f s", ms < 10000 ? 1 : 0, (double)ms / 1000);
	if (l->phase == HANDSHAKE) {
		step = STEP_TLS;
		snprintf(awaited, sizeof awaited, "the TLS handshake");
	} else {
		name_awaited(step, awaited, sizeof awaited);
	}
	snprintf(why, sizeof why, "%s: timed out while %s %s after %s", l->dial.peer,
		l->phase == TALKING && l->write_wants != 0 ? "sending, before" : "waiting for",
		awaited, after);
	fail(l, step, why, now_ms);
}

/* --- */

void link_step(struct link *l, short revents, int64_t now_ms)
{
	if (l->phase != DEAD && client_state(l->client) == CLIENT_DEAD)
		shut(l); /* its owner has cut it */
	switch (l->phase) {
	case CONNECTING:
		step_connecting(l, now_ms);
		break;
	case HANDSHAKE:
		step_handshake(l, now_ms);
		break;
	case TALKING:
		step_talking(l, revents, now_ms);
		break;
	case DEAD:
		return;
	}
	check_deadline(l, now_ms);
}
