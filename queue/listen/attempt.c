/*
 * One transaction with SES. Where it matters it stops before the final dot: a message whose
 * recipients have tokens is journaled there; one that a plain SMTP client sent to several
 * recipients goes no further when SES has refused one of them.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>

#define STEP_MS 60000 /* how long link_run may take before the state is looked at again */

static bool was_refused(const struct client_rcpt *r)
{
	return r->outcome.reply.code >= 400;
}

static bool has_token(const struct attempt *a, unsigned k)
{
	return a->m->rcpt[a->which[k]].once[0];
}

/* Rows for those that SES has not refused yet. */
static unsigned rows_of(const struct attempt *a, struct journal_row rows[MESSAGE_RCPTS])
{
	unsigned n = 0;

	for (unsigned k = 0; k < a->n; k++)
		if (has_token(a, k) && !was_refused(&a->rcpt[k]))
			rows[n++] = (struct journal_row) {
				.m = a->m, .i = a->which[k], .doubt = a->doubt[k]
			};
	return n;
}

/* Whether the final dot may be said; else a->answer says why not. */
static bool may_go_on(struct worker *w, struct attempt *a)
{
	struct journal_row rows[MESSAGE_RCPTS];
	struct err e = { 0 };

	for (unsigned k = 0; k < a->n && !a->m->lmtp; k++)
		if (was_refused(&a->rcpt[k])) {
			answer_ses(&a->rcpt[k].outcome.reply, a->t.began - a->m->whole_us,
				clock_mono_us() - a->t.began, a->answer);
			return false;
		}
	unsigned n = rows_of(a, rows);
	if (n == 0)
		return true;
	if (journal_sending(w->l->journal, rows, n, &e) == 0) {
		memset(a->doubt, 0, sizeof a->doubt); /* counted */
		return true;
	}
	log_line(LOG_ERR, "listen", "%s", e.text);
	answer_own(&(struct answer_own) { "451 4.3.0", VERDICT_ROAD, 30 }, a->answer,
		"the journal can't be written");
	return false;
}

static bool needs_gate(const struct attempt *a)
{
	for (unsigned k = 0; k < a->n; k++)
		if (has_token(a, k))
			return true;
	return !a->m->lmtp && a->n > 1;
}

static void prepare(struct attempt *a, struct span content)
{
	a->failed = false;
	a->t = (struct transaction) { .sender = a->m->sender,
		.rcpt = a->rcpt,
		.rcpts = a->n,
		.content = content,
		.eightbit = a->m->eightbit };
	for (unsigned k = 0; k < a->n; k++)
		a->rcpt[k] = (struct client_rcpt) { .address = a->m->rcpt[a->which[k]].address };
	a->t.gated = needs_gate(a);
	a->opened = !a->t.gated;
}

void attempt_run(struct worker *w, struct link *link, struct attempt *a)
{
	struct client *c = link_client(link);
	struct transaction *done;
	struct span content = { "", 0 };
	struct err e = { 0 };

	if (spool_span(&a->m->content, &content, &e) < 0) {
		log_line(LOG_ERR, "listen", "%s", e.text);
		a->failed = true;
		answer_own(&(struct answer_own) { "452 4.3.1", VERDICT_ROAD, 30 }, a->answer,
			"no room for the content");
		return;
	}
	prepare(a, content);
	if (a->n > client_rcptmax(c)) {
		a->failed = true;
		answer_own(&(struct answer_own) { "452 4.5.3", VERDICT_LATER, 0 }, a->answer,
			"upstream takes at most %u recipients", client_rcptmax(c));
		return;
	}
	client_submit(c, &a->t, clock_mono_ms());
	while (!(done = client_done(c))) {
		if (!a->opened && client_gate(c)) {
			if (may_go_on(w, a)) {
				a->opened = true;
				client_open_gate(c, &a->t, clock_mono_ms());
			} else {
				/* Without its dot the content is nothing. */
				a->failed = true;
				client_cut(c, STEP_DATA, "given up", clock_mono_ms());
			}
		} else {
			link_run(link, CLIENT_DEAD, clock_mono_ms() + STEP_MS, -1);
		}
	}
	assert(done == &a->t);
	w->used = true;
	if (client_state(c) != CLIENT_READY)
		worker_hang_up(w);
}

bool attempt_is_void(const struct attempt *a)
{
	for (unsigned k = 0; k < a->n; k++)
		if (!a->rcpt[k].outcome.lost || a->rcpt[k].outcome.maybe_sent)
			return false;
	return !a->failed && (!a->t.gated || !a->opened);
}
