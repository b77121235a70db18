/*
 * A message's recipients: what the journal knows of each, SES for the rest, and the answers.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>

#define HOLD_MS      300000 /* how long a message may be here; its client waits ten minutes */
#define THROTTLE_MS  10000  /* how long a throttled transaction is tried again here */
#define THROTTLE_MIN 500    /* and how long at least it waits in between */
#define STOP_WAIT_MS 2000   /* how long one may still wait once the process is to end */

/* --- the log --- */

static const char *status_word(const char *answer)
{
	return answer[0] == '2' ? "sent" : answer[0] == '5' ? "bounced" : "deferred";
}

/* "2.0.0" of "250 2.0.0 Ok". */
static int dsn_length(const char *answer)
{
	const char *blank = strlen(answer) > 4 ? strchr(answer + 4, ' ') : NULL;

	return blank && answer[5] == '.' ? (int)(blank - answer - 4) : 0;
}

/* As pflogsumm(1) reads it up to the status; what is only ours stands behind it. */
static void log_recipient(const struct worker *w, const struct message *m, unsigned i,
	const char *answer, const char *note)
{
	int dsn = dsn_length(answer);
	const char *once = m->rcpt[i].once;

	log_line(LOG_INFO, "smtp",
		"%s: to=<%s>, relay=%s, delay=%.3f, dsn=%.*s, status=%s (%s)%s, client=%s%s%s",
		m->id, m->rcpt[i].address, w->link ? link_peer(w->link) : w->l->upstream.text,
		(double)(clock_mono_us() - m->whole_us) / 1e6, dsn ? dsn : 5,
		dsn ? answer + 4 : "4.0.0", status_word(answer), answer, note, m->client,
		once[0] ? ", once=" : "", once);
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
	if (!hold)
		figures_one(&w->l->figures.resent);
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
			figures_one(&w->l->figures.again);
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

/* SES asks for patience: what is for the pace, in words that a flusher believes. */
static void answer_pace(const struct outcome *o, int64_t retry_ms, char out[ANSWER_MAX + 1])
{
	char reply[300];

	reply_format(&o->reply, reply, sizeof reply);
	answer_own(&(struct answer_own) { "451 4.3.2", VERDICT_PACE, (retry_ms + 999) / 1000 }, out,
		"SES: %s", reply);
}

static enum verdict_class class_of(const struct outcome *o, int64_t *ret_retry)
{
	const struct verdict_rules rules = { .peer_says_class = false };
	struct verdict v;

	verdict_pass(o, &rules, &v);
	*ret_retry = v.retry_ms;
	return v.class;
}

static void make_answer(const struct attempt *a, unsigned k, char out[ANSWER_MAX + 1])
{
	const struct outcome *o = &a->rcpt[k].outcome;
	const struct transaction *t = &a->t;
	int64_t retry_ms;

	if (class_of(o, &retry_ms) == VERDICT_PACE)
		answer_pace(o, retry_ms, out);
	else if (!o->lost && !o->unexpected)
		answer_ses(&o->reply, t->began - a->m->whole_us,
			(t->ended ? t->ended : clock_mono_us()) - t->began, out);
	else if (o->maybe_sent)
		answer_own(&(struct answer_own) { "451 4.4.2", VERDICT_LATER, 0 }, out,
			"in doubt: no answer of SES to the content: %s", o->reply.text);
	else
		answer_own(&(struct answer_own) { "451 4.4.2", VERDICT_ROAD, 0 }, out,
			"SES: no answer to %s: %s", step_name(o->step), o->reply.text);
}

/* Whether SES answered to the content for it, so that its row of this try is settled. One that SES
 * refused before the gate has no row of this try; the row of an earlier one may be in doubt, and
 * stays so. */
static bool has_answer(const struct attempt *a, unsigned k)
{
	const struct outcome *o = &a->rcpt[k].outcome;

	return !o->maybe_sent && a->opened && o->step != STEP_RCPT;
}

static void count(struct worker *w, const struct attempt *a, unsigned k, const char *answer)
{
	bool lost = a->rcpt[k].outcome.maybe_sent;

	if (lost)
		figures_one(&w->l->figures.unanswered);
	journal_count(w->l->journal, a->m->client,
		lost               ? TALLY_UNANSWERED
		: answer[0] == '2' ? TALLY_SENT
				   : TALLY_FAILED,
		1);
}

/* SES has answered, or has not: the journal first, then the client. */
static void settle(struct worker *w, struct attempt *a)
{
	char(*answer)[ANSWER_MAX + 1] = calloc(a->n, sizeof *answer);
	struct journal_row rows[MESSAGE_RCPTS];
	unsigned n = 0;
	struct err e = { 0 };

	if (a->t.ended)
		figures_time(&w->l->figures.ses, a->t.ended - a->t.began);
	if (!answer) {
		answer_all(w, a, "451 4.3.0 cenmail: out of memory class=later");
		return;
	}
	for (unsigned k = 0; k < a->n; k++) {
		unsigned i = a->which[k];
		bool token = a->m->rcpt[i].once[0];
		make_answer(a, k, answer[k]);
		if (token && has_answer(a, k)) {
			rows[n++] = (struct journal_row) {
				.m = a->m, .i = i, .answer = answer[k], .sent = answer[k][0] == '2'
			};
			continue;
		}
		count(w, a, k, answer[k]);
		if (token)
			journal_release(w->l->journal, a->m, i, answer[k]);
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

/* False: it was said that the process is to end, and would have been too long. */
static bool pause_for(struct worker *w, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	struct pollfd p = { .fd = w->l->stop.fd, .events = POLLIN };

	if (ms > STOP_WAIT_MS && poll(&p, 1, (int)(ms - STOP_WAIT_MS)) > 0)
		return false;
	for (int64_t now; (now = clock_mono_ms()) < until;)
		(void)poll(NULL, 0, (int)(until - now));
	return true;
}

/* Waits for the recipients' turn. False: `answer` says why it does not come. */
static bool wait_for_turn(
	struct worker *w, const struct attempt *a, bool again, char answer[ANSWER_MAX + 1])
{
	struct answer_own own = { "451 4.3.2", VERDICT_PACE, 0 };
	int64_t now = clock_mono_ms(), ms, most = a->m->whole_us / 1000 + HOLD_MS - now;

	if (stop_said(&w->l->stop))
		most = STOP_WAIT_MS;
	enum pace_says says = pace_take(&w->l->pace, a->n, again, most > 0 ? most : 0, now, &ms);
	if (says == PACE_TAKEN && pause_for(w, ms))
		return true;
	if (says == PACE_TAKEN || again)
		pace_not_sent(&w->l->pace, a->n);
	/* A flusher asks again by and by: an operator may have changed the limits. */
	own.retry_s = ((ms < VERDICT_QUOTA_MS ? ms : VERDICT_QUOTA_MS) + 999) / 1000;
	switch (says) {
	case PACE_TAKEN:
		answer_own(&own, answer, "stopping");
		break;
	case PACE_RATE:
		answer_own(&own, answer, "the sending rate is used up");
		break;
	case PACE_QUOTA:
		own.code = "452 4.3.1";
		answer_own(&own, answer, "daily quota");
		break;
	}
	return false;
}

/* Whether SES asks for patience. The pace is told. */
enum throttled { NOT_THROTTLED, THROTTLED_RATE, THROTTLED_QUOTA };
static enum throttled heed_throttling(struct worker *w, const struct attempt *a)
{
	int64_t retry_ms = 0, now = clock_mono_ms();
	unsigned n = 0;

	for (unsigned k = 0; k < a->n; k++)
		if (class_of(&a->rcpt[k].outcome, &retry_ms) == VERDICT_PACE)
			n++;
	if (n == 0)
		return NOT_THROTTLED;
	journal_count(w->l->journal, a->m->client, TALLY_THROTTLED, n);
	atomic_fetch_add(&w->l->figures.throttled, n);
	if (retry_ms == VERDICT_RATE_MS) {
		pace_throttled(&w->l->pace, a->t.began / 1000, now);
		return n == a->n ? THROTTLED_RATE : NOT_THROTTLED;
	}
	pace_pause(&w->l->pace, retry_ms, now);
	return THROTTLED_QUOTA;
}

/* Before a pause: SES has refused them, and whoever finds the rows after the end of this process
 * must not take them for being in doubt. False: it can't be written. */
static bool note_refused(struct worker *w, const struct attempt *a)
{
	char answer[ANSWER_MAX + 1];
	struct journal_row rows[MESSAGE_RCPTS];
	struct err e = { 0 };
	unsigned n = 0;

	make_answer(a, 0, answer); /* throttled, all of them */
	for (unsigned k = 0; k < a->n; k++)
		if (a->m->rcpt[a->which[k]].once[0] && has_answer(a, k))
			rows[n++] = (struct journal_row) {
				.m = a->m, .i = a->which[k], .answer = answer
			};
	if (n == 0 || journal_refused(w->l->journal, rows, n, &e) == 0)
		return true;
	log_line(LOG_ERR, "listen", "%s", e.text);
	return false;
}

/* How often, and since when, one message was tried. */
struct patience {
	bool again;           /* it has had its turn before */
	bool renewed;         /* the connection had been closed, and was made anew */
	int64_t since, pause; /* monotonic ms: first throttled; and the next pause */
};

/* Throttled: whether it was waited, and is to be tried again. */
static bool waited(struct worker *w, const struct attempt *a, struct patience *p)
{
	int64_t now = clock_mono_ms();

	p->since = p->since ? p->since : now;
	p->pause = p->pause ? p->pause * 2 : THROTTLE_MIN;
	return now + p->pause - p->since <= THROTTLE_MS && !stop_said(&w->l->stop) &&
	       note_refused(w, a) && pause_for(w, p->pause);
}

/* One try with SES. False: it came to nothing, and `answer` says why. */
static bool try_once(
	struct worker *w, struct attempt *a, struct patience *p, char answer[ANSWER_MAX + 1])
{
	if (!wait_for_turn(w, a, p->again, answer))
		return false;
	p->again = true;
	struct link *link = worker_link(w, answer);
	if (link)
		attempt_run(w, link, a);
	if (link && !a->failed)
		return true;
	pace_not_sent(&w->l->pace, a->n);
	if (link)
		memcpy(answer, a->answer, sizeof a->answer);
	return false;
}

static void relay(struct worker *w, struct attempt *a)
{
	char answer[ANSWER_MAX + 1];
	struct patience p = { .again = false };

	for (;;) {
		bool fresh = !w->link || !w->used;
		if (!try_once(w, a, &p, answer)) {
			answer_all(w, a, answer);
			return;
		}
		/* SES closed an idle connection just as it was used: that is no fault. */
		if (attempt_is_void(a) && !fresh && !p.renewed) {
			p.renewed = true;
			continue;
		}
		enum throttled t = heed_throttling(w, a);
		if (t == NOT_THROTTLED)
			pace_went_well(&w->l->pace, clock_mono_ms());
		if (t != THROTTLED_RATE || !waited(w, a, &p))
			break;
	}
	pace_not_sent(&w->l->pace, count_refused(a));
	settle(w, a);
}

void deliver(struct worker *w, struct message *m)
{
	atomic_fetch_sub(&w->l->figures.waiting, 1);
	atomic_fetch_add(&w->l->figures.sending, 1);
	claim(w, m, &w->attempt);
	if (w->attempt.n > 0)
		relay(w, &w->attempt);
	atomic_fetch_sub(&w->l->figures.sending, 1);
}
