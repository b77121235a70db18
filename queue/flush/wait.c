/*
 * When the wheel has to turn next: the earliest of all deadlines, and what poll(2) watches.
 */
#include "flush/wheel.h"

#include "base/clock.h"
#include "flush/progress.h"
#include "flush/wake.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 500 /* after a change that could not be seen yet */
#define COMPLAIN_MS   60000

void wheel_complain(struct wheel *w, const struct err *why, const char *what)
{
	const int64_t now = clock_mono_ms();

	if (w->complained != 0 && now - w->complained < COMPLAIN_MS)
		return;
	w->complained = now;
	log_line(LOG_ERR, "flush", "%s: %s", why->text, what);
}

void wheel_barrier(struct wheel *w, int64_t now)
{
	struct err why;

	if (store_barrier(w->f->store, &why) == 0) {
		w->look_again = w->look_pause = 0;
		return;
	}
	wheel_complain(w, &why, "looking without the lock");
	w->look_pause = w->look_pause == 0 ? LOOK_AGAIN_MS : w->look_pause * 2;
	w->look_again = w->look_pause < LOOK_AT_LEAST_MS ? now + w->look_pause : 0;
}

static unsigned prepare_poll(struct wheel *w, int64_t *ret_deadline)
{
	struct flusher *f = w->f;
	unsigned n = 2;

	w->pfd[0] = (struct pollfd) { .fd = w->signal_fd, .events = POLLIN };
	w->pfd[1] = (struct pollfd) { .fd = w->wake_fd, .events = POLLIN };
	for (unsigned i = 0; i < f->routes; i++) {
		struct route *r = &f->route[i];

		if (!f->closing && !f->unwritten && route_deadline(r) < *ret_deadline)
			*ret_deadline = route_deadline(r);
		for (unsigned k = 0; k < r->ways; k++) {
			struct link *l = r->way[k].link;
			struct way *way = &r->way[k];

			if (!l)
				continue;
			if (link_deadline(l) < *ret_deadline)
				*ret_deadline = link_deadline(l);
			if (way_idle_until(way) < *ret_deadline)
				*ret_deadline = way_idle_until(way);
			w->pfd[n] = (struct pollfd) { .fd = link_fd(l), .events = link_events(l) };
			w->who[n++] = way;
		}
	}
	return n;
}

static int64_t earliest(const struct wheel *w)
{
	const struct flusher *f = w->f;
	int64_t at = f->unwritten ? w->retry_at : settle_deadline(f);

	if (w->closes_at < at && !f->closing)
		at = w->closes_at;
	if (w->changed && w->files_at < at && !f->closing)
		at = w->files_at;
	if (w->ends_at < at && !w->cut)
		at = w->ends_at;
	if (w->next_due < at && !f->closing && !f->unwritten)
		at = w->next_due;
	if (w->look_again != 0 && w->look_again < at && !f->closing && !f->unwritten)
		at = w->look_again;
	if (w->import && w->import_at < at && !f->closing && !f->unwritten)
		at = w->import_at;
	if (w->notices.next < at && !f->closing && !f->unwritten)
		at = w->notices.next;
	if (w->upkeep.next < at && !f->closing && !f->unwritten)
		at = w->upkeep.next;
	if (progress_deadline(f) < at)
		at = progress_deadline(f);
	return at;
}

/* A signal asks to stop: what is in flight is settled. Who asks again does not want to wait for
 * that: what is known is written back, and the rest comes again with the same tokens. */
static void stop(struct wheel *w, int64_t now)
{
	struct signalfd_siginfo info;

	if (read(w->signal_fd, &info, sizeof info) != sizeof info)
		return;
	if (w->stopped)
		w->ends_at = w->retry_at = now;
	w->stopped = true;
	if (w->closes_at > now)
		w->closes_at = now;
}

int wheel_wait(struct wheel *w, struct err *e)
{
	int64_t deadline = w->hurry ? 0 : earliest(w);
	unsigned n = prepare_poll(w, &deadline);
	int64_t now;

	if (poll(w->pfd, n, clock_poll_timeout(deadline)) < 0 && errno != EINTR)
		return err_sys(e, EX_OSERR, "poll");
	now = clock_mono_ms();
	if (w->pfd[0].revents)
		stop(w, now);
	if (w->pfd[1].revents && wake_drain(w->wake_fd)) {
		w->f->look = true;
		w->import = true;
		w->look_pause = 0;
		wheel_barrier(w, now);
	}
	for (unsigned i = 2; i < n; i++)
		link_step(w->who[i]->link, w->pfd[i].revents, now);
	return 0;
}
