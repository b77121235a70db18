/*
 * A hash table of claims. Tokens are random, so their first digits are hash enough; one who picks
 * them on purpose slows down only what he has in flight himself, and that has a ceiling.
 */
#include "listen/claims.h"

#include "base/number.h"

#include <assert.h>
#include <pthread.h>

#define BUCKETS 4096 /* three hexadecimal digits */

struct twin {
	struct twin *next;
	struct message *m;
	unsigned i;
};

struct claim {
	struct claim *next;
	const struct message *m;
	unsigned i;
	struct twin *twins;
};

struct claims {
	pthread_mutex_t lock;
	struct claim *bucket[BUCKETS];
};

struct claims *claims_new(void)
{
	struct claims *c = calloc(1, sizeof *c);

	if (c)
		pthread_mutex_init(&c->lock, NULL);
	return c;
}

void claims_free(struct claims *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		assert(!c->bucket[i]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* The place that points to the claim on the same token of the same client, or to NULL. */
static struct claim **find(struct claims *c, const struct message *m, unsigned i)
{
	const char *once = m->rcpt[i].once;
	unsigned char first[2] = { 0, 0 };

	(void)hex_decode(span_make(once, 4), first, 2);
	struct claim **p = &c->bucket[first[0] << 4 | first[1] >> 4];
	while (*p && (strcmp((*p)->m->rcpt[(*p)->i].once, once) != 0 ||
			     strcmp((*p)->m->client, m->client) != 0))
		p = &(*p)->next;
	return p;
}

static enum claimed begin(struct claim **at, struct message *m, unsigned i)
{
	struct claim *claim = calloc(1, sizeof *claim);

	if (!claim)
		return CLAIM_NO_MEMORY;
	claim->m = m;
	claim->i = i;
	*at = claim;
	return CLAIM_MADE;
}

static enum claimed join(struct claim *claim, struct message *m, unsigned i)
{
	struct twin *t = calloc(1, sizeof *t);

	if (!t)
		return CLAIM_NO_MEMORY;
	message_ref(m);
	*t = (struct twin) { claim->twins, m, i };
	claim->twins = t;
	return CLAIM_TWIN;
}

enum claimed claims_make(struct claims *c, struct message *m, unsigned i)
{
	pthread_mutex_lock(&c->lock);
	struct claim **p = find(c, m, i);
	enum claimed r = *p ? join(*p, m, i) : begin(p, m, i);
	pthread_mutex_unlock(&c->lock);
	return r;
}

void claims_end(struct claims *c, const struct message *m, unsigned i, const char *answer)
{
	pthread_mutex_lock(&c->lock);
	struct claim **p = find(c, m, i), *claim = *p;
	assert(claim && claim->m == m && claim->i == i);
	*p = claim->next;
	pthread_mutex_unlock(&c->lock);
	while (claim->twins) {
		struct twin *t = claim->twins;
		claim->twins = t->next;
		message_answer(t->m, t->i, answer);
		message_unref(t->m);
		free(t);
	}
	free(claim);
}
