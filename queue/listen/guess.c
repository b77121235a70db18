/*
 * The memory of wrong passwords: two tables, each with a few places for a key, of which the least
 * suspect is given up for a new one.
 */
#include "listen/guess.h"

#include "base/random.h"
#include "base/span.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SETS 256
#define WAYS 8

struct suspect {
	uint64_t key;  /* 0: an empty place */
	int64_t wrong; /* ms: GUESS_FORGET for each wrong one; it runs off by itself */
	int64_t at;    /* when `wrong` was true */
	int64_t next;  /* of a name: when the next try may be looked at */
	uint64_t home; /* of a name: the address that logged in last */
};

struct guess {
	pthread_mutex_t lock;
	uint64_t seed;
	struct suspect name[SETS][WAYS], address[SETS][WAYS];
};

struct guess *guess_new(void)
{
	struct guess *g = calloc(1, sizeof *g);

	if (!g)
		return NULL;
	pthread_mutex_init(&g->lock, NULL);
	random_bytes(&g->seed, sizeof g->seed);
	return g;
}

void guess_free(struct guess *g)
{
	if (!g)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* FNV-1a from a secret start, mixed. Who finds two names that meet makes them wait together. */
static uint64_t key_of(const struct guess *g, const void *p, size_t n)
{
	const unsigned char *octet = p;
	uint64_t h = g->seed;

	for (size_t i = 0; i < n; i++)
		h = (h ^ octet[i]) * 0x100000001b3;
	h = (h ^ (h >> 31)) * 0x9e3779b97f4a7c15;
	h ^= h >> 29;
	return h ? h : 1;
}

/* Of IPv6 the network: who has one address of it has them all. */
static uint64_t key_of_address(const struct guess *g, const char *address)
{
	unsigned char six[16];

	if (inet_pton(AF_INET6, address, six) == 1)
		return key_of(g, six, 8);
	return key_of(g, address, strlen(address));
}

static void run_off(struct suspect *s, int64_t now_ms)
{
	s->wrong -= now_ms - s->at;
	if (s->wrong < 0)
		s->wrong = 0;
	s->at = now_ms;
}

/* The place of a key, which the least suspect other one gives up where it has none. */
static struct suspect *find_or_take(struct suspect table[SETS][WAYS], uint64_t key, int64_t now_ms)
{
	struct suspect *set = table[key % SETS], *least = set;

	for (unsigned i = 0; i < WAYS; i++) {
		run_off(&set[i], now_ms);
		if (set[i].key == key)
			return &set[i];
		if (set[i].wrong < least->wrong)
			least = &set[i];
	}
	*least = (struct suspect) { .key = key, .at = now_ms };
	return least;
}

static int64_t ask_name(struct suspect *name, int64_t now_ms)
{
	if (name->wrong < (int64_t)GUESS_FREE * GUESS_FORGET)
		return 0;
	int64_t wait = name->next > now_ms ? name->next - now_ms : 0;
	if (wait > GUESS_WAIT_MAX)
		return -1;
	name->next = now_ms + wait + GUESS_GAP;
	return wait;
}

/* Never so much that it would not be forgotten within the hour. */
static void add(struct suspect *s)
{
	if (s->wrong < (int64_t)60 * GUESS_FORGET)
		s->wrong += GUESS_FORGET;
}

static void take_back(struct suspect *s)
{
	s->wrong = s->wrong > GUESS_FORGET ? s->wrong - GUESS_FORGET : 0;
}

int64_t guess_ask(struct guess *g, const char *name, const char *address, int64_t now_ms)
{
	uint64_t from = key_of_address(g, address);
	int64_t wait = 0;

	pthread_mutex_lock(&g->lock);
	struct suspect *a = find_or_take(g->address, from, now_ms);
	struct suspect *n = find_or_take(g->name, key_of(g, name, strlen(name)), now_ms);
	if (a->wrong >= (int64_t)GUESS_ADDRESS * GUESS_FORGET)
		wait = -1;
	else if (n->home != from)
		wait = ask_name(n, now_ms);
	if (wait >= 0) {
		add(a);
		add(n);
	}
	pthread_mutex_unlock(&g->lock);
	return wait;
}

void guess_right(struct guess *g, const char *name, const char *address, int64_t now_ms)
{
	uint64_t from = key_of_address(g, address);

	pthread_mutex_lock(&g->lock);
	struct suspect *n = find_or_take(g->name, key_of(g, name, strlen(name)), now_ms);
	n->home = from;
	take_back(n);
	take_back(find_or_take(g->address, from, now_ms));
	pthread_mutex_unlock(&g->lock);
}
