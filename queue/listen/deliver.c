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

/* --- before SES --- */

/* In doubt: earlier it was given to SES, and no answer came. */
static void hold_in_doubt(struct worker *w, struct message *m, unsigned i)
{
	char answer[ANSWER_MAX + 1];

	log_line(LOG_WARNING, "listen", "%s: to=<%s>, client=%s: in doubt: SES may have it; held",
		m->id, m->rcpt[i].address, m->client);
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
	memset(a->row, 0, sizeof a->row);
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
			if (w->l->conf.in_doubt == IN_DOUBT_HOLD) {
				hold_in_doubt(w, m, i);
			} else {
				a->doubt[a->n] = true;
				a->which[a->n++] = i;
			}
			break;
		case JOURNAL_DONE:
			figures_one(&w->l->figures.again);
			answer_one(w, m, i, answer, " again");
			break;
		case JOURNAL_TWIN:
			log_line(LOG_INFO, "listen",
				"%s: to=<%s>, client=%s: is on its way already: the same answer",
				m->id, m->rcpt[i].address, m->client);
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
		if (settle_class(&a->rcpt[k].outcome, &retry_ms) == VERDICT_PACE)
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
	       settle_throttled(w, a) && pause_for(w, p->pause);
}

/* One try with SES. False: it came to nothing, and `answer` says why. */
static bool try_once(
	struct worker *w, struct attempt *a, struct patience *p, char answer[ANSWER_MAX + 1])
{
	/* That SES is away is told at once, and not when it would be the message's turn. */
	if (worker_is_cut_off(w, answer)) {
		if (p->again)
			pace_not_sent(&w->l->pace, a->n);
		return false;
	}
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
			settle_unsent(w, a, answer);
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
