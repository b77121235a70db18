/*
 * The FIFO of expected replies. Its entries stand in the order of their commands, each with the
 * place in the stream where its command ends, so that a reply is only taken for an answer to what
 * has been written.
 */
#include "wire/client_private.h"

#include "base/clock.h"

#include <assert.h>

#define FIFO_FIRST 64

static struct expect *at(const struct client *c, size_t i)
{
	return &c->fifo[(c->fifo_first + i) % c->fifo_cap];
}

static bool grow(struct client *c)
{
	size_t cap = c->fifo_cap ? c->fifo_cap * 2 : FIFO_FIRST;
	struct expect *p = calloc(cap, sizeof *p);

	if (!p)
		return false;
	for (size_t i = 0; i < c->fifo_len; i++)
		p[i] = *at(c, i);
	free(c->fifo);
	c->fifo = p;
	c->fifo_cap = cap;
	c->fifo_first = 0;
	return true;
}

void client_expect(
	struct client *c, enum step step, struct transaction *t, unsigned rcpt, uint64_t begin)
{
	if (c->fifo_len == c->fifo_cap && !grow(c)) {
		client_die_lost(c, step, "out of memory");
		return;
	}
	*at(c, c->fifo_len) = (struct expect) { .step = step,
		.t = t,
		.rcpt = rcpt,
		.begin = begin,
		.end = step == STEP_CONTENT ? EXPECT_OPEN : client_staged(c) };
	c->fifo_len++;
}

struct expect *client_head(struct client *c)
{
	return c->fifo_len > 0 ? at(c, 0) : NULL;
}

void client_pop(struct client *c)
{
	assert(c->fifo_len > 0);
	c->fifo_first = (c->fifo_first + 1) % c->fifo_cap;
	c->fifo_len--;
	if (c->fifo_written > 0)
		c->fifo_written--;
	c->head_since_ms = c->now_ms;
}

void client_close_content(struct client *c)
{
	struct expect *x = at(c, c->fifo_len - 1);

	assert(c->fifo_len > 0 && x->step == STEP_CONTENT);
	x->end = client_staged(c);
}

void client_note_written(struct client *c)
{
	while (c->fifo_written < c->fifo_len) {
		struct expect *x = at(c, c->fifo_written);
		if (x->end > c->written)
			break;
		if (x->step == STEP_CONTENT)
			x->t->content_sent = clock_mono_us();
		if (c->fifo_written++ == 0)
			c->head_since_ms = c->now_ms;
	}
}

enum step client_waits_for(const struct client *c, const struct transaction *t)
{
	const struct expect *x = NULL;

	for (size_t i = 0; i < c->fifo_len && !x; i++)
		if (at(c, i)->t == t)
			x = at(c, i);
	/* Nothing of it has been said: what happens is not its fault. */
	if (!t->began ||
		(x && (x->step == STEP_MAIL || x->step == STEP_RSET) && x->begin >= c->written))
		return STEP_CONNECT;
	if (x)
		return x->step;
	switch ((enum phase)t->phase) {
	case PHASE_RSET:
	case PHASE_MAIL:
		return STEP_MAIL;
	case PHASE_RCPT:
		return STEP_RCPT;
	case PHASE_DATA:
	case PHASE_GO:
		return STEP_DATA;
	case PHASE_BODY:
	case PHASE_GATE:
	case PHASE_DOT:
	case PHASE_OVER:
		break;
	}
	return STEP_CONTENT;
}
