/*
 * The thread that writes the journal: what waits for it together, and now and then what is old
 * goes.
 */
#include "listen/journal_state.h"

#include "base/log.h"
#include "base/number.h"
#include "base/random.h"

#include <errno.h>

#define TEND_EVERY   60000   /* ms: what is old is looked for */
#define TEND_AGAIN   100     /* ms, while there is more */
#define MARK_EVERY   600000  /* ms: and the mark renewed, where there was something to write */
#define UNTIL_MORE   3600000 /* ms that a row is kept beyond what was said */
#define HOUR_MS      3600000
#define THREAD_STACK (256 * 1024)

static int64_t ran(const struct journal *j)
{
	return j->ran_before + clock_mono_ms() - j->opened;
}

static int write_job(struct journal *j, const struct journal_job *job, struct err *e)
{
	int64_t until = ran(j) + j->keep_ms + UNTIL_MORE;
	int r = 0;

	for (unsigned i = 0; i < job->n && r == 0; i++) {
		switch (job->what) {
		case JOURNAL_SENDING:
			r = journal_db_sending(&j->writer, &job->rows[i], until, e);
			break;
		case JOURNAL_ANSWERS:
			r = journal_db_settle(&j->writer, &job->rows[i], e);
			break;
		}
	}
	return r;
}

/* What was counted, and the pace. */
static int write_counts(struct journal *j, struct err *e)
{
	struct tally *t = &j->writing;
	int64_t hour = clock_wall_ms() / HOUR_MS;

	pthread_mutex_lock(&j->lock);
	tally_join(t, &j->tally);
	j->tally.rows = 0;
	j->save_at = INT64_MAX;
	pthread_mutex_unlock(&j->lock);
	for (unsigned i = 0; i < t->rows; i++)
		if (journal_db_tally(&j->writer, &t->row[i], hour, e) < 0)
			return -1;
	if (j->pace)
		pace_save(j->pace, clock_mono_ms(), &j->self.given);
	j->self.saved = clock_wall_ms();
	return journal_db_set_self(&j->writer, &j->self, e);
}

/* One transaction, so one sync, for all of the jobs up to `end`. What was counted and could not be
 * written stays for the next one. */
static int write_together(struct journal *j, struct journal_job *jobs,
	const struct journal_job *end, bool counts, struct err *e)
{
	int64_t now = ran(j);
	int r = journal_db_begin(&j->writer, e);

	if (r < 0)
		return -1;
	/* More with each commit: a copy that lacks the last one is an older copy. */
	j->self.ran = now > j->self.ran ? now : j->self.ran + 1;
	for (struct journal_job *job = jobs; job != end && r == 0; job = job->next)
		r = write_job(j, job, e);
	if (r == 0)
		r = counts ? write_counts(j, e) : journal_db_set_ran(&j->writer, j->self.ran, e);
	if (r == 0)
		r = journal_db_commit(&j->writer, e);
	else
		journal_db_rollback(&j->writer);
	if (r == 0)
		journal_lock_ran(j->lock_fd, j->self.ran);
	if (r == 0 && counts)
		j->writing.rows = 0;
	j->written = true;
	return r;
}

static void write_jobs(struct journal *j, struct journal_job *jobs)
{
	struct err e = { 0 };
	bool counts = false;

	for (struct journal_job *job = jobs; job; job = job->next)
		counts = counts || job->what == JOURNAL_ANSWERS;
	int r = write_together(j, jobs, NULL, counts, &e);
	for (struct journal_job *job = jobs; job; job = job->next) {
		job->result = r;
		job->err = e;
		/* One that breaks a rule of the schema must not take the others with it. */
		if (r < 0 && e.code == EX_DATAERR)
			job->result = write_together(j, job, job->next, false, &job->err);
	}
}

static int renew_mark(struct journal *j, struct err *e)
{
	unsigned char mark[JOURNAL_MARK_HEX / 2];

	random_bytes(mark, sizeof mark);
	memcpy(j->self.mark_before, j->self.mark, sizeof j->self.mark);
	hex_encode(mark, sizeof mark, j->self.mark);
	if (write_together(j, NULL, NULL, true, e) < 0)
		return -1;
	j->written = false;
	return journal_lock_mark(j->lock_fd, j->self.mark, e);
}

