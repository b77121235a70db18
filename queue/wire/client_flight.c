/*
 * Transactions in and out of the client: what may be submitted, what is in flight, in order, and
 * what is over.
 */
#include "wire/client_private.h"

#include "base/clock.h"

#include <assert.h>

#define AHEAD_OCTETS (64 * 1024) /* not yet written: some milliseconds of a good link */
#define AHEAD_EACH   512         /* what the commands of one come to */
#define GROUP_FLYING 2 /* the one whose content is owed an answer, and the next one's commands */

/* What is submitted has its place in line: the less of it waits to be written, the sooner something
 * more urgent can go. */
static bool has_enough_to_write(const struct client *c)
{
	size_t octets = 0;

	for (const struct transaction *t = c->sending; t && octets < AHEAD_OCTETS; t = t->next)
		octets += t->content.n + AHEAD_EACH;
	return octets >= AHEAD_OCTETS;
}

bool client_room(const struct client *c, size_t content_octets)
{
	if (c->state != CLIENT_READY || c->quit_wanted)
		return false;
	if (c->flying == 0)
		return true;
	switch (client_mode(c)) {
	case MODE_WINDOW:
		return !has_enough_to_write(c) && c->flying < c->o.window &&
		       c->flying_octets < c->o.window_bytes &&
		       content_octets <= c->o.window_bytes - c->flying_octets;
	case MODE_GROUP:
		return c->flying < GROUP_FLYING;
	case MODE_STEP:
		break;
	}
	return false;
}

static void append(struct transaction **first, struct transaction **last, struct transaction *t)
{
	t->next = NULL;
	if (*first)
		(*last)->next = t;
	else
		*first = t;
	*last = t;
}

/* No octet of it can end a command line or an argument. */
static bool sayable(const char *s, size_t max, bool blanks)
{
	size_t n = 0;

	for (; s[n]; n++)
		if (n == max || (unsigned char)s[n] < 0x20 || (s[n] == ' ' && !blanks) ||
			(unsigned char)s[n] > 0x7e)
			return false;
	return true;
}

#define PATH_MAX_OCTETS 254 /* RFC 5321 section 4.5.3.1.3, without the brackets */

static bool line_safe(const struct transaction *t)
{
	if (!sayable(t->sender, PATH_MAX_OCTETS, true))
		return false;
	for (unsigned i = 0; i < t->rcpts; i++) {
		const struct client_rcpt *r = &t->rcpt[i];
		if (!sayable(r->address, PATH_MAX_OCTETS, true) ||
			!sayable(r->once, CLIENT_ONCE_HEX, false))
			return false;
	}
	return true;
}

/* An answer of ours in the peer's place; the transaction is over before it began. */
static void refuse(struct client *c, struct transaction *t, const struct reply *r)
{
	client_settle(t, STEP_MAIL, r);
	append(&c->done_first, &c->done_last, t);
	c->done++;
}

void client_submit(struct client *c, struct transaction *t, int64_t now_ms)
{
	struct reply r;

	assert(c->state == CLIENT_READY && !c->quit_wanted);
	assert(t->rcpts > 0 && t->rcpts <= client_rcptmax(c));
	c->now_ms = now_ms;
	for (unsigned i = 0; i < t->rcpts; i++)
		t->rcpt[i].outcome = (struct outcome) { 0 };
	t->began = t->content_sent = t->ended = 0;
	t->phase = PHASE_RSET;
	t->mode = client_mode(c);
	if (t->gated && t->mode == MODE_WINDOW)
		t->mode = MODE_GROUP; /* the gate needs DATA, and DATA has to wait */
	t->refused = t->go_ahead = false;
	t->said = t->heard = t->accepted = t->settled = t->turn = 0;

	if (!line_safe(t)) {
		r = (struct reply) { 501, "5.5.4", "cenmail: unusable address" };
		refuse(c, t, &r);
	} else if (c->ehlo.size && c->ehlo.size_max > 0 && t->content.n > c->ehlo.size_max) {
		r = (struct reply) { .code = 552, .enhanced = "5.3.4" };
		snprintf(r.text, sizeof r.text,
			"cenmail: %zu octets, and the relay takes no more than %llu", t->content.n,
			(unsigned long long)c->ehlo.size_max);
		refuse(c, t, &r);
	} else {
		append(&c->first, &c->last, t);
		if (!c->sending)
			c->sending = t;
		c->flying++;
		c->flying_octets += t->content.n;
		c->mails++;
		if (c->ehlo.mailmax > 0 && c->mails >= c->ehlo.mailmax)
			c->quit_wanted = true;
	}
}

