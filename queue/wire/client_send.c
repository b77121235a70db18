/*
 * The send plan: what may be written next. A transaction goes through its phases in order; what it
 * waits for at each is its mode's (must_wait). Content is borrowed and passes through the staging
 * buffer in pieces, so that nothing big is copied whole, while many small messages share one write
 * (and one TLS record).
 *
 *   WINDOW  MAIL RCPT… BDAT n LAST content MAIL RCPT… BDAT n LAST content …
 *   GROUP   MAIL RCPT… DATA | content . RSET MAIL RCPT… DATA | content . …
 *   STEP    MAIL | RCPT | … | DATA | content . | MAIL | …        ( | = all replies awaited )
 *
 * What is gated stops before its content, so that content and dot go in one write.
 *
 * DATA, QUIT and EHLO stay last in their group (RFC 2920 section 3.1).
 */
#include "wire/client_private.h"

#include "base/clock.h"
#include "base/dsn.h"

#define STAGE_OCTETS  (32 * 1024) /* two TLS records */
#define REFILL_OCTETS (16 * 1024) /* with less than this staged, more is */

size_t client_unsent(const struct client *c)
{
	return c->out.len - c->out_off;
}

uint64_t client_staged(const struct client *c)
{
	return c->written + client_unsent(c);
}

enum mode client_mode(const struct client *c)
{
	if (!c->ehlo.pipelining)
		return MODE_STEP;
	return c->ehlo.xonce && c->ehlo.chunking ? MODE_WINDOW : MODE_GROUP;
}

static bool by_bdat(const struct client *c, const struct transaction *t)
{
	return c->ehlo.chunking && !t->gated;
}

/* Whether replies that are owed have to come first. */
static bool must_wait(const struct client *c, const struct transaction *t)
{
	bool content = t->phase == PHASE_GO || (t->phase == PHASE_DATA && by_bdat(c, t));

	if (c->fifo_len == 0 || t->phase > PHASE_GO)
		return false;
	switch ((enum mode)t->mode) {
	case MODE_WINDOW:
		return false;
	case MODE_GROUP:
		return content;
	case MODE_STEP:
		break;
	}
	return true;
}

static void add_param(struct buf *out, const char *name, const char *value)
{
	buf_add_char(out, ' ');
	buf_add_str(out, name);
	buf_add_str(out, value);
}

/* A notification is no reason to lose mail: a value that is none is left out, and so are all where
 * the peer does not offer them. */
static void add_dsn(struct client *c, const char *name, const char *value, bool (*is)(struct span))
{
	if (c->ehlo.dsn && value && is(span_of(value)))
		add_param(&c->out, name, value);
}

static void say_rset(struct client *c, struct transaction *t)
{
	uint64_t begin = client_staged(c);

	buf_add_str(&c->out, "RSET\r\n");
	client_expect(c, STEP_RSET, t, 0, begin);
	c->needs_rset = false;
}

static void say_mail(struct client *c, struct transaction *t)
{
	uint64_t begin = client_staged(c);

	buf_add_str(&c->out, "MAIL FROM:<");
	buf_add_str(&c->out, t->sender);
	buf_add_char(&c->out, '>');
	if (c->ehlo.size)
		buf_printf(&c->out, " SIZE=%zu", t->content.n);
	if (t->eightbit && c->ehlo.eightbit)
		buf_add_str(&c->out, " BODY=8BITMIME");
	add_dsn(c, "RET=", t->ret, dsn_is_ret);
	add_dsn(c, "ENVID=", t->envid, dsn_is_envid);
	buf_add_str(&c->out, "\r\n");
	client_expect(c, STEP_MAIL, t, 0, begin);
	c->needs_rset = true;
	t->began = clock_mono_us();
	if (t == c->first)
		c->first_since_ms = c->now_ms;
}

static void say_rcpt(struct client *c, struct transaction *t)
{
	const struct client_rcpt *r = &t->rcpt[t->said];
	uint64_t begin = client_staged(c);

	buf_add_str(&c->out, "RCPT TO:<");
	buf_add_str(&c->out, r->address);
	buf_add_char(&c->out, '>');
	add_dsn(c, "NOTIFY=", r->notify, dsn_is_notify);
	add_dsn(c, "ORCPT=", r->orcpt, dsn_is_orcpt);
	if (c->ehlo.xonce && r->once[0])
		add_param(&c->out, "XONCE=", r->once);
	buf_add_str(&c->out, "\r\n");
	client_expect(c, STEP_RCPT, t, t->said++, begin);
}

