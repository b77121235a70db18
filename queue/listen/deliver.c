/*
 * A message's recipients: what the journal knows of each, SES for the rest, and the answers.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>

#define THROTTLE_MS  10000 /* how long a throttled transaction is tried again here */
#define THROTTLE_MIN 500   /* and how long at least it waits in between */

/* --- the log --- */

static const char *status_word(const char *answer)
{
	return answer[0] == '2' ? "sent" : answer[0] == '5' ? "bounced" : "deferred";
}

static void log_recipient(const struct worker *w, const struct message *m, unsigned i,
	const char *answer, const char *note)
{
	log_line(LOG_INFO, "listen",
		"%s: to=<%s>, from=<%s>, client=%s, relay=%s, size=%llu, delay=%.3f, status=%s "
		"(%s)%s",
		m->id, m->rcpt[i].address, m->sender, m->client,
		w->link ? link_peer(w->link) : w->l->upstream.text,
		(unsigned long long)message_octets(m),
		(double)(clock_mono_us() - m->whole_us) / 1e6, status_word(answer), answer, note);
}

static void answer_one(
	struct worker *w, struct message *m, unsigned i, const char *answer, const char *note)
{
	log_recipient(w, m, i, answer, note);
	message_answer(m, i, answer);
}

/* --- before SES --- */

/* In doubt: earlier it was given to SES, and no answer came. True: send it again. */
static bool resend_in_doubt(struct worker *w, struct message *m, unsigned i)
{
	bool hold = w->l->conf.in_doubt == IN_DOUBT_HOLD;

	log_line(LOG_WARNING, "listen", "%s: to=<%s>, client=%s: in doubt: SES may have it; %s",
		m->id, m->rcpt[i].address, m->client, hold ? "held" : "sent again");
	return !hold;
}

static void hold_in_doubt(struct worker *w, struct message *m, unsigned i)
{
	char answer[ANSWER_MAX + 1];

	answer_own(&(struct answer_own) { "451 4.4.7", VERDICT_HELD, 0 }, answer,
		"in doubt: SES may have it already; see in_doubt in the journal");
	journal_release(w->l->journal, m, i, answer);
	answer_one(w, m, i, answer, "");
}

/* Those for whom SES has to be asked; all others are answered, or will be by their twins. */
static void claim(struct worker *w, struct message *m, struct attempt *a)
{
	char answer[ANSWER_MAX + 1];
	struct err e = { 0 };

	a->m = m;
	a->n = 0;
	memset(a->doubt, 0, sizeof a->doubt);
	for (unsigned i = 0; i < m->rcpts; i++) {
		if (!m->rcpt[i].once[0]) {
			a->which[a->n++] = i;
			continue;
		}
		switch (journal_claim(w->l->journal, m, i, answer, &e)) {
		case JOURNAL_SEND:
			a->which[a->n++] = i;
			break;
		case JOURNAL_DOUBT:
			if (resend_in_doubt(w, m, i)) {
				a->doubt[a->n] = true;
				a->which[a->n++] = i;
			} else {
				hold_in_doubt(w, m, i);
			}
			break;
		case JOURNAL_DONE:
			answer_one(w, m, i, answer, " again");
			break;
		case JOURNAL_TWIN:
			break;
		case JOURNAL_BROKEN:
			log_line(LOG_ERR, "listen", "%s", e.text);
			answer_own(&(struct answer_own) { "451 4.3.0", VERDICT_ROAD, 30 }, answer,
				"the journal can't be read");
			answer_one(w, m, i, answer, "");
			break;
		}
	}
}

/* --- after SES --- */

/* None of them reached SES: one answer for all, nothing to journal. */
static void answer_all(struct worker *w, struct attempt *a, const char *answer)
{
	for (unsigned k = 0; k < a->n; k++) {
		unsigned i = a->which[k];
		if (a->m->rcpt[i].once[0])
			journal_release(w->l->journal, a->m, i, answer);
		answer_one(w, a->m, i, answer, "");
	}
}

static void make_answer(const struct attempt *a, unsigned k, char out[ANSWER_MAX + 1])
{
	const struct outcome *o = &a->rcpt[k].outcome;
	const struct transaction *t = &a->t;

	if (!o->lost && !o->unexpected)
		answer_ses(&o->reply, t->began - a->m->whole_us,
			(t->ended ? t->ended : clock_mono_us()) - t->began, out);
	else if (o->maybe_sent)
		answer_own(&(struct answer_own) { "451 4.4.2", VERDICT_LATER, 0 }, out,
			"in doubt: no answer of SES to the content: %s", o->reply.text);
	else
		answer_own(&(struct answer_own) { "451 4.4.2", VERDICT_ROAD, 0 }, out,
			"SES: no answer to %s: %s", step_name(o->step), o->reply.text);
}

