/*
 * struct link: a client on a socket: name resolution and connecting (dial.h), TLS, then the
 * dialogue. Never waits: its owner polls link_fd for link_events until link_deadline and then
 * calls link_step. It always offers to read while it writes, so that two ends that both write
 * can't block each other.
 */
#ifndef CENMAIL_LINK_H
#define CENMAIL_LINK_H

#include "wire/client.h"
#include "wire/tls.h"

struct link;

struct link_options {
	struct client_options client;
	struct tls_context *tls; /* borrowed; for the relay in client.relay */
	int64_t connect_ms;      /* for the name, for the connection and for TLS each; 0: 30 s */
};

/* Begins to resolve and to connect. Never NULL but for want of memory: a name that does not resolve
 * gives a link that is dead sooner or later, with the reason in client_fault. */
struct link *link_new(const struct link_options *o, int64_t now_ms);
/* Closes at once; whatever was in flight must have been taken back (client_cut, client_done). */
void link_free(struct link *l);

int link_fd(const struct link *l); /* -1 when dead */
short link_events(const struct link *l);
int64_t link_deadline(const struct link *l);
/* Does what can be done now: connect's result, handshake, reads, writes, deadlines. Bounded work
 * in one call. */
void link_step(struct link *l, short revents, int64_t now_ms);

struct client *link_client(struct link *l);
/* "10.20.8.37[10.20.8.37]:3535", as Postfix logs a relay. */
const char *link_peer(const struct link *l);
/* From link_new to the client's being ready, microseconds; 0 before. */
int64_t link_connect_us(const struct link *l);
/* Octets of plain text, and the TLS version or "". */
void link_traffic(const struct link *l, uint64_t *ret_in, uint64_t *ret_out);

/* For a thread that has only this link: polls and steps until the state is `until`, or dead, or
 * something is in client_done or client_gate, or the monotonic deadline has passed, or `stop_fd`
 * (-1: none) is readable. */
void link_run(struct link *l, enum client_state until, int64_t deadline_ms, int stop_fd);
/* One turn of that: writes what is to be written, or else waits for what comes. False: the deadline
 * has passed, or `stop_fd` is readable. */
bool link_turn(struct link *l, int64_t deadline_ms, int stop_fd);

#endif
