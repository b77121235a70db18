/*
 * The client's life: octets in and out, state, deadlines, the end.
 */
#include "wire/client_private.h"

#include "base/clock.h"

#include <assert.h>

#define RCPTMAX_XONCE   50  /* SES's own limit */
#define RCPTMAX_DEFAULT 100 /* RFC 5321 section 4.5.3.1.8: every server takes as many */
#define RCPTMAX_CEILING 1000
#define OUT_MAX         (128 * 1024)
#define WRITE_MS        (3 * 60 * 1000)
#define MB              (1024 * 1024)

struct client *client_new(const struct client_options *o, int64_t now_ms)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	assert(o->window > 0);
	assert(!o->in_clear || o->relay->tls == RELAY_TLS_MAY);
	c->o = *o;
	c->born_ms = c->now_ms = now_ms;
	parser_init(&c->parser);
	buf_init_secret(&c->out, OUT_MAX); /* AUTH goes through it */
	client_expect(c, STEP_GREETING, NULL, 0, 0);
	client_note_written(c);
	if (c->state == CLIENT_DEAD) {
		client_free(c);
		return NULL;
	}
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	sasl_login_free(c->login);
	parser_done(&c->parser);
	buf_done(&c->out);
	free(c->fifo);
	free(c);
}

void client_input(struct client *c, struct span in, int64_t now_ms)
{
	const char *why = "";
	size_t used;

	c->now_ms = now_ms;
	assert(c->tls || c->o.relay->tls != RELAY_TLS_WRAPPED || c->state == CLIENT_DEAD);
	while (in.n > 0 && c->state != CLIENT_DEAD) {
		if (c->state == CLIENT_TLS) { /* RFC 3207: whoever sent them is not the peer */
			client_die_unexpected(
				c, NULL, NULL, "octets between the answer to STARTTLS and TLS");
			return;
		}
		switch (parser_add(&c->parser, in, &used, &why)) {
		case PARSER_MORE:
			break;
		case PARSER_REPLY:
			client_take_reply(c, &c->parser.reply);
			break;
		case PARSER_BAD:
			client_die_unexpected(c, client_head(c), NULL, why);
			break;
		}
		in = span_from(in, used);
	}
}

struct span client_output(struct client *c, int64_t now_ms)
{
	c->now_ms = now_ms;
	if (c->state != CLIENT_DEAD)
		client_plan(c);
	if (c->out.failed)
		client_die_lost(c, STEP_CONNECT, "out of memory");
	if (c->state == CLIENT_DEAD)
		return span_make(NULL, 0);
	if (!c->writing && client_unsent(c) > 0) {
		c->writing = true;
		c->write_since_ms = now_ms;
	}
	return span_from(buf_span(&c->out), c->out_off);
}

void client_written(struct client *c, size_t n, int64_t now_ms)
{
	c->now_ms = now_ms;
	if (c->state == CLIENT_DEAD || n == 0)
		return;
	assert(n <= client_unsent(c));
	c->out_off += n;
	c->written += n;
	c->write_since_ms = now_ms;
	c->writing = client_unsent(c) > 0;
	client_note_written(c);
}

void client_tls_done(struct client *c, bool verified, int64_t now_ms)
{
	c->now_ms = now_ms;
	if (c->state == CLIENT_DEAD)
		return;
	c->tls = true;
	c->verified = verified;
	if (!verified && c->o.relay->tls != RELAY_TLS_MAY) {
		client_die_lost(c, STEP_TLS, "the peer is not verified");
	} else if (c->state == CLIENT_TLS) {
		c->state = CLIENT_OPENING;
		client_say_ehlo(c);
	}
}

void client_cut(struct client *c, enum step step, const char *why, int64_t now_ms)
{
	c->now_ms = now_ms;
	client_die_lost(c, step, why);
}

/* --- state --- */

enum client_state client_state(const struct client *c)
{
	return c->state;
}

