/*
 * A set of row ids: the recipients in hand, which the queue still shows as due.
 */
#include "flush/idset.h"

#include <assert.h>

void idset_init(struct idset *s)
{
	*s = (struct idset) { 0 };
}

void idset_done(struct idset *s)
{
	free(s->slot);
	idset_init(s);
}

static size_t home_of(const struct idset *s, int64_t id)
{
	return (size_t)(((uint64_t)id * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (s->slots - 1);
}

/* Where the id is, or the free slot where it would go. There is always a free one. */
static size_t find(const struct idset *s, int64_t id)
{
	size_t i = home_of(s, id);

	while (s->slot[i] != 0 && s->slot[i] != id)
		i = (i + 1) & (s->slots - 1);
	return i;
}

bool idset_has(const struct idset *s, int64_t id)
{
	return s->slots > 0 && s->slot[find(s, id)] == id;
}

static bool grow(struct idset *s)
{
	struct idset bigger = { .slots = s->slots ? s->slots * 2 : 64, .used = s->used };

	bigger.slot = calloc(bigger.slots, sizeof *bigger.slot);
	if (!bigger.slot)
		return false;
	for (size_t i = 0; i < s->slots; i++)
		if (s->slot[i] != 0)
			bigger.slot[find(&bigger, s->slot[i])] = s->slot[i];
	free(s->slot);
	*s = bigger;
	return true;
}

bool idset_add(struct idset *s, int64_t id)
{
	size_t i;

	assert(id > 0);
	if (2 * (s->used + 1) > s->slots && !grow(s))
		return false;
	i = find(s, id);
	s->used += s->slot[i] == 0;
	s->slot[i] = id;
	return true;
}

void idset_remove(struct idset *s, int64_t id)
{
	size_t hole, i;

	if (!idset_has(s, id))
		return;
	hole = i = find(s, id);
	/* What stands behind the hole moves up, where its home is not between the two. */
	for (;;) {
		size_t home;

		i = (i + 1) & (s->slots - 1);
		if (s->slot[i] == 0)
			break;
		home = home_of(s, s->slot[i]);
		if (((i - home) & (s->slots - 1)) >= ((i - hole) & (s->slots - 1))) {
			s->slot[hole] = s->slot[i];
			hole = i;
		}
	}
	s->slot[hole] = 0;
	s->used--;
}
