/*
 * The wheel: take what is due, give it to the connections, wait, collect, write back.
 */
#include "flush/wheel.h"

#include "base/clock.h"
#include "flush/import.h"
#include "flush/notify.h"
#include "flush/progress.h"
#include "flush/turn.h"
#include "flush/wake.h"

#include <unistd.h>

#define WRITE_AGAIN_MS  1000
#define IMPORT_AGAIN_MS 5000
#define NEXT_LOOK_MS    20   /* how often to look whether the next flusher is ready */
#define NEXT_PART       6    /* of `linger`: so long at most it is waited for */
#define FILES_LOOK_MS   1000 /* no reason to wake up, though */
#define FILLS_MAX       16   /* of a route's connections, before the others and the verdicts */

static unsigned all_ways(const struct flusher *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->routes; i++)
		n += f->route[i].ways;
	return n;
}

static int wheel_open(struct wheel *w, struct flusher *f, int signal_fd)
{
	const int64_t now = clock_mono_ms();
	struct err why;

	*w = (struct wheel) {
		.f = f, .signal_fd = signal_fd, .wake_fd = -1, .next_due = now, .import = true
	};
	w->closes_at = f->linger ? now + f->conf->linger : INT64_MAX;
	w->leaves_at = f->linger ? w->closes_at + f->conf->linger / NEXT_PART : INT64_MAX;
	w->files_at = f->linger ? now : INT64_MAX;
	w->ends_at = INT64_MAX;
	w->pfd = calloc(2 + all_ways(f), sizeof *w->pfd);
	w->who = calloc(2 + all_ways(f), sizeof *w->who);
	if (f->linger) {
		w->wake_fd = wake_open(f->conf->queue, &why);
		if (w->wake_fd < 0)
			log_line(LOG_WARNING, "flush", "warning: %s: looking once a second instead",
				why.text);
	}
	return w->pfd && w->who ? 0 : -1;
}

static void wheel_done(struct wheel *w)
{
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->pfd);
	free(w->who);
}

/* What senders left in incoming/, before what is due. What can't be taken now is no reason not to
 * send the rest. */
static void import(struct wheel *w, int64_t now)
{
	struct flusher *f = w->f;
	bool more = false, taken = false;
	struct err why;
	int r;

	if (!w->import || f->closing || f->unwritten || now < w->import_at)
		return;
	f->look = true;
	w->written = true;
	r = import_some(f->store, f->conf->queue, &more, &taken, &why);
	if (taken)
		batch_rewind(f); /* of a time that has been looked at */
	if (r == 0) {
		w->import = more;
		return;
	}
	wheel_complain(w, &why, "what is in incoming/ waits");
	if (!more)
		w->import_at = clock_mono_ms() + IMPORT_AGAIN_MS;
}

/* Takes more when little is left, and there may be some. 0 or -1. */
static int take(struct wheel *w, int64_t now, struct err *e)
{
	struct flusher *f = w->f;
	int64_t wall;

	if (w->look_again != 0 && now >= w->look_again) {
		f->look = true;
		wheel_barrier(w, now);
	}
	if (now >= w->next_due) {
		f->look = true;
		w->import = true;
		w->next_due = now + LOOK_AT_LEAST_MS;
	}
	import(w, now);
	if (f->closing || f->unwritten || !batch_wanted(f, now))
		return 0;
	if (batch_take(f, e) < 0)
		return -1;
	wall = clock_wall_ms();
	w->next_due = now + LOOK_AT_LEAST_MS;
	if (f->next_due - wall < LOOK_AT_LEAST_MS) /* what is due by now too */
		w->next_due = now + (f->next_due > wall ? f->next_due - wall : 0);
	if (f->linger && w->wake_fd < 0 && w->next_due > now + 1000)
		w->next_due = now + 1000;
	return 0;
}

/* What the connections were just given goes out. */
static void write_out(struct flusher *f, struct route *r, int64_t now)
{
	for (unsigned k = 0; k < r->ways; k++) {
		struct way *way = &r->way[k];

		if (!way->link)
			continue;
		way_rest(f, r, way, now);
		link_step(way->link, 0, now);
	}
}

