/*
 * Claims and database together, and the thread that writes.
 */
#include "listen/journal.h"

#include "base/clock.h"
#include "base/log.h"
#include "listen/claims.h"
#include "listen/journal_db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <unistd.h>

#define ALONE_MS     10000 /* how long to wait for the process before us to go */
#define PRUNE_EVERY  60000 /* ms */
#define PRUNE_AGAIN  50    /* ms, while there is more */
#define THREAD_STACK (256 * 1024)

struct job { /* on the stack of who waits for it */
	struct job *next;
	const struct journal_row *rows;
	unsigned n;
	bool settle, done;
	int result;
	struct err err;
};

struct journal {
	struct claims *claims;
	struct journal_db writer, reader;
	pthread_mutex_t reading; /* for reader */
	char offer[80];
	int64_t keep_ms;
	int lock_fd;

	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work, done;
	struct job *first, *last;
	bool closing;
};

const char *journal_offer(const struct journal *j)
{
	return j->offer;
}

/* --- the writing thread --- */

static int write_job(struct journal_db *db, const struct job *job, struct err *e)
{
	for (unsigned i = 0; i < job->n; i++)
		if ((job->settle ? journal_db_settle : journal_db_sending)(db, &job->rows[i], e) <
			0)
			return -1;
	return 0;
}

/* All of them in one transaction, so one sync. One that can't be written fails them all: what
 * SQLite refuses here is a full or a broken disk. */
static void write_jobs(struct journal *j, struct job *jobs)
{
	struct err e = { 0 };
	int r = journal_db_begin(&j->writer, &e);

	for (struct job *job = jobs; job && r == 0; job = job->next)
		r = write_job(&j->writer, job, &e);
	if (r == 0)
		r = journal_db_commit(&j->writer, &e);
	else
		journal_db_rollback(&j->writer);
	for (struct job *job = jobs; job; job = job->next) {
		job->result = r;
		job->err = e;
	}
}

static void prune(struct journal *j, int64_t *next_ms)
{
	struct err e = { 0 };
	bool more = false;

	if (journal_db_prune(&j->writer, clock_wall_ms() - j->keep_ms, &more, &e) < 0)
		log_line(LOG_ERR, "listen", "%s", e.text);
	*next_ms = clock_mono_ms() + (more ? PRUNE_AGAIN : PRUNE_EVERY);
}

static void wait_for_work(struct journal *j, int64_t until_ms)
{
	struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };
	int rc = 0;

	while (!j->first && !j->closing && rc == 0)
		rc = pthread_cond_timedwait(&j->work, &j->lock, &until);
}

static void tell_done(struct journal *j, struct job *jobs)
{
	pthread_mutex_lock(&j->lock);
	for (struct job *next; jobs; jobs = next) {
		next = jobs->next; /* gone once it is done */
		jobs->done = true;
	}
	pthread_cond_broadcast(&j->done);
	pthread_mutex_unlock(&j->lock);
}

static void *writer_thread(void *arg)
{
	struct journal *j = arg;
	int64_t next_prune = clock_mono_ms();

	pthread_mutex_lock(&j->lock);
	while (!j->closing || j->first) {
		wait_for_work(j, next_prune);
		struct job *jobs = j->first;
		j->first = j->last = NULL;
		pthread_mutex_unlock(&j->lock);
		if (jobs) {
			write_jobs(j, jobs);
			tell_done(j, jobs);
		}
		if (clock_mono_ms() >= next_prune)
			prune(j, &next_prune);
		pthread_mutex_lock(&j->lock);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static void append(struct journal *j, struct job *job)
{
	if (j->last)
		j->last->next = job;
	else
		j->first = job;
	j->last = job;
}

static int ask(
	struct journal *j, const struct journal_row *rows, unsigned n, bool settle, struct err *e)
{
	struct job job = { .rows = rows, .n = n, .settle = settle };

	pthread_mutex_lock(&j->lock);
	append(j, &job);
	pthread_cond_signal(&j->work);
	while (!job.done)
		pthread_cond_wait(&j->done, &j->lock);
	pthread_mutex_unlock(&j->lock);
	if (job.result < 0 && e)
		*e = job.err;
	return job.result;
}

/* --- opening and closing --- */

static int be_alone(struct journal *j, const char *path, struct err *e)
{
	struct buf lock;
	int64_t deadline = clock_mono_ms() + ALONE_MS;

	buf_init(&lock, 4096);
	buf_printf(&lock, "%s.lock", path);
	j->lock_fd = open(buf_str(&lock), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = j->lock_fd < 0 ? err_sys(e, EX_CANTCREAT, "%s", buf_str(&lock)) : 0;
	while (r == 0 && flock(j->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (clock_mono_ms() >= deadline)
			r = err_set(e, EX_TEMPFAIL, "%s: another cenmail-listen is using it", path);
		(void)usleep(20000);
	}
	buf_done(&lock);
	return r;
}

static int start_thread(struct journal *j, struct err *e)
{
	pthread_attr_t a;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, THREAD_STACK);
	int rc = pthread_create(&j->thread, &a, writer_thread, j);
	pthread_attr_destroy(&a);
	errno = rc;
	return rc == 0 ? 0 : err_sys(e, EX_OSERR, "a thread for the journal");
}

static void init_locks(struct journal *j)
{
	pthread_condattr_t a;

	pthread_mutex_init(&j->reading, NULL);
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->done, NULL);
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
	pthread_cond_destroy(&j->done);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->reading);
	free(j);
}

int journal_open(struct journal **ret, const char *path, int64_t keep_ms, struct err *e)
{
	struct journal *j = calloc(1, sizeof *j);
	char id[65];

	if (!j)
		return err_set(e, EX_OSERR, "out of memory");
	j->keep_ms = keep_ms;
	j->lock_fd = -1;
	init_locks(j);
	j->claims = claims_new();
	if (!j->claims) {
		err_set(e, EX_OSERR, "out of memory");
		goto fail;
	}
	if (be_alone(j, path, e) < 0 || journal_db_open(&j->writer, path, true, e) < 0 ||
		journal_db_open(&j->reader, path, false, e) < 0 ||
		journal_db_id(&j->reader, id, sizeof id, e) < 0)
		goto fail;
	snprintf(j->offer, sizeof j->offer, "%.40s %lld", id, (long long)(keep_ms / 1000));
	if (start_thread(j, e) < 0)
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
	pthread_mutex_lock(&j->lock);
	j->closing = true;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
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
	return JOURNAL_DONE;
}

int journal_sending(struct journal *j, const struct journal_row *rows, unsigned n, struct err *e)
{
	return ask(j, rows, n, false, e);
}

int journal_settle(struct journal *j, const struct journal_row *rows, unsigned n, struct err *e)
{
	int r = ask(j, rows, n, true, e);

	for (unsigned i = 0; i < n; i++)
		claims_end(j->claims, rows[i].m, rows[i].i, rows[i].answer);
	return r;
}

void journal_release(struct journal *j, struct message *m, unsigned i, const char *answer)
{
	claims_end(j->claims, m, i, answer);
}
