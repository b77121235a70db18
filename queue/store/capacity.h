/*
 * The ceilings: free space of the file system, what the queue holds, messages of one user that
 * wait.
 */
#ifndef CENMAIL_STORE_CAPACITY_H
#define CENMAIL_STORE_CAPACITY_H

#include "store/store.h"

/* Whether the file system of the queue has min_free octets left for whom is not root. 0, or -1:
 * EX_TEMPFAIL with words. */
int capacity_disk(const char *queue, uint64_t min_free, struct err *e);

/* For put.c, in its transaction, when the message has its id: whether it may be taken. 0, or -1:
 * EX_UNAVAILABLE with words, or a failure. What has no ceiling is not looked at. */
int capacity_queue(struct store *s, const struct store_submission *m, int64_t id, struct err *e);

#endif
