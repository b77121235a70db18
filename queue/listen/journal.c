/*
 * Claims and database together: opening and closing, and what workers ask.
 */
#include "listen/journal_state.h"

#include "base/log.h"
#include "base/number.h"
#include "base/random.h"

#include <unistd.h>

#define SAVE_MS 5000 /* how long counts may wait that come with no row */

const char *journal_offer(const struct journal *j)
{
	return j->offer;
}

/* --- opening and closing --- */

static void init_locks(struct journal *j)
{
	pthread_condattr_t a;

	pthread_mutex_init(&j->reading, NULL);
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&j->work, &a);
	pthread_condattr_destroy(&a);
}

static void destroy(struct journal *j)
{
	journal_db_close(&j->reader);
	journal_db_close(&j->writer);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	claims_free(j->claims);
	pthread_cond_destroy(&j->work);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->reading);
	free(j);
}

/* An older copy that was put back knows less than was promised: with another id, flushers in doubt
 * don't take its silence for an answer. */
static int recognise(struct journal *j, const char *path, struct err *e)
{
	unsigned char id[JOURNAL_ID_HEX / 2];
	char mark[JOURNAL_MARK_HEX + 1];
	int64_t ran;

	if (journal_lock_read(j->lock_fd, mark, &ran, e) < 0)
		return -1;
	bool same = strcmp(mark, j->self.mark) == 0 || strcmp(mark, j->self.mark_before) == 0;
	if (!j->self.mark[0] || (same && j->self.ran >= ran))
		return 0;
	random_bytes(id, sizeof id);
	hex_encode(id, sizeof id, j->self.id);
	log_line(LOG_WARNING, "listen",
		"warning: %s: is not the file that was in use here last: as what it lacks might be"
		" sent twice, it is known by a new id",
		path);
	return 0;
}

/* The database, and all that is to be read and written before there is a thread. */
static int open_database(struct journal *j, const char *path, struct err *e)
{
	j->lock_fd = journal_lock(path, e);
	if (j->lock_fd < 0 || journal_db_open(&j->writer, path, true, e) < 0 ||
		journal_db_open(&j->reader, path, false, e) < 0 ||
		journal_db_self(&j->writer, &j->self, e) < 0 || recognise(j, path, e) < 0)
		return -1;
	return journal_write_first(j, e);
}

int journal_open(struct journal **ret, const struct journal_options *o, struct err *e)
{
	struct journal *j = calloc(1, sizeof *j);

	if (!j)
		return err_set(e, EX_OSERR, "out of memory");
	j->keep_ms = o->keep_ms;
	j->pace = o->pace;
	j->lock_fd = -1;
	init_locks(j);
	j->claims = claims_new();
	if (!j->claims) {
		err_set(e, EX_OSERR, "out of memory");
		goto fail;
	}
	if (open_database(j, o->path, e) < 0)
		goto fail;
	snprintf(j->offer, sizeof j->offer, "%s %lld", j->self.id, (long long)(o->keep_ms / 1000));
	if (journal_write_start(j, e) < 0)
		goto fail;
	*ret = j;
	return 0;
fail:
	destroy(j);
	return -1;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	journal_write_end(j);
	destroy(j);
}

/* --- for the workers --- */

enum journal_says journal_claim(struct journal *j, struct message *m, unsigned i,
	char answer[ANSWER_MAX + 1], struct err *e)
{
	struct journal_found found;

	switch (claims_make(j->claims, m, i)) {
	case CLAIM_MADE:
		break;
	case CLAIM_TWIN:
		return JOURNAL_TWIN;
	case CLAIM_NO_MEMORY:
		err_set(e, EX_TEMPFAIL, "out of memory");
		return JOURNAL_BROKEN;
	}
	/* Only after the claim: whoever had it before let it go after the commit. */
	pthread_mutex_lock(&j->reading);
	int r = journal_db_find(&j->reader, m->client, m->rcpt[i].once, &found, e);
	pthread_mutex_unlock(&j->reading);
	if (r < 0) {
		struct answer_own own = { "451 4.3.0", VERDICT_ROAD, 30 };
		answer_own(&own, answer, "the journal can't be read");
		claims_end(j->claims, m, i, answer);
		return JOURNAL_BROKEN;
	}
	if (r == 0 || strcmp(found.state, "failed") == 0)
		return JOURNAL_SEND;
	if (strcmp(found.state, "sending") == 0)
		return JOURNAL_DOUBT;
	/* What an operator set to sent by hand has SES's answer only if he knew it. */
	bool known = found.answer[0] == '2' && !span_has_break(span_of(found.answer));
	snprintf(answer, ANSWER_MAX + 1, "%s",
		known ? found.answer : "250 2.0.0 cenmail: sent, as the journal says");
	claims_end(j->claims, m, i, answer);
	journal_count(j, m->client, TALLY_REPEATED, 1);
	return JOURNAL_DONE;
}

static void ask(struct journal *j, struct journal_job *job, const struct journal_row *rows,
	unsigned n, enum journal_what what)
{
	*job = (struct journal_job) { .rows = rows, .n = n, .what = what };
	sem_init(&job->done, 0, 0);
	journal_write(j, job);
}

void journal_begin(
	struct journal *j, struct journal_job *job, const struct journal_row *rows, unsigned n)
{
	pthread_mutex_lock(
		&j->lock); /* the next that is written has them: nobody has to be woken */
	for (unsigned i = 0; i < n; i++)
		tally_add(&j->tally, rows[i].m->client, TALLY_RESENT, rows[i].doubt);
	pthread_mutex_unlock(&j->lock);
	ask(j, job, rows, n, JOURNAL_SENDING);
}

int journal_end(struct journal_job *job, struct err *e)
{
	while (sem_wait(&job->done) < 0) /* a signal */
		;
	sem_destroy(&job->done);
	if (job->result < 0 && e)
		*e = job->err;
	return job->result;
}

int journal_refused(struct journal *j, const struct journal_row *rows, unsigned n, struct err *e)
{
	struct journal_job job;

	ask(j, &job, rows, n, JOURNAL_ANSWERS);
	return journal_end(&job, e);
}

void journal_settle(struct journal *j, struct journal_job *job, const struct journal_row *rows,
	unsigned n, void (*then)(struct journal_job *job))
{
	pthread_mutex_lock(&j->lock);
	for (unsigned i = 0; i < n; i++)
		tally_add(
			&j->tally, rows[i].m->client, rows[i].sent ? TALLY_SENT : TALLY_FAILED, 1);
	pthread_mutex_unlock(&j->lock);
	*job = (struct journal_job) { .rows = rows, .n = n, .what = JOURNAL_ANSWERS, .then = then };
	journal_write(j, job);
}

void journal_release(struct journal *j, struct message *m, unsigned i, const char *answer)
{
	claims_end(j->claims, m, i, answer);
}

void journal_count(struct journal *j, const char *client, enum tally_what what, unsigned n)
{
	if (n == 0)
		return;
	pthread_mutex_lock(&j->lock);
	tally_add(&j->tally, client, what, n);
	if (j->save_at == INT64_MAX) {
		j->save_at = clock_mono_ms() + SAVE_MS;
		pthread_cond_signal(&j->work); /* it waits for less */
	}
	pthread_mutex_unlock(&j->lock);
}