/* SES has answered, or has not: the journal first, then the client. */
static void settle(struct worker *w, struct attempt *a)
{
	char(*answer)[ANSWER_MAX + 1] = calloc(a->n, sizeof *answer);
	struct journal_row rows[MESSAGE_RCPTS];
	unsigned n = 0;
	struct err e = { 0 };

	if (!answer) {
		answer_all(w, a, "451 4.3.0 cenmail: out of memory class=later");
		return;
	}
	for (unsigned k = 0; k < a->n; k++) {
		const struct outcome *o = &a->rcpt[k].outcome;
		unsigned i = a->which[k];
		make_answer(a, k, answer[k]);
		if (!a->m->rcpt[i].once[0])
			continue;
		/* One that SES refused before the gate has no row of this try; the row of an
		 * earlier one may be in doubt, and stays so. */
		if (o->maybe_sent || !a->opened || o->step == STEP_RCPT)
			journal_release(w->l->journal, a->m, i, answer[k]);
		else
			rows[n++] = (struct journal_row) {
				.m = a->m, .i = i, .answer = answer[k], .sent = answer[k][0] == '2'
			};
	}
	if (n > 0 && journal_settle(w->l->journal, rows, n, &e) < 0)
		log_line(LOG_ERR, "listen", "%s", e.text);
	for (unsigned k = 0; k < a->n; k++)
		answer_one(w, a->m, a->which[k], answer[k],
			a->rcpt[k].outcome.maybe_sent ? " in doubt" : "");
	free(answer);
}

/* --- in between --- */

/* SES counts what it takes, and so does our quota. */
static unsigned count_refused(const struct attempt *a)
{
	unsigned n = 0;

	for (unsigned k = 0; k < a->n; k++) {
		const struct outcome *o = &a->rcpt[k].outcome;
		n += !o->maybe_sent && (o->lost || o->reply.code >= 300);
	}
	return n;
}

/* Whether SES asks for patience, and is to be given it here. */
static bool is_throttled(const struct attempt *a)
{
	const struct verdict_rules rules = { .peer_says_class = false };
	struct verdict v;

	for (unsigned k = 0; k < a->n; k++) {
		verdict_pass(&a->rcpt[k].outcome, &rules, &v);
		if (v.class != VERDICT_PACE || v.retry_ms != VERDICT_RATE_MS)
			return false;
	}
	return true;
}

/* Waits for the recipients' turn. False: the quota is used up. */
static bool wait_for_turn(
	struct worker *w, unsigned recipients, bool again, char answer[ANSWER_MAX + 1])
{
	int64_t retry_ms = 0;
	int64_t ms = pace_take(&w->l->pace, recipients, again, clock_mono_ms(), &retry_ms);

	if (ms < 0) {
		answer_own(
			&(struct answer_own) { "452 4.3.1", VERDICT_PACE, (retry_ms + 999) / 1000 },
			answer, "daily quota");
		return false;
	}
	/* A connection would not outlive a long wait. */
	if (ms > 0)
		(void)poll(NULL, 0, (int)(ms < INT32_MAX ? ms : INT32_MAX));
	return true;
}

static void relay(struct worker *w, struct attempt *a)
{
	char answer[ANSWER_MAX + 1];
	int64_t throttled_since = 0, pause = THROTTLE_MIN;
	bool again = false;

	for (;;) {
		if (!wait_for_turn(w, a->n, again || throttled_since, answer)) {
			answer_all(w, a, answer);
			return;
		}
		bool fresh = !w->link || !w->used;
		struct link *link = worker_link(w, answer);
		if (link)
			attempt_run(w, link, a);
		if (!link || a->failed) {
			pace_not_sent(&w->l->pace, a->n);
			answer_all(w, a, link ? a->answer : answer);
			return;
		}
		/* SES closed an idle connection just as it was used: that is no fault. */
		if (attempt_is_void(a) && !fresh && !again) {
			again = true;
			continue;
		}
		if (!is_throttled(a)) {
			pace_went_well(&w->l->pace);
			break;
		}
		pace_throttled(&w->l->pace);
		int64_t now = clock_mono_ms();
		throttled_since = throttled_since ? throttled_since : now;
		if (now + pause - throttled_since > THROTTLE_MS || stop_said(&w->l->stop))
			break;
		(void)poll(NULL, 0, (int)pause);
		pause *= 2;
	}
	pace_not_sent(&w->l->pace, count_refused(a));
	settle(w, a);
}

void deliver(struct worker *w, struct message *m)
{
	claim(w, m, &w->attempt);
	if (w->attempt.n > 0)
		relay(w, &w->attempt);
}
