/*
 * What a reply means: a table from the step that the first expected reply belongs to and the
 * reply's class to what follows. Where the table has no entry the reply can't be, and the
 * connection ends.
 */
#include "wire/client_private.h"

typedef void (*on_reply)(struct client *c, const struct expect *x, const struct reply *r);

static void refused(struct client *c, const struct expect *x, const struct reply *r)
{
	client_die_refused(c, x->step, r);
}

static void bye(struct client *c, const struct expect *x, const struct reply *r)
{
	client_die_refused(c, x->step, r);
}

static void nothing(struct client *c, const struct expect *x, const struct reply *r)
{
}

/* clang-format off */
static const on_reply table[][4] = {
	/*                  2yz                  3yz                  4yz                    5yz */
	[STEP_GREETING] = { client_on_greeting,  NULL,                refused,               refused },
	[STEP_EHLO]     = { client_on_ehlo,      NULL,                refused,               client_on_no_ehlo },
	[STEP_STARTTLS] = { client_on_starttls,  NULL,                client_on_no_starttls, client_on_no_starttls },
	[STEP_AUTH]     = { client_on_auth,      client_on_challenge, refused,               refused },
	[STEP_MAIL]     = { client_on_mail,      NULL,                client_on_no_mail,     client_on_no_mail },
	[STEP_RCPT]     = { client_on_rcpt,      NULL,                client_on_no_rcpt,     client_on_no_rcpt },
	[STEP_DATA]     = { NULL,                client_on_go_ahead,  client_on_no_data,     client_on_no_data },
	[STEP_CONTENT]  = { client_on_content,   NULL,                client_on_no_content,  client_on_no_content },
	[STEP_RSET]     = { nothing,             NULL,                refused,               refused },
	[STEP_QUIT]     = { bye,                 bye,                 bye,                   bye },
};
/* clang-format on */

/* Whether the command that the reply would answer has been written. */
static bool is_written(const struct client *c, const struct expect *x)
{
	return x->end <= c->written;
}

/* The peer is going away (RFC 5321 section 3.8). To the command that it answers this is a reply
 * like any other; for the rest the connection is lost. */
static void take_421(struct client *c, const struct expect *x, const struct reply *r)
{
	if (x && x->t && x->step != STEP_RSET && is_written(c, x))
		table[x->step][2](c, x, r);
	client_die_refused(c, x ? x->step : STEP_CONNECT, r);
}

/* After a reply was taken: is the transaction that it was about over? */
static void conclude(struct client *c, const struct expect *x)
{
	struct transaction *t = c->sending;

	if (x->step == STEP_CONTENT) {
		if (client_content_owes(c, x->t))
			return;
		client_pop(c);
		client_finish(c, x->t);
		return;
	}
	client_pop(c);
	if (c->fifo_len == 0 && t && client_is_hopeless(t))
		client_finish(c, t);
	else
		client_say_quit(c);
}

void client_take_reply(struct client *c, const struct reply *r)
{
	struct expect *head = client_head(c);
	struct expect x;

	if (head)
		x = *head;
	if (r->code == 421) {
		take_421(c, head ? &x : NULL, r);
		return;
	}
	if (head && !is_written(c, head) && x.step == STEP_CONTENT && r->code >= 400 &&
		(c->written > x.begin || x.t->phase == PHASE_GATE)) {
		client_on_early_refusal(c, &x, r);
		return;
	}
	if (!head || !is_written(c, head) || !table[x.step][r->code / 100 - 2]) {
		client_die_unexpected(c, head ? &x : NULL, r, NULL);
		return;
	}
	table[x.step][r->code / 100 - 2](c, &x, r);
	if (c->state != CLIENT_DEAD)
		conclude(c, &x);
}
