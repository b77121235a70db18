/*
 * The progress line on its terminal: when it is drawn, and from what. What waits is counted in the
 * queue, seldom enough to take no more than a hundredth of the time.
 */
#include "flush/progress.h"

#include "base/clock.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_MS     100
#define IDLE_MS     1000
#define COUNT_MS    1000
#define COUNT_SHARE 100 /* of the time, that counting may take: one in so many */
#define SAMPLE_MS   1000
#define SAMPLES     10
#define COLUMNS     80 /* of a terminal that does not say */
#define COLUMNS_MAX 250
#define PAUSE_SHOWN 1000 /* a shorter one is part of the pace */

struct progress {
	int fd;
	bool drawn; /* the line is there, and the cursor at its end */
	char text[COLUMNS_MAX + 1];
	int64_t next;        /* not drawn before */
	int64_t count_at;    /* when it is counted again */
	uint64_t due, later; /* as counted */
	uint64_t done_then;  /* the recipients tried by then */
	struct {
		int64_t at;
		uint64_t done;
	} sample[SAMPLES]; /* of late, a ring */
	unsigned samples, newest;
};

/* Without waiting: a terminal that was stopped (^S) must not stop the mail. */
static void put(struct progress *p, const char *text, size_t n)
{
	struct pollfd ready = { .fd = p->fd, .events = POLLOUT };

	if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT)) {
		ssize_t written = write(p->fd, text, n);
		(void)written; /* the next one is drawn anew */
	}
}

/* For the log: its line goes where ours is. */
static void clear_line(void *arg)
{
	struct progress *p = arg;

	if (p->drawn)
		put(p, "\r\033[K", 4);
	p->drawn = false;
	p->text[0] = '\0';
}

struct progress *progress_new(int fd)
{
	const char *kind = secure_getenv("TERM");
	struct progress *p;

	if (!isatty(fd) || !kind || !kind[0] || strcmp(kind, "dumb") == 0)
		return NULL;
	p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->fd = fd;
	if (isatty(STDERR_FILENO))
		log_beside(clear_line, p);
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	log_beside(NULL, NULL);
	clear_line(p);
	free(p);
}

static unsigned columns_of(int fd)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
		return COLUMNS;
	return w.ws_col - 1u < COLUMNS_MAX ? w.ws_col - 1u : COLUMNS_MAX; /* the last would wrap */
}

/* Whoever put us in the background has the terminal for something else. */
static bool in_background(int fd)
{
	const pid_t front = tcgetpgrp(fd);

	return front > 0 && front != getpgrp();
}

/* Over what stands there, then the rest of it away: nothing is blank in between. */
static void draw(struct progress *p, const char *text)
{
	char out[COLUMNS_MAX + 8];
	int n;

	if (in_background(p->fd) || (p->drawn && strcmp(text, p->text) == 0))
		return;
	n = snprintf(out, sizeof out, "\r%s\033[K", text);
	put(p, out, (size_t)n);
	memcpy(p->text, text, strlen(text) + 1);
	p->drawn = true;
}

void progress_say(struct progress *p, const char *words)
{
	char text[COLUMNS_MAX + 1];

	if (!p)
		return;
	snprintf(text, sizeof text, "%.*s", (int)columns_of(p->fd), words);
	draw(p, text);
}

/* What is due now, verdicts that are not written yet included. */
static void count(struct flusher *f, struct progress *p, int64_t now)
{
	const int64_t began = clock_mono_ms();
	int64_t took;
	struct err e;

	if (now < p->count_at)
		return;
	if (store_waiting(f->store, clock_wall_ms(), retry_horizon(f->conf->retry_max), &p->due,
		    &p->later, &e) == 0)
		p->done_then = f->stats.recipients;
	took = clock_mono_ms() - began;
	p->count_at = now + (took * COUNT_SHARE > COUNT_MS ? took * COUNT_SHARE : COUNT_MS);
}

/* Recipients a second over the samples that are kept. */
static double rate_of(struct progress *p, uint64_t done, int64_t now)
{
	unsigned oldest;

	if (p->samples == 0 || now - p->sample[p->newest].at >= SAMPLE_MS) {
		p->newest = p->samples == 0 ? 0 : (p->newest + 1) % SAMPLES;
		p->sample[p->newest].at = now;
		p->sample[p->newest].done = done;
		p->samples += p->samples < SAMPLES;
	}
	oldest = (p->newest + 1 + SAMPLES - p->samples) % SAMPLES;
	if (now - p->sample[oldest].at < SAMPLE_MS)
		return -1;
	return (double)(done - p->sample[oldest].done) * 1000 /
	       (double)(now - p->sample[oldest].at);
}

/* The road that will be closed for longest, of those that have work. */
static void look_at_roads(const struct flusher *f, int64_t now, struct progress_view *v)
{
	for (unsigned i = 0; i < f->routes; i++) {
		const struct route *r = &f->route[i];
		const int64_t closed = r->resume_at - now;

		if (r->waiting.recipients > 0 && closed > PAUSE_SHOWN && closed > v->closed_ms) {
			v->closed_ms = closed;
			v->down = r->down_since != 0;
		}
	}
}

static struct progress_view look(struct flusher *f, struct progress *p, int64_t now)
{
	const struct flush_stats *s = &f->stats;
	const uint64_t since = s->recipients - p->done_then;
	struct progress_view v = {
		.done = s->recipients,
		.left = p->due > since ? p->due - since : 0,
		.later = p->later,
		.flying = flight_count(f),
		.failed = s->failed,
		.held = s->held,
		.deferred = s->deferred,
		.rate = rate_of(p, s->recipients, now),
		.ending = f->closing,
	};

	look_at_roads(f, now, &v);
	return v;
}

void progress_tend(struct flusher *f, int64_t closes_at, int64_t now)
{
	struct progress *p = f->progress;
	struct progress_view v;
	char text[COLUMNS_MAX + 1];

	if (!p || now < p->next)
		return;
	count(f, p, now);
	v = look(f, p, now);
	if (f->linger && closes_at > now)
		v.lingers_ms = closes_at - now;
	progress_line(&v, columns_of(p->fd), text, sizeof text);
	draw(p, text);
	p->next = now + (v.flying > 0 || (v.left > 0 && v.closed_ms == 0) ? DRAW_MS : IDLE_MS);
}

int64_t progress_deadline(const struct flusher *f)
{
	return f->progress ? f->progress->next : INT64_MAX;
}