const struct outcome *client_fault(const struct client *c)
{
	return &c->fault;
}

const struct ehlo *client_ehlo(const struct client *c)
{
	return &c->ehlo;
}

unsigned client_rcptmax(const struct client *c)
{
	if (c->ehlo.rcptmax == 0)
		return c->ehlo.xonce ? RCPTMAX_XONCE : RCPTMAX_DEFAULT;
	return c->ehlo.rcptmax < RCPTMAX_CEILING ? c->ehlo.rcptmax : RCPTMAX_CEILING;
}

/* RFC 5321 section 4.5.3.2, in seconds. */
static const int patience_s[] = {
	[STEP_CONNECT] = 5 * 60,
	[STEP_TLS] = 5 * 60,
	[STEP_GREETING] = 5 * 60,
	[STEP_EHLO] = 5 * 60,
	[STEP_STARTTLS] = 5 * 60,
	[STEP_AUTH] = 5 * 60,
	[STEP_MAIL] = 5 * 60,
	[STEP_RCPT] = 5 * 60,
	[STEP_DATA] = 2 * 60,
	[STEP_CONTENT] = 10 * 60,
	[STEP_RSET] = 5 * 60,
	[STEP_QUIT] = 30, /* nothing hangs on it */
};

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t client_deadline(const struct client *c, enum step *ret_step)
{
	int64_t fixed = c->o.reply_ms, at = INT64_MAX;
	enum step step = STEP_CONNECT;

	if (c->state == CLIENT_DEAD || c->state == CLIENT_TLS)
		return INT64_MAX;
	if (c->fifo_len > 0)
		step = c->fifo[c->fifo_first].step;
	if (c->fifo_written > 0)
		at = c->head_since_ms + (fixed ? fixed : patience_s[step] * INT64_C(1000));
	if (c->writing)
		at = min64(at, c->write_since_ms + (fixed ? fixed : WRITE_MS));
	if (c->o.opening_ms && c->state == CLIENT_OPENING)
		at = min64(at, c->born_ms + c->o.opening_ms);
	if (c->o.total_ms && c->first && c->first->began)
		at = min64(at, c->first_since_ms + c->o.total_ms +
				       (int64_t)(c->first->content.n / MB) * 60 * 1000);
	if (at != INT64_MAX)
		*ret_step = step;
	return at;
}

void client_quit(struct client *c, int64_t now_ms)
{
	c->now_ms = now_ms;
	c->quit_wanted = true;
	client_say_quit(c);
}

/* --- the end --- */

void client_die(struct client *c, const struct outcome *fault, struct transaction *culprit)
{
	if (c->state == CLIENT_DEAD)
		return;
	c->state = CLIENT_DEAD;
	c->fault = *fault;
	c->writing = false;
	while (c->first)
		client_give_up(c, c->first, fault->unexpected && c->first == culprit);
}

void client_die_lost(struct client *c, enum step step, const char *why)
{
	struct outcome o = { .step = step, .lost = true };

	snprintf(o.reply.text, sizeof o.reply.text, "%s", why);
	client_die(c, &o, NULL);
}

void client_die_refused(struct client *c, enum step step, const struct reply *r)
{
	struct outcome o = { .step = step, .reply = *r };

	client_die(c, &o, NULL);
}

void client_die_unexpected(
	struct client *c, const struct expect *x, const struct reply *r, const char *why)
{
	struct outcome o = { .step = STEP_CONNECT, .unexpected = true };
	struct transaction *culprit = x ? x->t : c->first;

	if (culprit)
		o.step = client_waits_for(c, culprit);
	else if (x)
		o.step = x->step;
	else if (c->state == CLIENT_TLS)
		o.step = STEP_STARTTLS;
	if (o.step == STEP_CONNECT)
		culprit = NULL;
	if (r)
		o.reply = *r;
	else
		snprintf(o.reply.text, sizeof o.reply.text, "%s", why);
	client_die(c, &o, culprit);
}
