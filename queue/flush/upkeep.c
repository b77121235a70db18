/*
 * Retention's place in a flusher's day; and all of it at once, by hand.
 */
#include "flush/upkeep.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVERY_MS     60000 /* a pass */
#define PAUSE_MS     20    /* after a step; or four times as long as that took */
#define PRESSED_MS   250   /* the same while there is something to send */
#define AGAIN_MS     1000
#define NO_LINGER_MS 2000 /* of idle time, for who goes when nothing is due */
#define HURRY_MS     2    /* after a step, for whom somebody waits */

static void begin(struct upkeep *u, const struct conf_mail *c, bool all)
{
	const struct keep_rules rules = {
		.sent = c->keep_sent, .failed = c->keep_failed, .history = c->keep_history
	};

	keep_begin(&u->keep, &rules, clock_wall_ms(), all);
	u->under_way = true;
}

static int64_t pause_after(const struct conf_mail *c, int64_t took, bool idle)
{
	if (!idle)
		return PRESSED_MS;
	if (c->linger == 0)
		return HURRY_MS;
	return took * 4 > PAUSE_MS ? took * 4 : PAUSE_MS;
}

bool upkeep_tend(struct upkeep *u, struct store *s, const struct conf_mail *c, bool idle)
{
	const int64_t now = clock_mono_ms();
	struct err why;
	int r;

	if (!idle)
		u->idle_since = 0;
	else if (u->idle_since == 0)
		u->idle_since = now;
	if (now < u->next)
		return false;
	if (!u->under_way)
		begin(u, c, false);
	r = keep_step(s, &u->keep, !idle, &why);
	u->next = clock_mono_ms() + pause_after(c, clock_mono_ms() - now, idle);
	if (r == 1)
		return true;
	u->under_way = false;
	u->next = clock_mono_ms() + (r == 0 && idle ? EVERY_MS : AGAIN_MS);
	if (r < 0 && !u->told) {
		u->told = true;
		log_line(LOG_WARNING, "flush", "warning: nothing old is removed: %s", why.text);
	}
	return true;
}

bool upkeep_done(const struct upkeep *u)
{
	return !u->under_way ||
	       (u->idle_since != 0 && clock_mono_ms() - u->idle_since > NO_LINGER_MS);
}

/* --- --vacuum --- */

static int check_owner(const char *queue, struct err *e)
{
	struct stat st;

	if (stat(queue, &st) == 0 && st.st_uid == geteuid())
		return 0;
	if (geteuid() != 0)
		return err_set(e, EX_NOPERM, "--vacuum: only root and the queue's owner may");
	return err_sys(e, EX_CONFIG, "%s", queue);
}

static long long megabytes(const char *queue)
{
	struct stat st;

	return stat(queue, &st) == 0 ? (long long)(st.st_size >> 20) : 0;
}

static int run_all(struct upkeep *u, struct store *s, struct err *e)
{
	int r;

	while ((r = keep_step(s, &u->keep, false, e)) == 1)
		poll(NULL, 0, HURRY_MS);
	store_checkpoint(s, true); /* only then the file is shorter */
	return r;
}

int upkeep_all(const struct conf_mail *c, struct err *e)
{
	struct upkeep u = { 0 };
	struct store *s = NULL;
	char date[CLOCK_DATE_SIZE];
	long long before;
	int r;

	if (check_owner(c->queue, e) < 0 ||
		store_open(&s, c->queue, STORE_FLUSH, c->lock_wait, e) < 0)
		return -1;
	before = megabytes(c->queue);
	begin(&u, c, true);
	r = run_all(&u, s, e);
	store_close(s);
	clock_rfc5322(u.keep.now, date);
	printf("%s: as of %s removed %llu messages (%llu recipients), "
	       "the content of %llu, and %llu tries; %lld MB, was %lld MB\n",
		c->queue, date, (unsigned long long)u.keep.counts.messages,
		(unsigned long long)u.keep.counts.recipients,
		(unsigned long long)u.keep.counts.contents,
		(unsigned long long)u.keep.counts.attempts, megabytes(c->queue), before);
	return r;
}
