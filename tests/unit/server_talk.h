/*
 * An owner of the server engine that notes what it is told, and a dialogue given to it whole, octet
 * by octet, and cut at random points.
 */
#ifndef TEST_SERVER_TALK_H
#define TEST_SERVER_TALK_H

#include "wire/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct owner {
	struct buf replies; /* codes: "250 " each; a reply of several lines counts once */
	struct buf text;    /* replies as they were */
	struct buf events;  /* what the engine told its owner */
	struct buf content;
	struct server *server;
	bool pause_after_message;
	unsigned rcpts;
};

static void on_reply(void *arg, struct span text)
{
	struct owner *w = arg;

	assert_true(text.n >= 6);
	assert_memory_equal(text.p + text.n - 2, "\r\n", 2);
	buf_add(&w->replies, text.p, 3);
	buf_add_char(&w->replies, ' ');
	buf_add_span(&w->text, text);
}

static const char *on_mail(void *arg, const struct server_mail *m)
{
	struct owner *w = arg;

	buf_printf(&w->events, "mail(%s,%llu%s)", m->sender, (unsigned long long)m->size,
		m->eightbit ? ",8" : "");
	if (strcmp(m->sender, "refused@a") == 0)
		return "550 5.7.1 no";
	if (strcmp(m->sender, "stopping@a") == 0)
		return "421 4.3.2 stopping";
	return "";
}

static const char *on_rcpt(void *arg, const struct server_rcpt *r)
{
	struct owner *w = arg;

	if (strcmp(r->address.text, "refused@b") == 0)
		return "550 5.1.1 no";
	buf_printf(&w->events, "rcpt(%s%s%s)", r->address.text, r->once[0] ? "," : "", r->once);
	w->rcpts++;
	return "";
}

static const char *on_content(void *arg, struct span in)
{
	struct owner *w = arg;

	if (memmem(in.p, in.n, "!", 1))
		return "554 5.6.0 no exclamations";
	buf_add_span(&w->content, in);
	return NULL;
}

static void on_message(void *arg, bool lmtp, bool eightbit)
{
	struct owner *w = arg;

	buf_printf(&w->events, "message(%s%s%.*s)", lmtp ? "lmtp," : "", eightbit ? "8," : "",
		(int)w->content.len, buf_str(&w->content));
	for (unsigned i = 0; i < (lmtp ? w->rcpts : 1); i++)
		on_reply(w, span_of("250 2.0.0 Ok id\r\n"));
	if (w->pause_after_message)
		server_pause(w->server, true);
}

static void on_reset(void *arg)
{
	struct owner *w = arg;

	buf_clear(&w->content);
	w->rcpts = 0;
}

static const char *on_auth(void *arg, struct span response, char *name, size_t size)
{
	struct owner *w = arg;

	buf_printf(&w->events, "auth(%zu)", response.n);
	if (!span_eq(response, span_make("\0joe\0secret", 11)))
		return "535 5.7.8 Wrong";
	snprintf(name, size, "joe");
	return "";
}

static const struct server_ops ops = { on_reply, on_mail, on_rcpt, on_content, on_message, on_reset,
	on_auth };

static const struct server_options usual = {
	.hostname = "tokyo.example",
	.message_size = 1000,
	.rcptmax = 3,
	.offer_lmtp = true,
	.offer_starttls = true,
	.offer_auth = true,
	.offer_chunking = true,
	.offer_limits = true,
	.xonce = "0123abcd 2592000",
};

static void owner_init(struct owner *w)
{
	*w = (struct owner) { .rcpts = 0 };
	buf_init(&w->replies, 1 << 20);
	buf_init(&w->text, 1 << 20);
	buf_init(&w->events, 1 << 20);
	buf_init(&w->content, 1 << 20);
}

static void owner_done(struct owner *w)
{
	server_free(w->server);
	buf_done(&w->replies);
	buf_done(&w->text);
	buf_done(&w->events);
	buf_done(&w->content);
}

/* Brings all of the input in pieces of at most `piece` octets (0: cut at random). */
static void feed(struct owner *w, struct span in, size_t piece, unsigned *seed)
{
	while (in.n > 0 && server_state(w->server) == SERVER_OPEN) {
		size_t n = piece ? piece : 1 + (size_t)rand_r(seed) % 40, used;
		if (n > in.n)
			n = in.n;
		server_input(w->server, span_make(in.p, n), &used);
		assert_true(used <= n);
		assert_true(used == n || server_state(w->server) != SERVER_OPEN);
		in = span_from(in, used);
	}
}

/* One dialogue, `tls`: behind a handshake. */
static void run(struct owner *w, const struct server_options *o, bool tls, struct span in,
	size_t piece, unsigned *seed)
{
	owner_init(w);
	w->server = server_new(o, &ops, w);
	if (tls)
		server_tls_done(w->server, "TLSv1.3");
	feed(w, in, piece, seed);
}

static void expect(const struct server_options *o, bool tls, struct span in, const char *replies,
	const char *events, enum server_state state)
{
	unsigned seed = 1;

	for (int round = 0; round < 24; round++) {
		struct owner w;
		run(&w, o, tls, in, round == 0 ? in.n : round == 1 ? 1 : 0, &seed);
		assert_string_equal(buf_str(&w.replies), replies);
		if (events)
			assert_string_equal(buf_str(&w.events), events);
		assert_int_equal(server_state(w.server), state);
		owner_done(&w);
	}
}

#define E  "EHLO c\r\n"
#define L  "LHLO c\r\n"
#define M  "MAIL FROM:<a@a>\r\n"
#define R  "RCPT TO:<b@b>\r\n"
#define R2 "RCPT TO:<c@c>\r\n"
#define RX "RCPT TO:<refused@b>\r\n"
#define MX "MAIL FROM:<refused@a>\r\n"

#endif
