/*
 * A set of row ids: the recipients in hand, which the queue still shows as due.
 */
#ifndef CENMAIL_IDSET_H
#define CENMAIL_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset { /* open addressing, linear probing; 0 is no id */
	int64_t *slot;
	size_t slots, used;
};

void idset_init(struct idset *s);
void idset_done(struct idset *s);
bool idset_has(const struct idset *s, int64_t id);
/* id above 0. False: no memory. */
bool idset_add(struct idset *s, int64_t id);
void idset_remove(struct idset *s, int64_t id);

#endif
