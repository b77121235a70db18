/*
 * The replies to a transaction's own commands, recipient by recipient. A recipient has his outcome
 * as soon as something refused him, or when the content that he was to get was answered for him;
 * "sent" comes from a 2yz to the content and from nothing else.
 */
#include "wire/client_private.h"

#include <assert.h>

bool client_decided(const struct outcome *o)
{
	return o->lost || o->unexpected || o->reply.code != 0;
}

void client_settle(struct transaction *t, enum step step, const struct reply *r)
{
	for (unsigned i = 0; i < t->rcpts; i++) {
		struct outcome *o = &t->rcpt[i].outcome;
		if (!client_decided(o))
			*o = (struct outcome) { .step = step, .reply = *r };
	}
}

bool client_is_hopeless(const struct transaction *t)
{
	if (t->go_ahead || t->phase < PHASE_RCPT)
		return false;
	return t->refused || (t->heard == t->rcpts && t->accepted == 0);
}

/* Something was accepted of a transaction that is refused: the two ends don't mean the same one,
 * and no answer to it counts, neither the refusal nor what follows. */
static void disown(struct client *c, const struct expect *x, const struct reply *r)
{
	for (unsigned i = 0; i < x->t->rcpts; i++)
		x->t->rcpt[i].outcome = (struct outcome) { 0 };
	client_die_unexpected(c, x, r, NULL);
}

void client_on_mail(struct client *c, const struct expect *x, const struct reply *r)
{
}

void client_on_no_mail(struct client *c, const struct expect *x, const struct reply *r)
{
	x->t->refused = true;
	client_settle(x->t, STEP_MAIL, r);
}

void client_on_rcpt(struct client *c, const struct expect *x, const struct reply *r)
{
	if (x->t->refused) {
		disown(c, x, r);
		return;
	}
	x->t->heard++;
	x->t->accepted++;
}

void client_on_no_rcpt(struct client *c, const struct expect *x, const struct reply *r)
{
	struct outcome *o = &x->t->rcpt[x->rcpt].outcome;

	x->t->heard++;
	if (!client_decided(o))
		*o = (struct outcome) { .step = STEP_RCPT, .reply = *r };
}

void client_on_go_ahead(struct client *c, const struct expect *x, const struct reply *r)
{
	if (r->code != 354)
		client_die_unexpected(c, x, r, NULL);
	else
		x->t->go_ahead = true;
}

void client_on_no_data(struct client *c, const struct expect *x, const struct reply *r)
{
	x->t->refused = true;
	client_settle(x->t, STEP_DATA, r);
}

/* The recipient that a reply to the content is about: under LMTP the next accepted one, in the
 * order of their RCPTs (RFC 2033 section 4.2). */
static void settle_content(struct client *c, struct transaction *t, const struct reply *r)
{
	t->settled++;
	if (!c->o.relay->lmtp) {
		client_settle(t, STEP_CONTENT, r);
		return;
	}
	while (t->turn < t->rcpts && client_decided(&t->rcpt[t->turn].outcome))
		t->turn++;
	if (t->turn < t->rcpts)
		t->rcpt[t->turn].outcome = (struct outcome) { .step = STEP_CONTENT, .reply = *r };
}

bool client_content_owes(const struct client *c, const struct transaction *t)
{
	return c->o.relay->lmtp && t->settled < t->accepted;
}

void client_on_content(struct client *c, const struct expect *x, const struct reply *r)
{
	struct transaction *t = x->t;

	if (t->accepted == 0 && !t->go_ahead) { /* not the lone dot, whose 250 delivers nobody */
		disown(c, x, r);
		return;
	}
	settle_content(c, t, r);
	if (t->mode == MODE_STEP)
		c->needs_rset = false;
}

void client_on_no_content(struct client *c, const struct expect *x, const struct reply *r)
{
	settle_content(c, x->t, r);
}

void client_on_early_refusal(struct client *c, const struct expect *x, const struct reply *r)
{
	struct outcome fault = { .step = STEP_CONTENT, .lost = true, .reply = *r };

	settle_content(c, x->t, r);
	client_die(c, &fault, NULL);
}