static int serve(struct wheel *w, int64_t now, struct err *e)
{
	struct flusher *f = w->f;
	int gave;

	w->hurry = false;
	road_write(f, false, now);
	for (unsigned i = 0; i < f->routes; i++) {
		struct route *r = &f->route[i];

		if (!f->closing && !f->unwritten)
			route_tend(f, r, now);
		/* A connection takes no more than it can write at once. */
		for (unsigned n = 0; n < FILLS_MAX; n++) {
			gave = f->closing || f->unwritten ? 0 : send_fill(f, r, now, e);
			if (gave < 0)
				return -1;
			write_out(f, r, now);
			if (!gave)
				break;
		}
		w->hurry |= gave;
	}
	return 0;
}

static void collect(struct flusher *f, int64_t now)
{
	for (unsigned i = 0; i < f->routes; i++) {
		struct route *r = &f->route[i];

		for (unsigned k = 0; k < r->ways; k++) {
			struct way *way = &r->way[k];
			struct client *c;

			if (!way->link)
				continue;
			c = link_client(way->link);
			if (client_state(c) == CLIENT_READY)
				route_ready(f, r, way, now);
			settle_collect(f, way, now);
			if (client_state(c) == CLIENT_DEAD && !client_has_done(c))
				route_ended(f, r, way, now);
		}
	}
}

/* What is in flight at the end has FLUSH_LAST_MS. If a big message is still on its way then it goes
 * on, up to its own deadline: cut, it would begin anew in the next flusher, and end as it did. So
 * does one whose peer takes its time with the answer, and keeps no journal. */
static void end_flight(struct wheel *w, int64_t now)
{
	const uint64_t moved = flight_octets(w->f);

	if (!w->stopped && (moved != w->moved || flight_unsure(w->f))) {
		w->moved = moved;
		w->ends_at = now + FLUSH_LAST_MS;
		return;
	}
	w->cut = true;
	flight_cut(w->f, now);
}

static bool nothing_left(const struct wheel *w, int64_t now)
{
	const struct flusher *f = w->f;
	const bool to_import = w->import && now >= w->import_at; /* if not, it has just failed */

	return flight_count(f) == 0 && settle_deadline(f) == INT64_MAX &&
	       (f->closing || (!batch_wanted(f, now) && flight_waiting(f, now) == 0 && !to_import &&
				      !route_probing(f)));
}

/* When it is idle: the WAL goes into the database, so that the next lone caller finds it small. */
static void tidy(struct wheel *w, int64_t now)
{
	if (w->written && !w->upkeep.under_way && nothing_left(w, now)) {
		int64_t wal = store_checkpoint(w->f->store, true);

		if (wal > STORE_WAL_LOUD && !w->told_wal)
			log_line(LOG_WARNING, "flush",
				"warning: the queue's WAL has %lld MB and can't be written back: "
				"who has a transaction open on %s?",
				(long long)(wal >> 20), w->f->conf->queue);
		w->told_wal |= wal > STORE_WAL_LOUD;
		w->written = false;
	}
}

/* What is old goes when there is nothing else to do. Whether one that does not linger may go too.
 */
static bool upkeep(struct wheel *w, int64_t now)
{
	struct flusher *f = w->f;

	if (f->closing || f->unwritten)
		return true;
	w->written |= upkeep_tend(&w->upkeep, f->store, f->conf, nothing_left(w, now));
	return upkeep_done(&w->upkeep);
}

/* Senders are told what became of their mail, and the operator what lasts. Whether one that does
 * not linger may go. */
static bool notices(struct wheel *w, int64_t now)
{
	struct flusher *f = w->f;

	if (f->closing || f->unwritten)
		return true;
	w->written |= notice_tend(&w->notices, f, nothing_left(w, now));
	w->written |= notify_tend(&w->notify_next, f);
	return notice_done(&w->notices);
}

