/*
 * Two TLS connections that talk to each other over a socket pair.
 */
#ifndef CENMAIL_TEST_PAIR_H
#define CENMAIL_TEST_PAIR_H

#include "base/clock.h"
#include "wire/tls.h"
#include "wire_pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct tls_context *client_for(const char *url)
{
	struct relay r;
	struct err e;

	if (relay_parse(span_of(url), &r, &e) < 0)
		fail_msg("%s: %s", url, e.text);
	struct tls_context *c = tls_client_context(&r, &e);
	if (!c)
		fail_msg("%s: %s", url, e.text);
	return c;
}

static struct tls_context *client_with(const char *host, const char *option, const char *value)
{
	char url[512];

	snprintf(url, sizeof url, "lmtps://%s %s%s", host, option, value);
	return client_for(url);
}

static struct tls_context *server_with(const struct pki_pair *p)
{
	struct err e;
	struct tls_context *s = tls_server_context(p->certificate, p->key, &e);

	if (!s)
		fail_msg("%s", e.text);
	return s;
}

/* Two connections that talk to each other. */
struct pair {
	int fd[2];
	struct tls *client, *server;
	struct err client_err, server_err;
};

static void pair_open(struct pair *p, struct tls_context *client, struct tls_context *server)
{
	*p = (struct pair) { 0 };
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fd), 0);
	p->client = client ? tls_new(client, p->fd[0], NULL) : NULL;
	p->server = server ? tls_new(server, p->fd[1], NULL) : NULL;
}

static void pair_close(struct pair *p)
{
	tls_free(p->client);
	tls_free(p->server);
	for (int i = 0; i < 2; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
}

/* Each end's turn until both are through or one has failed: the client's result. */
static enum tls_io shake(struct pair *p)
{
	enum tls_io c = TLS_WANT_READ, s = TLS_WANT_READ;

	for (int i = 0; i < 100; i++) {
		if (c != TLS_OK)
			c = tls_handshake(p->client, &p->client_err);
		if (s != TLS_OK && s != TLS_FAILED)
			s = tls_handshake(p->server, &p->server_err);
		if (c == TLS_FAILED || (c == TLS_OK && (s == TLS_OK || s == TLS_FAILED)))
			return c;
	}
	fail_msg("the handshake does not end");
	return TLS_FAILED;
}

static void talk(struct pair *p)
{
	char in[8];
	size_t n = 0;

	assert_int_equal(tls_write(p->server, "hello", 5, &n, NULL), TLS_OK);
	assert_int_equal(n, 5);
	enum tls_io r;
	while ((r = tls_read(p->client, in, sizeof in, &n, &p->client_err)) == TLS_WANT_READ)
		; /* a session ticket comes first */
	assert_int_equal(r, TLS_OK);
	assert_int_equal(n, 5);
	assert_memory_equal(in, "hello", 5);
}

#endif