static void say_data(struct client *c, struct transaction *t)
{
	uint64_t begin = client_staged(c);

	if (by_bdat(c, t)) {
		buf_printf(&c->out, "BDAT %zu LAST\r\n", t->content.n);
		client_expect(c, STEP_CONTENT, t, 0, begin);
		c->body_off = 0;
		t->phase = PHASE_BODY;
	} else {
		buf_add_str(&c->out, "DATA\r\n");
		client_expect(c, STEP_DATA, t, 0, begin);
		t->phase = PHASE_GO;
	}
}

/* 354 came. To a transaction that has nobody left it should not have: a lone dot is the way out. */
static void begin_body(struct client *c, struct transaction *t)
{
	client_expect(c, STEP_CONTENT, t, 0, client_staged(c));
	c->body_off = 0;
	stuff_init(&c->stuff);
	t->phase = t->accepted == 0 ? PHASE_DOT : t->gated ? PHASE_GATE : PHASE_BODY;
}

/* All of it is staged. */
static void end_transaction(struct client *c, struct transaction *t)
{
	client_close_content(c);
	t->phase = PHASE_OVER;
	c->sending = t->next;
	/* A peer that offers XONCE ends a transaction at BDAT LAST, whatever it answers. */
	if (t->mode == MODE_WINDOW)
		c->needs_rset = false;
}

static void say_body(struct client *c, struct transaction *t)
{
	struct span piece = span_from(t->content, c->body_off);
	size_t room = STAGE_OCTETS - client_unsent(c);
	bool bdat = by_bdat(c, t);

	piece.n = piece.n < room ? piece.n : room;
	if (bdat)
		buf_add_span(&c->out, piece);
	else
		stuff_add(&c->stuff, piece, &c->out);
	c->body_off += piece.n;
	if (c->body_off < t->content.n)
		return;
	if (bdat) {
		end_transaction(c, t);
	} else {
		stuff_end(&c->stuff, &c->out);
		t->phase = PHASE_DOT;
	}
}

static void say_dot(struct client *c, struct transaction *t)
{
	buf_add_str(&c->out, ".\r\n");
	end_transaction(c, t);
}

/* One command, or one piece of content. False when nothing may be written now. */
static bool plan_one(struct client *c)
{
	struct transaction *t = c->sending;

	if (!t || must_wait(c, t))
		return false;
	switch ((enum phase)t->phase) {
	case PHASE_RSET:
		if (c->needs_rset)
			say_rset(c, t);
		t->phase = PHASE_MAIL;
		break;
	case PHASE_MAIL:
		say_mail(c, t);
		t->phase = PHASE_RCPT;
		break;
	case PHASE_RCPT:
		say_rcpt(c, t);
		if (t->said == t->rcpts)
			t->phase = PHASE_DATA;
		break;
	case PHASE_DATA:
		say_data(c, t);
		break;
	case PHASE_GO:
		begin_body(c, t);
		break;
	case PHASE_BODY:
		say_body(c, t);
		break;
	case PHASE_DOT:
		say_dot(c, t);
		break;
	case PHASE_GATE:
	case PHASE_OVER:
		return false;
	}
	return c->state != CLIENT_DEAD; /* out of memory */
}

void client_plan(struct client *c)
{
	if (c->state != CLIENT_READY || client_unsent(c) >= REFILL_OCTETS)
		return;
	buf_drop(&c->out, c->out_off);
	c->out_off = 0;
	while (client_unsent(c) < STAGE_OCTETS && plan_one(c))
		;
}

void client_say_quit(struct client *c)
{
	uint64_t begin = client_staged(c);

	if (c->state != CLIENT_READY || !c->quit_wanted || c->first || c->fifo_len > 0)
		return;
	if (c->doomed) { /* QUIT would be taken for content */
		client_die_lost(c, STEP_QUIT, "ended after an answer that took long");
		return;
	}
	buf_add_str(&c->out, "QUIT\r\n");
	client_expect(c, STEP_QUIT, NULL, 0, begin);
	c->state = CLIENT_QUITTING;
}
