/*
 * Writing the figures down.
 */
#include "listen/figures_writer.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FILE_MS      5000
#define LINE_MS      60000
#define THREAD_STACK (256 * 1024)

struct figures_writer {
	struct listener *l;
	pthread_t thread;
	int end; /* an eventfd: it is over */
	bool complained;
	unsigned long long seen[5]; /* as of the last line */
};

static void write_file(struct figures_writer *w)
{
	struct terms *t = terms_get(&w->l->terms);
	struct err e = { 0 };

	if (!t->conf.metrics[0]) {
		w->complained = false;
	} else if (figures_write(&w->l->figures, atomic_load(&w->l->sessions), t->conf.metrics,
			   &e) == 0) {
		w->complained = false;
	} else if (!w->complained) { /* once is enough */
		w->complained = true;
		log_line(LOG_ERR, "listen", "%s", e.text);
	}
	terms_unref(t);
}

/* "statistics: 60 s: …", of what is new. */
static void log_minute(struct figures_writer *w, int64_t ms)
{
	const struct figures *f = &w->l->figures;
	unsigned long long now[5] = { atomic_load(&f->messages), atomic_load(&f->recipients),
		atomic_load(&f->answered[VERDICT_SENT]), atomic_load(&f->answered[VERDICT_NEVER]),
		0 };
	unsigned long long n[5];
	bool any = false;

	for (unsigned i = 0; i < FIGURES_CLASSES; i++)
		if (i != VERDICT_SENT && i != VERDICT_NEVER)
			now[4] += atomic_load(&f->answered[i]);
	for (unsigned i = 0; i < 5; i++) {
		n[i] = now[i] - w->seen[i];
		w->seen[i] = now[i];
		any = any || n[i] > 0;
	}
	if (any)
		log_line(LOG_INFO, "listen",
			"statistics: %.0f s: messages=%llu recipients=%llu sent=%llu never=%llu "
			"later=%llu, now: sessions=%u waiting=%u sending=%u ses=%u",
			(double)ms / 1000, n[0], n[1], n[2], n[3], n[4],
			atomic_load(&w->l->sessions), atomic_load(&f->waiting),
			atomic_load(&f->sending), atomic_load(&f->ses_connections));
}

static void *writer_thread(void *arg)
{
	struct figures_writer *w = arg;
	struct pollfd p = { .fd = w->end, .events = POLLIN };
	int64_t line = clock_mono_ms();

	for (;;) {
		write_file(w);
		int n = poll(&p, 1, FILE_MS);
		int64_t now = clock_mono_ms();
		if (n > 0 || now - line >= LINE_MS) {
			log_minute(w, now - line);
			line = now;
		}
		if (n > 0)
			break;
	}
	write_file(w);
	return NULL;
}

struct figures_writer *figures_writer_start(struct listener *l, struct err *e)
{
	struct figures_writer *w = calloc(1, sizeof *w);
	pthread_attr_t a;

	if (w)
		w->end = eventfd(0, EFD_CLOEXEC);
	if (!w || w->end < 0) {
		err_set(e, EX_OSERR, "no memory for the figures");
		free(w);
		return NULL;
	}
	w->l = l;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, THREAD_STACK);
	errno = pthread_create(&w->thread, &a, writer_thread, w);
	pthread_attr_destroy(&a);
	if (errno == 0)
		return w;
	err_sys(e, EX_OSERR, "a thread for the figures");
	close(w->end);
	free(w);
	return NULL;
}

void figures_writer_join(struct figures_writer *w)
{
	if (!w)
		return;
	(void)eventfd_write(w->end, 1);
	pthread_join(w->thread, NULL);
	close(w->end);
	free(w);
}
