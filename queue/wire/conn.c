/*
 * A non-blocking stream socket, in the clear or under TLS. Programs ignore SIGPIPE: under TLS it
 * is the library that writes.
 */
#include "wire/conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer, or a NAT on the way, that is gone without a word is found out within some two minutes,
 * whether octets of ours are under way (TCP_USER_TIMEOUT) or not (keepalive). */
#define CONN_GONE_MS    120000
#define CONN_IDLE_S     60
#define CONN_INTERVAL_S 15
#define CONN_PROBES     4

/* What the kernel keeps beyond what is on its way: it has its place in line as well. */
#define CONN_NOTSENT (128 * 1024)

/* What a socket of another family does not know, it need not have. */
static void set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof value);
}

void conn_init(struct conn *c, int fd)
{
	*c = (struct conn) { .fd = fd };
	if (fd < 0)
		return;
	int flags = fcntl(fd, F_GETFL);
	bool ok = flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
		  fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
	assert(ok); /* only a descriptor that is not open fails here */
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, CONN_NOTSENT);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, CONN_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, CONN_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, CONN_PROBES);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, CONN_GONE_MS);
}

void conn_done(struct conn *c)
{
	if (!c)
		return;
	if (c->tls) {
		tls_shutdown(c->tls);
		tls_free(c->tls);
	}
	if (c->fd >= 0)
		close(c->fd);
	*c = (struct conn) { .fd = -1 };
}

int conn_start_tls(struct conn *c, struct tls_context *ctx, struct err *e)
{
	assert(!c->tls && c->fd >= 0);
	c->tls = tls_new(ctx, c->fd, e);
	return c->tls ? 0 : -1;
}

static enum conn_io from_tls(struct conn *c, enum tls_io r)
{
	switch (r) {
	case TLS_OK:
		return CONN_OK;
	case TLS_WANT_READ:
		c->wants = POLLIN;
		return CONN_AGAIN;
	case TLS_WANT_WRITE:
		c->wants = POLLOUT;
		return CONN_AGAIN;
	case TLS_EOF:
		return CONN_EOF;
	case TLS_FAILED:
		return CONN_FAILED;
	}
	assert(!"an answer of tls.h");
	return CONN_FAILED;
}

enum conn_io conn_handshake(struct conn *c, struct err *e)
{
	assert(c->tls);
	return from_tls(c, tls_handshake(c->tls, e));
}

/* After read(2) or write(2) said -1. */
static enum conn_io from_errno(struct conn *c, short wants, struct err *e)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		c->wants = wants;
		return CONN_AGAIN;
	}
	err_sys(e, EX_IOERR, "lost connection");
	return CONN_FAILED;
}

enum conn_io conn_read(struct conn *c, void *p, size_t n, size_t *ret_n, struct err *e)
{
	size_t got = 0;
	enum conn_io r = CONN_OK;

	assert(n > 0 && c->fd >= 0);
	if (c->tls) {
		r = from_tls(c, tls_read(c->tls, p, n, &got, e));
	} else {
		ssize_t k;
		do
			k = recv(c->fd, p, n, 0);
		while (k < 0 && errno == EINTR);
		if (k < 0)
			r = from_errno(c, POLLIN, e);
		else if (k == 0)
			r = CONN_EOF;
		else
			got = (size_t)k;
	}
	c->drained = !c->tls && got < n;
	if (r == CONN_OK) {
		c->in += got;
		*ret_n = got;
	}
	return r;
}

enum conn_io conn_write(struct conn *c, const void *p, size_t n, size_t *ret_n, struct err *e)
{
	size_t put = 0;
	enum conn_io r = CONN_OK;

	assert(n > 0 && c->fd >= 0);
	if (c->tls) {
		r = from_tls(c, tls_write(c->tls, p, n, &put, e));
	} else {
		ssize_t k;
		do
			k = send(c->fd, p, n, MSG_NOSIGNAL);
		while (k < 0 && errno == EINTR);
		if (k < 0)
			r = from_errno(c, POLLOUT, e);
		else
			put = (size_t)k;
	}
	if (r == CONN_OK) {
		c->out += put;
		*ret_n = put;
	}
	return r;
}

bool conn_pending(const struct conn *c)
{
	return c->tls && tls_pending(c->tls);
}