/* Takes nothing new; what is in flight has a while to be answered. */
static void close_down(struct wheel *w, int64_t now)
{
	if (w->f->closing)
		return;
	w->f->closing = true;
	flight_let_go(w->f, now);
	w->ends_at = now + FLUSH_LAST_MS;
	w->moved = flight_octets(w->f);
}

/* A queue that can't be read ends the run, after what is in flight. */
static void fail(struct wheel *w, const struct err *why, int64_t now)
{
	if (w->failed.code == 0)
		w->failed = *why;
	close_down(w, now);
}

/* Verdicts are not given up because somebody holds the lock or the disk is full: who got his mail
 * from a peer without a journal would get it twice. 0 or -1. */
static int write_back(struct wheel *w, int64_t now, struct err *e)
{
	struct flusher *f = w->f;

	if (f->unwritten && now < w->retry_at)
		return 0;
	w->written |= settle_deadline(f) != INT64_MAX;
	/* Alone in the air, a verdict need not wait for company. */
	if (settle_write(f, f->unwritten || flight_count(f) == 0, e) == 0) {
		w->hurry |= f->unwritten; /* there may be verdicts for which there was no room */
		f->unwritten = false;
		return 0;
	}
	if (e->code != EX_TEMPFAIL || (w->stopped && clock_mono_ms() >= w->ends_at))
		return err_prefix(e, "verdicts are lost, and their recipients tried again: ");
	wheel_complain(w, e, "verdicts wait, and nothing is sent, until the queue can be written");
	f->unwritten = true;
	w->retry_at = clock_mono_ms() + WRITE_AGAIN_MS;
	return 0;
}

/* Whether its life is. At its end it stays a little for the next one, so that new mail meets one of
 * them; and it goes before where the next one has a newer configuration. */
static bool is_over(struct wheel *w, int64_t now)
{
	if (w->f->closing || w->stopped)
		return now >= w->closes_at;
	if (now < w->closes_at) {
		if (now < w->files_at)
			return false;
		w->files_at = now + FILES_LOOK_MS;
		w->changed = w->changed || turn_files_changed(w->f->files);
		return w->changed && turn_is_wanted(w->f);
	}
	/* Others must not wait with it for what has stalled. */
	if (flight_stalled(w->f) && now < w->leaves_at + FLUSH_TX_MS) {
		w->closes_at = now + FLUSH_STALL_MS;
		return false;
	}
	if (now >= w->leaves_at || turn_is_wanted(w->f))
		return true;
	w->closes_at = now + NEXT_LOOK_MS;
	return false;
}

static int run(struct wheel *w, struct err *e)
{
	struct flusher *f = w->f;
	struct err why;
	bool done;

	for (;;) {
		int64_t now = clock_mono_ms();

		if (is_over(w, now))
			close_down(w, now);
		if (now >= w->ends_at && !w->cut)
			end_flight(w, now);
		if (take(w, now, &why) < 0 || serve(w, now, &why) < 0)
			fail(w, &why, now);
		collect(f, now);
		if (write_back(w, now, e) < 0)
			return -1;
		done = notices(w, now) && upkeep(w, now);
		tidy(w, now);
		progress_tend(f, w->closes_at, now);
		if ((f->closing || (!f->linger && done)) && nothing_left(w, now))
			break;
		/* When there is more to take at once, there is no wait. */
		if (batch_wanted(f, now))
			w->hurry = true;
		if (wheel_wait(w, e) < 0) {
			(void)settle_write(f, true, &why);
			return -1;
		}
		collect(f, clock_mono_ms());
	}
	if (w->failed.code == 0)
		return 0;
	*e = w->failed;
	return -1;
}

int flusher_run(struct flusher *f, int signal_fd, struct err *e)
{
	struct wheel w;
	int result;

	f->look = true;
	result = wheel_open(&w, f, signal_fd) < 0
			 ? err_set(e, EX_OSERR, "out of memory for connections")
			 : run(&w, e);
	wheel_done(&w);
	return result;
}
