/*
 * The stand-in's socket: buffered reading with deadlines, in the clear or under TLS. For one
 * thread a connection. Stands alone: no code is shared with what is tested.
 */
#ifndef SES_IO_H
#define SES_IO_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum io_got { IO_OK, IO_EOF, IO_TIMEOUT, IO_LONG };

struct io {
	int fd;
	SSL *ssl; /* NULL: in the clear */
	size_t at, len;
	char buf[65536];
};

static inline int64_t now_ms(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for what the last call wanted. False when the deadline has passed. */
static bool io_wait(struct io *io, short events, int64_t deadline)
{
	for (;;) {
		int64_t left = deadline - now_ms(CLOCK_MONOTONIC);
		if (left <= 0)
			return false;
		struct pollfd p = { .fd = io->fd, .events = events };
		int n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* What an SSL call that did not succeed waits for; 0: nothing, it is over. */
static short io_ssl_wants(struct io *io, int result)
{
	int e = SSL_get_error(io->ssl, result);
	if (e == SSL_ERROR_WANT_READ)
		return POLLIN;
	return e == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

/* Reads more into the buffer, which must be empty. In lock step there is seldom something yet, so
 * poll comes before recv. */
static enum io_got io_fill(struct io *io, int64_t deadline)
{
	io->at = io->len = 0;
	if ((!io->ssl || SSL_pending(io->ssl) == 0) && !io_wait(io, POLLIN, deadline))
		return IO_TIMEOUT;
	for (;;) {
		short wants = 0;
		int n;
		if (io->ssl) {
			ERR_clear_error();
			n = SSL_read(io->ssl, io->buf, sizeof io->buf);
			wants = n > 0 ? 0 : io_ssl_wants(io, n);
		} else {
			n = (int)recv(io->fd, io->buf, sizeof io->buf, MSG_DONTWAIT);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				wants = POLLIN;
		}
		if (n > 0) {
			io->len = (size_t)n;
			return IO_OK;
		}
		if (!wants)
			return IO_EOF;
		if (!io_wait(io, wants, deadline))
			return IO_TIMEOUT;
	}
}

/* Whether the client has sent more than it should have before this reply. */
static bool io_ahead(struct io *io)
{
	char c;
	if (io->at < io->len)
		return true;
	if (io->ssl) {
		ERR_clear_error();
		return SSL_peek(io->ssl, &c, 1) > 0;
	}
	return recv(io->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* One line without its line end, terminated. A bare LF is taken for a line end too. */
static enum io_got io_line(struct io *io, char *line, size_t size, int64_t deadline)
{
	size_t n = 0;
	for (;;) {
		while (io->at < io->len) {
			char c = io->buf[io->at++];
			if (c == '\n') {
				if (n && line[n - 1] == '\r')
					n--;
				line[n] = '\0';
				return IO_OK;
			}
			if (n + 1 == size)
				return IO_LONG;
			line[n++] = c;
		}
		enum io_got got = io_fill(io, deadline);
		if (got != IO_OK)
			return got;
	}
}

static bool io_write(struct io *io, const char *p, size_t n)
{
	int64_t deadline = now_ms(CLOCK_MONOTONIC) + 60000;
	while (n) {
		short wants = 0;
		ssize_t k;
		if (io->ssl) {
			ERR_clear_error();
			k = SSL_write(io->ssl, p, (int)n);
			wants = k > 0 ? 0 : io_ssl_wants(io, (int)k);
		} else {
			k = send(io->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (k < 0 && (errno == EAGAIN || errno == EINTR))
				wants = POLLOUT;
		}
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		} else if (!wants || !io_wait(io, wants, deadline)) {
			return false;
		}
	}
	return true;
}

static bool io_start_tls(struct io *io, SSL_CTX *ctx)
{
	int64_t deadline = now_ms(CLOCK_MONOTONIC) + 30000;
	io->ssl = SSL_new(ctx);
	if (!io->ssl || SSL_set_fd(io->ssl, io->fd) != 1)
		return false;
	for (;;) {
		ERR_clear_error();
		int n = SSL_accept(io->ssl);
		if (n == 1)
			return true;
		short wants = io_ssl_wants(io, n);
		if (!wants || !io_wait(io, wants, deadline))
			return false;
	}
}

/* reset: the peer gets a RST and not an orderly end. */
static void io_close(struct io *io, bool reset)
{
	if (reset) {
		struct linger l = { .l_onoff = 1, .l_linger = 0 };
		setsockopt(io->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	} else if (io->ssl && SSL_is_init_finished(io->ssl)) {
		ERR_clear_error();
		SSL_shutdown(io->ssl);
	}
	SSL_free(io->ssl);
	io->ssl = NULL;
	close(io->fd);
}

#endif
