/*
 * The worker's thread, and the life of its connection: made when a message needs it, closed before
 * SES would close it (10 s), made anew from the name each time, as SES's addresses change.
 */
#include "listen/worker_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>

#define IDLE_MS      5000
#define FRESH_MS     20    /* a connection used so lately is taken to be there */
#define CONNECT_MS   10000 /* for each address */
#define OPENING_MS   60000 /* until it is ready */
#define QUIT_MS      1000
#define TOTAL_MS     900000 /* for a transaction, and a minute a megabyte */
#define LOOK_MS      5      /* how often to look whether it has ended */
#define FOREVER_MS   86400000
#define THREAD_STACK (512 * 1024) /* the resolver's modules want some */

void worker_hang_up(struct worker *w)
{
	link_free(w->link);
	if (w->counted)
		atomic_fetch_sub(&w->l->figures.ses_connections, 1);
	w->counted = false;
	w->link = NULL;
	w->used = false;
}

static void quit(struct worker *w)
{
	int64_t now = clock_mono_ms();

	if (!w->link)
		return;
	if (client_state(link_client(w->link)) == CLIENT_READY) {
		client_quit(link_client(w->link), now);
		link_run(w->link, CLIENT_DEAD, now + QUIT_MS, -1);
	}
	worker_hang_up(w);
}

static struct link *dial(struct worker *w)
{
	const struct link_options o = {
		.client = { .relay = &w->l->upstream,
			.helo = w->l->conf.hostname,
			.window = 1,
			.window_bytes = SIZE_MAX / 2,
			.total_ms = TOTAL_MS },
		.tls = w->l->upstream_tls,
		.connect_ms = CONNECT_MS,
	};
	int64_t now = clock_mono_ms();
	struct link *link = link_new(&o, now);

	if (link)
		link_run(link, CLIENT_READY, now + OPENING_MS, -1);
	return link;
}

/* Whether the connection is there and SES has not closed it meanwhile. */
static bool is_ready(struct worker *w)
{
	if (!w->link)
		return false;
	if (clock_mono_ms() - w->idle_since < FRESH_MS)
		return true; /* and if not, that is found out before anything is lost */
	link_run(w->link, CLIENT_DEAD, clock_mono_ms(), -1);
	if (client_state(link_client(w->link)) == CLIENT_READY)
		return true;
	worker_hang_up(w);
	return false;
}

/* "421 Too many concurrent SMTP connections": of the account's, and so of ours. */
static bool is_crowded(const struct outcome *o)
{
	return !o->lost && o->reply.code == 421 && strstr(o->reply.text, "oo many concurrent");
}

/* Makes the connection. */
enum made { MADE, NOT_MADE, CROWDED_OUT };
static enum made connect_now(struct worker *w, char answer[ANSWER_MAX + 1])
{
	static const struct outcome no_memory = { .step = STEP_CONNECT,
		.lost = true,
		.reply = { .text = "out of memory" } },
				    too_slow = { .step = STEP_GREETING,
					    .lost = true,
					    .reply = { .text = "timed out" } };
	const struct outcome *fault = &no_memory;

	if (uplink_is_down(&w->l->uplink, clock_mono_ms(), answer))
		return NOT_MADE;
	w->link = dial(w);
	if (w->link) {
		enum client_state state = client_state(link_client(w->link));
		if (state == CLIENT_READY) {
			uplink_well(&w->l->uplink);
			w->counted = true;
			figures_one(&w->l->figures.ses_connects);
			atomic_fetch_add(&w->l->figures.ses_connections, 1);
			return MADE;
		}
		fault = state == CLIENT_DEAD ? client_fault(link_client(w->link)) : &too_slow;
	}
	figures_one(&w->l->figures.ses_failures);
	bool crowded = is_crowded(fault) && pool_crowded(w->l->pool, clock_mono_ms());
	if (crowded)
		answer_own(&(struct answer_own) { "451 4.3.2", VERDICT_PACE, 5 }, answer,
			"SES takes no more connections");
	else
		uplink_failed(&w->l->uplink, fault, clock_mono_ms(), answer);
	log_line(LOG_WARNING, "listen", "warning: %s: %s", w->l->upstream.text, answer);
	worker_hang_up(w);
	return crowded ? CROWDED_OUT : NOT_MADE;
}

bool worker_is_cut_off(struct worker *w, char answer[ANSWER_MAX + 1])
{
	return !is_ready(w) && uplink_is_down(&w->l->uplink, clock_mono_ms(), answer);
}

struct link *worker_link(struct worker *w, char answer[ANSWER_MAX + 1])
{
	if (is_ready(w) || connect_now(w, answer) == MADE)
		return w->link;
	return NULL;
}

/* Before a message has claims it can still be left to another worker. */
static bool is_crowded_out(struct worker *w)
{
	char answer[ANSWER_MAX + 1];

	return !w->link && connect_now(w, answer) == CROWDED_OUT;
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;
	struct pool *pool = w->l->pool;

	for (;;) {
		int64_t until = w->rests ? clock_mono_ms() + FOREVER_MS : w->idle_since + IDLE_MS;
		struct message *m = pool_take(pool, &w->seat, w->link, until);
		if (m && is_crowded_out(w)) {
			pool_unget(pool, m);
		} else if (m) {
			deliver(w, m);
			pool_give_back(pool, m);
			w->idle_since = clock_mono_ms();
			w->rests = false;
		} else {
			quit(w);
			w->rests = true;
			memory_give_back();
			if (pool_closed(pool))
				break;
		}
	}
	atomic_store(&w->ended, true);
	return NULL;
}

struct worker *worker_start(struct listener *l, struct err *e)
{
	struct worker *w = calloc(1, sizeof *w);
	pthread_attr_t a;

	if (!w) {
		err_set(e, EX_OSERR, "out of memory");
		return NULL;
	}
	w->l = l;
	w->rests = true;
	seat_init(&w->seat);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, THREAD_STACK);
	errno = pthread_create(&w->thread, &a, worker_thread, w);
	pthread_attr_destroy(&a);
	if (errno == 0)
		return w;
	err_sys(e, EX_OSERR, "a thread for a connection to SES");
	seat_done(&w->seat);
	free(w);
	return NULL;
}

bool worker_join(struct worker *w, int64_t deadline_ms)
{
	while (!atomic_load(&w->ended)) {
		if (clock_mono_ms() >= deadline_ms)
			return false;
		(void)poll(NULL, 0, LOOK_MS);
	}
	pthread_join(w->thread, NULL);
	seat_done(&w->seat);
	free(w);
	return true;
}
