/*
 * struct conn: a non-blocking stream socket, in the clear or under TLS, for both ends. It owns the
 * descriptor. No policy and no waiting: callers poll.
 */
#ifndef CENMAIL_CONN_H
#define CENMAIL_CONN_H

#include "base/err.h"
#include "wire/tls.h"

enum conn_io {
	CONN_OK,    /* *ret_n octets moved, at least one */
	CONN_AGAIN, /* nothing now: poll for conn_events */
	CONN_EOF,   /* the peer closed in an orderly way */
	CONN_FAILED /* reset, or a TLS fault: e says */
};

struct conn {
	int fd;          /* -1: none */
	struct tls *tls; /* NULL: in the clear */
	short wants;  /* what the last call that answered CONN_AGAIN waits for: POLLIN, POLLOUT */
	bool drained; /* the last read took all there was: poll() will show what comes */
	uint64_t in, out; /* octets of plain text moved so far, both ways */
};

void conn_init(struct conn *c,
	int fd);                /* takes fd, makes it non-blocking and close-on-exec, TCP_NODELAY */
void conn_done(struct conn *c); /* close_notify when under TLS, then close */
/* Puts TLS on it; then conn_handshake until it is CONN_OK. */
int conn_start_tls(struct conn *c, struct tls_context *ctx, struct err *e);
enum conn_io conn_handshake(struct conn *c, struct err *e);
enum conn_io conn_read(struct conn *c, void *p, size_t n, size_t *ret_n, struct err *e);
enum conn_io conn_write(struct conn *c, const void *p, size_t n, size_t *ret_n, struct err *e);
/* Whether conn_read would give octets without poll() showing it. */
bool conn_pending(const struct conn *c);

#endif
