/*
 * The file's free pages: how many are kept, and giving back the rest. For keep.c.
 */
#ifndef CENMAIL_STORE_KEEP_SPACE_H
#define CENMAIL_STORE_KEEP_SPACE_H

#include "store/internal.h"

/* Pages to give back now; all: no free page is to be kept; begun: and so it is gone on with. 0 or
 * more, -1. */
int64_t space_surplus(struct store *s, bool all, bool begun, struct err *e);
/* In a write transaction: gives back some, at most `most`. How many, or -1. */
int space_give_back(struct store *s, int64_t most, int64_t until_us, struct err *e);

#endif