static void give_back(struct client *c, struct transaction *t)
{
	assert(t == c->first);
	c->first = t->next;
	if (!c->first)
		c->last = NULL;
	if (c->sending == t)
		c->sending = c->first;
	c->flying--;
	c->flying_octets -= t->content.n;
	c->first_since_ms = c->now_ms;
	append(&c->done_first, &c->done_last, t);
	c->done++;
}

void client_finish(struct client *c, struct transaction *t)
{
	t->ended = clock_mono_us();
	give_back(c, t);
	client_say_quit(c);
}

void client_give_up(struct client *c, struct transaction *t, bool culprit)
{
	struct outcome o = { .step = client_waits_for(c, t),
		.lost = !culprit,
		.unexpected = culprit,
		.maybe_sent = t->content_sent != 0,
		.reply = c->fault.reply };

	bool whole = true;

	for (unsigned i = 0; i < t->rcpts; i++)
		if (!client_decided(&t->rcpt[i].outcome)) {
			t->rcpt[i].outcome = o;
			whole = false;
		}
	if (whole)
		t->ended = clock_mono_us();
	give_back(c, t);
}

/* The replies that are owed to any but the first in flight are none of ours any longer. */
static void forget_replies(struct client *c)
{
	size_t n = 0;

	while (n < c->fifo_len && c->fifo[(c->fifo_first + n) % c->fifo_cap].t == c->first)
		n++;
	c->fifo_len = n;
	if (c->fifo_written > n)
		c->fifo_written = n;
}

void client_withdraw(struct client *c, int64_t now_ms)
{
	const struct outcome o = { .lost = true,
		.reply.text = "the message before it is not answered: it goes another way" };

	c->now_ms = now_ms;
	if (c->state == CLIENT_DEAD || !c->first || !c->first->next ||
		client_mode(c) == MODE_WINDOW)
		return;
	if (c->first->next->phase != PHASE_RSET) {
		c->doomed = c->quit_wanted = true;
		forget_replies(c);
	}
	if (c->sending != c->first)
		c->sending = NULL;
	for (struct transaction *t; (t = c->first->next);) {
		c->first->next = t->next;
		for (unsigned i = 0; i < t->rcpts; i++)
			t->rcpt[i].outcome = o;
		c->flying--;
		c->flying_octets -= t->content.n;
		append(&c->done_first, &c->done_last, t);
		c->done++;
	}
	c->last = c->first;
}

bool client_content_out(const struct client *c)
{
	return c->first && c->first->content_sent != 0;
}

struct transaction *client_done(struct client *c)
{
	struct transaction *t = c->done_first;

	if (!t)
		return NULL;
	c->done_first = t->next;
	t->next = NULL;
	c->done--;
	return t;
}

bool client_has_done(const struct client *c)
{
	return c->done_first != NULL;
}

unsigned client_flying(const struct client *c)
{
	return c->flying + c->done;
}

struct transaction *client_gate(struct client *c)
{
	struct transaction *t = c->sending;

	return t && t->phase == PHASE_GATE && client_unsent(c) == 0 ? t : NULL;
}

struct transaction *client_near_gate(struct client *c)
{
	struct transaction *t = c->sending;
	const bool near = t && t->gated && (t->phase == PHASE_GO || t->phase == PHASE_GATE) &&
			  t->heard == t->rcpts && t->accepted > 0 && !t->refused;

	return near && client_unsent(c) == 0 ? t : NULL;
}

void client_open_gate(struct client *c, struct transaction *t, int64_t now_ms)
{
	c->now_ms = now_ms;
	assert(t == c->sending && t->phase == PHASE_GATE);
	t->phase = PHASE_BODY;
}
