/*
 * The queue between sessions and workers.
 */
#include "listen/pool.h"

#include <assert.h>

struct pool {
	pthread_mutex_t lock;
	struct message *first, *last;
	struct seat *head, *tail; /* workers that wait, warm ones first */
	unsigned messages, messages_max;
	uint64_t octets, octets_max;
	bool closed;
};

struct pool *pool_new(unsigned messages_max, uint64_t octets_max)
{
	struct pool *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->messages_max = messages_max;
	p->octets_max = octets_max;
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	assert(!p->first && !p->head);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

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

static void sit(struct pool *p, struct seat *s, bool warm)
{
	s->waiting = true;
	s->prev = warm ? NULL : p->tail;
	s->next = warm ? p->head : NULL;
	*(s->prev ? &s->prev->next : &p->head) = s;
	*(s->next ? &s->next->prev : &p->tail) = s;
}

static void rise(struct pool *p, struct seat *s)
{
	*(s->prev ? &s->prev->next : &p->head) = s->next;
	*(s->next ? &s->next->prev : &p->tail) = s->prev;
	s->waiting = false;
}

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
	m->next = NULL;
	if (p->last)
		p->last->next = m;
	else
		p->first = m;
	p->last = m;
	p->messages++;
	p->octets += message_octets(m);
	if (p->head) {
		struct seat *s = p->head;
		rise(p, s);
		pthread_cond_signal(&s->called);
	}
	pthread_mutex_unlock(&p->lock);
}

struct message *pool_take(struct pool *p, struct seat *s, bool warm, int64_t deadline_ms)
{
	struct timespec until = { deadline_ms / 1000, deadline_ms % 1000 * 1000000 };
	struct message *m = NULL;
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->first && !p->closed && rc == 0) {
		if (!s->waiting)
			sit(p, s, warm);
		rc = pthread_cond_timedwait(&s->called, &p->lock, &until);
	}
	if (s->waiting)
		rise(p, s);
	if (p->first) {
		m = p->first;
		p->first = m->next;
		if (!p->first)
			p->last = NULL;
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

void pool_close(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->closed = true;
	for (struct seat *s = p->head; s; s = s->next)
		pthread_cond_signal(&s->called);
	pthread_mutex_unlock(&p->lock);
}

bool pool_closed(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	bool closed = p->closed;
	pthread_mutex_unlock(&p->lock);
	return closed;
}
