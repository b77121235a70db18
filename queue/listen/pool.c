/*
 * The queue between sessions and workers. Turns are start-time fair queueing: each client's line
 * has a clock that its recipients push on, the line whose clock is behind goes next, and one that
 * comes in anew begins where the others are.
 */
#include "listen/pool.h"

#include "base/clock.h"

#include <assert.h>

#define CREEP_MS 60000 /* after which one more connection is tried */
#define LINES    64    /* clients that can be told apart at a time; more share the last line */

struct line { /* a client's messages; free when there are none */
	struct message *first, *last;
	uint64_t served; /* its clock */
};

struct pool {
	pthread_mutex_t lock;
	struct line line[LINES];
	unsigned waiting;         /* messages in them */
	uint64_t clock;           /* of the line that was served last */
	struct seat *head, *tail; /* workers that wait, warm ones first */
	unsigned messages, messages_max;
	uint64_t octets, octets_max;
	unsigned engaged, connections, connections_max;
	int64_t changed; /* when `connections` last was, monotonic ms */
	bool closed;
};

struct pool *pool_new(unsigned messages_max, uint64_t octets_max, unsigned connections_max)
{
	struct pool *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->messages_max = messages_max;
	p->octets_max = octets_max;
	p->connections = p->connections_max = connections_max;
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	assert(p->waiting == 0 && !p->head);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* --- seats --- */

void seat_init(struct seat *s)
{
	pthread_condattr_t a;

	*s = (struct seat) { .waiting = false };
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&s->called, &a);
	pthread_condattr_destroy(&a);
}

void seat_done(struct seat *s)
{
	pthread_cond_destroy(&s->called);
}

static void sit(struct pool *p, struct seat *s)
{
	s->waiting = true;
	s->prev = s->engaged ? NULL : p->tail;
	s->next = s->engaged ? p->head : NULL;
	*(s->prev ? &s->prev->next : &p->head) = s;
	*(s->next ? &s->next->prev : &p->tail) = s;
}

static void rise(struct pool *p, struct seat *s)
{
	*(s->prev ? &s->prev->next : &p->head) = s->next;
	*(s->next ? &s->next->prev : &p->tail) = s->prev;
	s->waiting = false;
}

static void engage(struct pool *p, struct seat *s, bool on)
{
	p->engaged += (unsigned)on;
	p->engaged -= (unsigned)s->engaged;
	s->engaged = on;
}

static bool may_work(const struct pool *p, const struct seat *s)
{
	return p->waiting > 0 && (s->engaged || p->engaged < p->connections);
}

/* Calls one that may work, if there is something to do. */
static void call(struct pool *p)
{
	if (p->head && may_work(p, p->head)) {
		struct seat *s = p->head;
		rise(p, s);
		pthread_cond_signal(&s->called);
	}
}

/* --- lines --- */

/* The client's, or a free one for it. */
static struct line *line_for(struct pool *p, const struct message *m)
{
	struct line *free_one = NULL;

	for (struct line *l = p->line; l < p->line + LINES; l++) {
		if (l->first && strcmp(l->first->client, m->client) == 0)
			return l;
		if (!l->first && !free_one)
			free_one = l;
	}
	if (!free_one)
		return &p->line[LINES - 1];
	free_one->served = p->clock;
	return free_one;
}

/* The next message of the line whose clock is behind; there is one. */
static struct message *take(struct pool *p)
{
	struct line *next = NULL;

	for (struct line *l = p->line; l < p->line + LINES; l++)
		if (l->first && (!next || l->served < next->served))
			next = l;
	assert(next);
	struct message *m = next->first;
	p->clock = next->served;
	next->served += m->rcpts;
	next->first = m->next;
	p->waiting--;
	return m;
}

/* For all of the seats to look again. */
static void wake_all(struct pool *p)
{
	for (struct seat *s = p->head; s; s = s->next)
		pthread_cond_signal(&s->called);
}

/* --- */

bool pool_room(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	bool room = p->messages < p->messages_max && p->octets < p->octets_max;
	pthread_mutex_unlock(&p->lock);
	return room;
}

void pool_put(struct pool *p, struct message *m)
{
	message_ref(m);
	pthread_mutex_lock(&p->lock);
	struct line *line = line_for(p, m);
	m->next = NULL;
	if (line->first)
		line->last->next = m;
	else
		line->first = m;
	line->last = m;
	p->waiting++;
	p->messages++;
	p->octets += message_octets(m);
	call(p);
	pthread_mutex_unlock(&p->lock);
}

void pool_unget(struct pool *p, struct message *m)
{
	pthread_mutex_lock(&p->lock);
	struct line *line = line_for(p, m);
	m->next = line->first;
	if (!line->first)
		line->last = m;
	line->first = m;
	line->served -= line->served < m->rcpts ? line->served : m->rcpts;
	p->waiting++;
	call(p);
	pthread_mutex_unlock(&p->lock);
}

/* After a while without complaint one more connection is tried. */
static void creep(struct pool *p)
{
	if (p->connections == p->connections_max)
		return;
	int64_t now = clock_mono_ms();
	if (now - p->changed < CREEP_MS)
		return;
	p->connections++;
	p->changed = now;
}

struct message *pool_take(struct pool *p, struct seat *s, bool warm, int64_t deadline_ms)
{
	struct timespec until = { deadline_ms / 1000, deadline_ms % 1000 * 1000000 };
	struct message *m = NULL;
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	creep(p);
	engage(p, s, warm);
	if (!warm)
		call(p); /* another may take its place */
	while (!may_work(p, s) && !(p->closed && p->waiting == 0) && rc == 0) {
		if (!s->waiting)
			sit(p, s);
		rc = pthread_cond_timedwait(&s->called, &p->lock, &until);
	}
	if (s->waiting)
		rise(p, s);
	if (may_work(p, s)) {
		m = take(p);
		engage(p, s, true);
		call(p); /* there may be more, and another */
		if (p->closed && p->waiting == 0)
			wake_all(p);
	}
	pthread_mutex_unlock(&p->lock);
	return m;
}

void pool_give_back(struct pool *p, struct message *m)
{
	pthread_mutex_lock(&p->lock);
	p->messages--;
	p->octets -= message_octets(m);
	pthread_mutex_unlock(&p->lock);
	message_unref(m);
}

bool pool_crowded(struct pool *p, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	bool others = p->engaged > 1;
	if (others && p->engaged - 1 < p->connections)
		p->connections = p->engaged - 1;
	p->changed = now_ms;
	pthread_mutex_unlock(&p->lock);
	return others;
}

void pool_close(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->closed = true;
	wake_all(p);
	pthread_mutex_unlock(&p->lock);
}

bool pool_closed(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	bool closed = p->closed;
	pthread_mutex_unlock(&p->lock);
	return closed;
}
