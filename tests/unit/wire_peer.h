/*
 * A peer that is scripted line by line, in a thread, on loopback; and a link that talks to it.
 */
#ifndef CENMAIL_TEST_PEER_H
#define CENMAIL_TEST_PEER_H

#include "base/clock.h"
#include "wire/conn.h"
#include "wire/link.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

/* The peer: says `script` piece by piece. '<' waits for a line, '*' for a line and answers TLS,
 * '!' resets, '.' waits until the link has gone; anything else is a line to be said. */
struct peer {
	int listening;
	uint16_t port;
	const char *const *script;
	struct tls_context *tls;
	pthread_t thread;
	char heard[4096];
	bool wrapped;
};

static bool wait_for(struct conn *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	return poll(&p, 1, PATIENCE_MS) == 1;
}

static bool peer_handshake(struct conn *c, struct tls_context *tls)
{
	if (conn_start_tls(c, tls, NULL) < 0)
		return false;
	for (;;) {
		enum conn_io r = conn_handshake(c, NULL);
		if (r == CONN_OK)
			return true;
		if (r != CONN_AGAIN || !wait_for(c, c->wants))
			return false;
	}
}

static bool peer_hear(struct peer *p, struct conn *c)
{
	size_t len = strlen(p->heard), n;
	while (len + 1 < sizeof p->heard) {
		enum conn_io r = conn_read(c, p->heard + len, 1, &n, NULL);
		if (r == CONN_AGAIN) {
			if (!wait_for(c, c->wants))
				return false;
		} else if (r != CONN_OK) {
			return false;
		} else {
			p->heard[++len] = '\0';
			if (p->heard[len - 1] == '\n')
				return true;
		}
	}
	return false;
}

static bool peer_say(struct conn *c, const char *text)
{
	size_t n, done = 0, len = strlen(text);
	while (done < len) {
		enum conn_io r = conn_write(c, text + done, len - done, &n, NULL);
		if (r == CONN_AGAIN && !wait_for(c, c->wants))
			return false;
		if (r != CONN_OK && r != CONN_AGAIN)
			return false;
		if (r == CONN_OK)
			done += n;
	}
	return true;
}

static void *peer_run(void *arg)
{
	struct peer *p = arg;
	struct conn c;
	int fd = accept(p->listening, NULL, NULL);

	conn_init(&c, fd);
	bool ok = fd >= 0 && (!p->wrapped || peer_handshake(&c, p->tls));
	for (const char *const *s = p->script; ok && *s; s++) {
		if (strcmp(*s, "<") == 0) {
			ok = peer_hear(p, &c);
		} else if (strcmp(*s, "*") == 0) {
			ok = peer_handshake(&c, p->tls);
		} else if (strcmp(*s, "!") == 0) {
			const struct linger l = { .l_onoff = 1 };
			setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
		} else if (strcmp(*s, ".") == 0) {
			while (peer_hear(p, &c))
				;
		} else {
			ok = peer_say(&c, *s);
		}
	}
	conn_done(&c);
	return NULL;
}

static int listen_on_loopback(uint16_t *ret_port, int backlog)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void peer_begin(struct peer *p)
{
	p->listening = listen_on_loopback(&p->port, 8);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static void peer_end(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->listening);
}

/* --- the link's side --- */

struct side {
	struct relay relay;
	struct tls_context *tls;
	struct link *link;
};

static void begin(struct side *s, const char *url, unsigned port, const struct link_options *extra)
{
	char text[1024];
	struct link_options o = extra ? *extra : (struct link_options) { 0 };
	struct err e = { 0 };

	snprintf(text, sizeof text, "%s:%u", url, port);
	if (relay_parse(span_of(text), &s->relay, &e) < 0 ||
		!(s->tls = tls_client_context(&s->relay, &e)))
		fail_msg("%s: %s", text, e.text);
	o.client.relay = &s->relay;
	o.client.helo = "client.example";
	o.client.window = 8;
	o.client.window_bytes = 1 << 20;
	o.tls = s->tls;
	s->link = link_new(&o, clock_mono_ms());
	assert_non_null(s->link);
}

static void end(struct side *s)
{
	link_free(s->link);
	tls_context_unref(s->tls);
	relay_done(&s->relay);
}

static enum client_state run(struct side *s, enum client_state until)
{
	int64_t limit = clock_mono_ms() + PATIENCE_MS;

	link_run(s->link, until, limit, -1);
	assert_true(clock_mono_ms() < limit);
	return client_state(link_client(s->link));
}

static void assert_fault(struct side *s, enum step step, const char *words)
{
	const struct outcome *f = client_fault(link_client(s->link));

	if (client_state(link_client(s->link)) != CLIENT_DEAD || f->step != step ||
		!strstr(f->reply.text, words))
		fail_msg("%s, not \"%s\": %s", step_name(f->step), words, f->reply.text);
	assert_int_equal(link_fd(s->link), -1);
}

#endif
