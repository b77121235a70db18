/*
 * Whose turn it is.
 */
#include "flush/turn.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* The one that runs tries the next one's lock for a moment, to see whether there is one: that is no
 * reason to go. */
#define NEXT_PATIENCE_MS 200

/* The one that runs goes at the end of `linger`, or has told why it can't. So long after that it is
 * named, and then now and then. */
#define OVERDUE_MS       (5 * 60 * 1000)
#define OVERDUE_AGAIN_MS (60 * 60 * 1000)

/* --- connections that are made before the turn has come --- */

static void begin_to_connect(struct flusher *f, int64_t now)
{
	for (unsigned i = 0; f->linger && i < f->routes; i++)
		route_tend(f, &f->route[i], now);
}

/* Lets each go on; whether one is still being made. One that failed is history when the turn comes:
 * whoever runs has told of it. */
static bool go_on(struct flusher *f, int64_t now)
{
	bool opening = false;

	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++) {
			struct link *l = f->route[i].way[k].link;
			struct pollfd p = { .fd = l ? link_fd(l) : -1 };

			if (!l)
				continue;
			p.events = link_events(l);
			(void)poll(&p, 1, 0);
			link_step(l, p.revents, now);
			if (client_state(link_client(l)) == CLIENT_DEAD)
				way_free(f, &f->route[i].way[k]);
			else if (client_state(link_client(l)) != CLIENT_READY)
				opening = true;
		}
	return opening;
}

static void watch(int set, int fd, short events)
{
	/* EPOLLIN and POLLIN are the same, and so are the others. */
	struct epoll_event v = { .events = (uint32_t)events };

	(void)epoll_ctl(set, EPOLL_CTL_ADD, fd, &v);
}

/* One descriptor for all that ends the wait for the lock: the signals and the connections; and when
 * it ends in any case. Or -1. */
static int company(const struct flusher *f, int signal_fd, int64_t *ret_deadline)
{
	int set = epoll_create1(EPOLL_CLOEXEC);

	*ret_deadline = INT64_MAX;
	if (set < 0)
		return -1;
	watch(set, signal_fd, POLLIN);
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ways; k++) {
			const struct link *l = f->route[i].way[k].link;

			if (!l)
				continue;
			watch(set, link_fd(l), link_events(l));
			if (link_deadline(l) < *ret_deadline)
				*ret_deadline = link_deadline(l);
		}
	return set;
}

/* --- the locks --- */

static bool told_to_stop(int signal_fd)
{
	struct pollfd p = { .fd = signal_fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* It may be frozen, and then nothing else would ever say why no mail leaves. */
static void name_the_one_that_runs(const struct flusher *f, int64_t waited_ms)
{
	char who[HOLDER_NAME_MAX];

	store_lock_holder(f->conf->queue, "flush.lock", who);
	log_line(LOG_ERR, "flush",
		"%s holds flush.lock, and has not let go of it for %lld minutes: no other flusher "
		"can send",
		who, (long long)(waited_ms / 60000));
}

static int stand_by(struct flusher *f, int next_fd, int signal_fd, int *ret_fd, struct err *e)
{
	const int64_t began = clock_mono_ms();
	int64_t tell_at = began + f->conf->linger + OVERDUE_MS;
	bool ready = false;
	int got = 0;

	begin_to_connect(f, began);
	while (got == 0 && !told_to_stop(signal_fd)) {
		int64_t deadline, now = clock_mono_ms();

		if (now >= tell_at) {
			name_the_one_that_runs(f, now - began);
			tell_at = now + OVERDUE_AGAIN_MS;
		}

		if (!go_on(f, now) && !ready) {
			store_lock_ready(next_fd);
			ready = true;
		}
		int set = company(f, signal_fd, &deadline);
		if (set < 0)
			return err_sys(e, EX_OSERR, "epoll");
		if (tell_at < deadline)
			deadline = tell_at;
		got = store_lock_file(f->conf->queue, "flush.lock", deadline, set, ret_fd, e);
		close(set);
	}
	return got;
}

int turn_take(struct flusher *f, bool once, int signal_fd, int *ret_fd, struct err *e)
{
	const char *queue = f->conf->queue;
	const int64_t now = clock_mono_ms();
	int next = -1;
	int got = store_lock_file(queue, "flush.lock", now, -1, ret_fd, e);

	if (got != 0 || once)
		return got;
	got = store_lock_file(queue, "next.lock", now + NEXT_PATIENCE_MS, signal_fd, &next, e);
	if (got <= 0)
		return got;
	got = stand_by(f, next, signal_fd, ret_fd, e);
	close(next);
	return got;
}

bool turn_is_wanted(const struct flusher *f)
{
	return store_lock_state(f->conf->queue, "next.lock") == STORE_LOCK_READY;
}

/* --- configuration that is changed meanwhile --- */

struct turn_file {
	const char *path;
	uint64_t device, inode, size;
	int64_t changed_ns;
};

struct turn_files {
	unsigned files;
	struct turn_file file[];
};

static void look_at(struct turn_file *t)
{
	struct stat st;

	if (stat(t->path, &st) < 0)
		return;
	t->device = st.st_dev;
	t->inode = st.st_ino;
	t->size = (uint64_t)st.st_size;
	t->changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
}

static void note(struct turn_files *t, const char *path)
{
	struct turn_file *n = &t->file[t->files];

	if (!path[0])
		return;
	*n = (struct turn_file) { .path = path };
	look_at(n);
	t->files++;
}

struct turn_files *turn_files_new(const char *conf, const struct flusher *f, struct err *e)
{
	struct turn_files *t;
	unsigned n = 1;

	for (unsigned i = 0; i < f->routes; i++)
		n += f->route[i].ends;
	t = calloc(1, sizeof *t + n * sizeof *t->file);
	if (!t) {
		err_set(e, EX_OSERR, "out of memory");
		return NULL;
	}
	note(t, conf);
	for (unsigned i = 0; i < f->routes; i++)
		for (unsigned k = 0; k < f->route[i].ends; k++)
			note(t, f->route[i].end[k].relay.secret);
	return t;
}

void turn_files_free(struct turn_files *t)
{
	free(t);
}

bool turn_files_changed(const struct turn_files *t)
{
	for (unsigned i = 0; i < t->files; i++) {
		struct turn_file now = t->file[i];

		look_at(&now);
		if (now.device != t->file[i].device || now.inode != t->file[i].inode ||
			now.size != t->file[i].size || now.changed_ns != t->file[i].changed_ns)
			return true;
	}
	return false;
}
