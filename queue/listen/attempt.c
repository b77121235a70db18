/*
 * One transaction with SES. Where it matters it stops before the content: a message whose
 * recipients have tokens is journaled there; one that a plain SMTP client sent to several
 * recipients goes no further when SES has refused one of them. The journal is asked while SES still
 * thinks about DATA, so that most often nobody waits for its disk.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>

#define STEP_MS 60000 /* how long link_turn may wait before the state is looked at again */

static bool was_refused(const struct client_rcpt *r)
{
	return r->outcome.reply.code >= 400;
}

static bool has_token(const struct attempt *a, unsigned k)
{
	return a->m->rcpt[a->which[k]].once[0];
}

/* Rows for those that SES has not refused yet. */
static void begin_rows(struct worker *w, struct attempt *a)
{
	unsigned n = 0;

	for (unsigned k = 0; k < a->n; k++) {
		if (!has_token(a, k) || was_refused(&a->rcpt[k]))
			continue;
		a->rows[n++] =
			(struct journal_row) { .m = a->m, .i = a->which[k], .doubt = a->doubt[k] };
		a->row[k] = true;
	}
	a->begun = n > 0;
	if (a->begun)
		journal_begin(w->l->journal, &a->job, a->rows, n);
}

/* Waits for them. False: they are not written, and nothing may be sent. */
static bool end_rows(struct attempt *a)
{
	struct err e = { 0 };

	if (!a->begun)
		return true;
	a->begun = false;
	if (journal_end(&a->job, &e) == 0)
		return true;
	log_line(LOG_ERR, "listen", "%s", e.text);
	return false;
}

/* Whether the journal may be asked before the gate is reached. What is in doubt already is counted
 * as sent again only when it is. */
static bool may_begin_early(const struct attempt *a)
{
	for (unsigned k = 0; k < a->n; k++)
		if (a->doubt[k] || (!a->m->lmtp && was_refused(&a->rcpt[k])))
			return false;
	return true;
}

/* They are journaled as sent in spite of doubt, and will be. */
static void note_resent(struct worker *w, struct attempt *a)
{
	for (unsigned k = 0; k < a->n; k++) {
		const struct message_rcpt *to = &a->m->rcpt[a->which[k]];
		if (!a->doubt[k] || was_refused(&a->rcpt[k]))
			continue;
		a->doubt[k] = false;
		figures_one(&w->l->figures.resent);
		log_line(LOG_WARNING, "listen",
			"%s: to=<%s>, client=%s: in doubt: SES may have it; sent again", a->m->id,
			to->address, a->m->client);
	}
}

/* Whether the content may be sent; else a->answer says why not. */
static bool may_go_on(struct worker *w, struct attempt *a)
{
	for (unsigned k = 0; k < a->n && !a->m->lmtp; k++)
		if (was_refused(&a->rcpt[k])) {
			answer_ses(&a->rcpt[k].outcome.reply, a->t.began - a->m->whole_us,
				clock_mono_us() - a->t.began, a->answer);
			return false;
		}
	if (!a->begun)
		begin_rows(w, a);
	if (end_rows(a)) {
		note_resent(w, a);
		return true;
	}
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
	bool asked = false;

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
		} else if (!a->opened && !asked && client_near_gate(c)) {
			asked = true;
			if (may_begin_early(a))
				begin_rows(w, a);
		} else {
			link_turn(link, clock_mono_ms() + STEP_MS, -1);
		}
	}
	assert(done == &a->t);
	(void)end_rows(a); /* SES refused DATA */
	w->used = true;
	if (client_state(c) != CLIENT_READY)
		worker_hang_up(w);
}

/* SES ended the connection before it took anything of the message, with or without a word. */
static bool was_left(const struct outcome *o)
{
	return (o->lost && !o->maybe_sent) || (o->step == STEP_MAIL && o->reply.code == 421);
}

bool attempt_is_void(const struct attempt *a)
{
	for (unsigned k = 0; k < a->n; k++)
		if (!was_left(&a->rcpt[k].outcome))
			return false;
	return !a->failed && (!a->t.gated || !a->opened);
}