/* What is to be done now and then. */
static void tend(struct journal *j)
{
	struct err e = { 0 };
	int64_t now = clock_mono_ms();
	bool more = false, saves;

	pthread_mutex_lock(&j->lock);
	saves = now >= j->save_at;
	pthread_mutex_unlock(&j->lock);
	int r = saves ? write_together(j, NULL, NULL, true, &e) : 0;
	if (r == 0 && now >= j->mark_at) {
		r = j->written ? renew_mark(j, &e) : 0;
		j->mark_at = now + MARK_EVERY;
	}
	if (r == 0 && now >= j->tend_at) {
		const struct journal_age before = { ran(j),
			(clock_wall_ms() - j->keep_ms) / HOUR_MS };
		r = journal_db_prune(&j->writer, before, &more, &e);
		j->tend_at = now + (more ? TEND_AGAIN : TEND_EVERY);
	}
	if (r < 0) {
		log_line(LOG_ERR, "listen", "%s", e.text);
		j->tend_at = now + TEND_EVERY;
		pthread_mutex_lock(&j->lock);
		if (saves)
			j->save_at = j->tend_at;
		pthread_mutex_unlock(&j->lock);
	}
}

/* With the lock held. */
static void wait_for_work(struct journal *j)
{
	int rc = 0;

	while (!j->first && !j->closing && rc == 0) {
		int64_t at = j->save_at < j->tend_at ? j->save_at : j->tend_at;
		struct timespec until = { at / 1000, at % 1000 * 1000000 };
		rc = pthread_cond_timedwait(&j->work, &j->lock, &until);
	}
}

/* What it has settled is claimed no longer. */
static void end_claims(struct journal *j, const struct journal_job *job)
{
	for (unsigned i = 0; i < job->n; i++)
		claims_end(j->claims, job->rows[i].m, job->rows[i].i, job->rows[i].answer);
}

static void tell_done(struct journal *j, struct journal_job *jobs)
{
	for (struct journal_job *next; jobs; jobs = next) {
		next = jobs->next; /* gone once it is done */
		if (jobs->then) {
			end_claims(j, jobs);
			jobs->then(jobs);
		} else {
			sem_post(&jobs->done);
		}
	}
}

static void *writer_thread(void *arg)
{
	struct journal *j = arg;

	pthread_mutex_lock(&j->lock);
	while (!j->closing || j->first) {
		wait_for_work(j);
		struct journal_job *jobs = j->first;
		j->first = j->last = NULL;
		pthread_mutex_unlock(&j->lock);
		if (jobs) {
			write_jobs(j, jobs);
			tell_done(j, jobs);
		}
		tend(j);
		pthread_mutex_lock(&j->lock);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

void journal_write(struct journal *j, struct journal_job *job)
{
	pthread_mutex_lock(&j->lock);
	if (j->last)
		j->last->next = job;
	else
		j->first = job;
	j->last = job;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
}

int journal_write_first(struct journal *j, struct err *e)
{
	j->ran_before = j->self.ran;
	j->opened = j->tend_at = clock_mono_ms();
	j->mark_at = j->opened + MARK_EVERY;
	j->save_at = INT64_MAX;
	if (j->pace)
		pace_restore(j->pace, &j->self.given, clock_wall_ms() - j->self.saved, j->opened);
	if (journal_db_fill(&j->writer, ran(j) + j->keep_ms + UNTIL_MORE, e) < 0)
		return -1;
	return renew_mark(j, e);
}

int journal_write_start(struct journal *j, struct err *e)
{
	pthread_attr_t a;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, THREAD_STACK);
	int rc = pthread_create(&j->thread, &a, writer_thread, j);
	pthread_attr_destroy(&a);
	errno = rc;
	return rc == 0 ? 0 : err_sys(e, EX_OSERR, "a thread for the journal");
}

void journal_write_end(struct journal *j)
{
	struct err e = { 0 };

	pthread_mutex_lock(&j->lock);
	j->closing = true;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	if (renew_mark(j, &e) < 0)
		log_line(LOG_ERR, "listen", "%s", e.text);
	(void)db_checkpoint(&j->writer.db);
}
