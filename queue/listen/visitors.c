/*
 * The clients that are there: a list, as they are few, and looked up once a session.
 */
#include "listen/visitors.h"

#include "base/span.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct visitor {
	struct visitor *next;
	unsigned sessions, flying;
	char client[];
};

struct visitors {
	pthread_mutex_t lock;
	struct visitor *first;
};

struct visitors *visitors_new(void)
{
	struct visitors *v = calloc(1, sizeof *v);

	if (v)
		pthread_mutex_init(&v->lock, NULL);
	return v;
}

void visitors_free(struct visitors *v)
{
	if (!v)
		return;
	assert(!v->first);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static struct visitor *find_or_add(struct visitors *v, const char *client)
{
	size_t n = strlen(client) + 1;
	struct visitor *one = v->first;

	while (one && strcmp(one->client, client) != 0)
		one = one->next;
	if (one)
		return one;
	one = calloc(1, sizeof *one + n);
	if (!one)
		return NULL;
	memcpy(one->client, client, n);
	one->next = v->first;
	v->first = one;
	return one;
}

struct visitor *visitor_enter(struct visitors *v, const char *client, unsigned most)
{
	assert(most > 0);
	pthread_mutex_lock(&v->lock);
	struct visitor *one = find_or_add(v, client);
	if (one && one->sessions >= most)
		one = NULL;
	if (one)
		one->sessions++;
	pthread_mutex_unlock(&v->lock);
	return one;
}

void visitor_leave(struct visitors *v, struct visitor *one)
{
	if (!one)
		return;
	pthread_mutex_lock(&v->lock);
	if (--one->sessions == 0) {
		struct visitor **at = &v->first;
		while (*at != one)
			at = &(*at)->next;
		*at = one->next;
		free(one);
	}
	pthread_mutex_unlock(&v->lock);
}

unsigned visitor_flying(struct visitors *v, struct visitor *one, unsigned before, unsigned now)
{
	pthread_mutex_lock(&v->lock);
	one->flying += now - before;
	unsigned all = one->flying;
	pthread_mutex_unlock(&v->lock);
	return all;
}
