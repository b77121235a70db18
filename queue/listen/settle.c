/*
 * What came of asking SES: each recipient's answer, into the journal and then to the client. The
 * worker does not wait for the journal's disk here: it has the next message to send.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>

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

void answer_one(
	struct worker *w, struct message *m, unsigned i, const char *answer, const char *note)
{
	log_recipient(w, m, i, answer, note);
	message_answer(m, i, answer);
}

/* --- after SES --- */

/* SES's words in an answer of ours: what is for the pace, in words that a flusher believes; and
 * 421, which would end the client's own conversation, with all that is under way in it. */
static void quote(const struct outcome *o, enum verdict_class class, int64_t retry_ms,
	char out[ANSWER_MAX + 1])
{
	char reply[300];

	reply_format(&o->reply, reply, sizeof reply);
	answer_own(&(struct answer_own) { "451 4.3.2", class, (retry_ms + 999) / 1000 }, out,
		"SES: %s", reply);
}

enum verdict_class settle_class(const struct outcome *o, int64_t *ret_retry)
{
	const struct verdict_rules rules = { .peer_says_class = false };
	struct verdict v;

	verdict_pass(o, &rules, &v);
	*ret_retry = v.retry_ms;
	return v.class;
}

/* Whom it concerns that SES went away: from DATA on it may be for this message, which must not keep
 * the road from the others. */
static enum verdict_class class_of_loss(const struct outcome *o)
{
	return o->step < STEP_DATA ? VERDICT_ROAD : VERDICT_LATER;
}

static void make_answer(const struct attempt *a, unsigned k, char out[ANSWER_MAX + 1])
{
	const struct outcome *o = &a->rcpt[k].outcome;
	const struct transaction *t = &a->t;
	int64_t retry_ms;

	if (settle_class(o, &retry_ms) == VERDICT_PACE)
		quote(o, VERDICT_PACE, retry_ms, out);
	else if (!o->lost && !o->unexpected && o->reply.code == 421)
		quote(o, class_of_loss(o), 0, out);
	else if (!o->lost && !o->unexpected)
		answer_ses(&o->reply, t->began - a->m->whole_us,
			(t->ended ? t->ended : clock_mono_us()) - t->began, out);
	else if (o->maybe_sent)
		answer_own(&(struct answer_own) { "451 4.4.2", VERDICT_LATER, 0 }, out,
			"in doubt: no answer of SES to the content: %s", o->reply.text);
	else
		answer_own(&(struct answer_own) { "451 4.4.2", class_of_loss(o), 0 }, out,
			"SES: no answer to %s: %s", step_name(o->step), o->reply.text);
}

/* Whether its row, where it has one of this message's, is settled. */
static bool has_answer(const struct attempt *a, unsigned k)
{
	return a->row[k] && !a->rcpt[k].outcome.maybe_sent;
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

/* Those that the journal was told of: SES does not have them. False: it can't be written. */
static bool note_refused(struct worker *w, const struct attempt *a, const char *answer)
{
	struct journal_row rows[MESSAGE_RCPTS];
	struct err e = { 0 };
	unsigned n = 0;

	for (unsigned k = 0; k < a->n; k++)
		if (has_answer(a, k))
			rows[n++] = (struct journal_row) {
				.m = a->m, .i = a->which[k], .answer = answer
			};
	if (n == 0 || journal_refused(w->l->journal, rows, n, &e) == 0)
		return true;
	log_line(LOG_ERR, "listen", "%s", e.text);
	return false;
}

bool settle_throttled(struct worker *w, const struct attempt *a)
{
	char answer[ANSWER_MAX + 1];

	make_answer(a, 0, answer); /* throttled, all of them */
	return note_refused(w, a, answer);
}

/* One answer for all; what the journal says stays. */
static void release(struct worker *w, struct attempt *a, const char *answer)
{
	for (unsigned k = 0; k < a->n; k++) {
		unsigned i = a->which[k];
		if (a->m->rcpt[i].once[0])
			journal_release(w->l->journal, a->m, i, answer);
		answer_one(w, a->m, i, answer, "");
	}
}

void settle_unsent(struct worker *w, struct attempt *a, const char *answer)
{
	(void)note_refused(w, a, answer);
	release(w, a, answer);
}

struct settling { /* answers on their way through the journal */
	struct journal_job job;
	struct message *m;
	struct journal_row rows[MESSAGE_RCPTS];
	unsigned n;
	char answer[][ANSWER_MAX + 1];
};

static void on_journal(struct journal_job *job)
{
	struct settling *s = (struct settling *)job;

	if (job->result < 0)
		log_line(LOG_ERR, "listen", "%s", job->err.text);
	for (unsigned k = 0; k < s->n; k++)
		message_answer(s->m, s->rows[k].i, s->rows[k].answer);
	message_unref(s->m);
	free(s);
}

/* One recipient: its row if it waits for the journal, or else its answer. */
static void settle_one(struct worker *w, struct attempt *a, unsigned k, struct settling *s)
{
	const unsigned i = a->which[k];
	const bool lost = a->rcpt[k].outcome.maybe_sent;
	char *answer = s->answer[k];

	make_answer(a, k, answer);
	log_recipient(w, a->m, i, answer, lost ? " in doubt" : "");
	if (has_answer(a, k)) {
		s->rows[s->n++] = (struct journal_row) {
			.m = a->m, .i = i, .answer = answer, .sent = answer[0] == '2'
		};
		return;
	}
	count(w, a, k, answer);
	if (a->m->rcpt[i].once[0])
		journal_release(w->l->journal, a->m, i, answer);
	message_answer(a->m, i, answer);
}

void settle(struct worker *w, struct attempt *a)
{
	struct settling *s = malloc(sizeof *s + a->n * sizeof *s->answer);

	if (a->t.ended)
		figures_time(&w->l->figures.ses, a->t.ended - a->t.began);
	if (!s) {
		release(w, a, "451 4.3.0 cenmail: in doubt: out of memory class=later");
		return;
	}
	s->m = a->m;
	s->n = 0;
	for (unsigned k = 0; k < a->n; k++)
		settle_one(w, a, k, s);
	if (s->n == 0) {
		free(s);
		return;
	}
	message_ref(s->m);
	journal_settle(w->l->journal, &s->job, s->rows, s->n, on_journal);
}
