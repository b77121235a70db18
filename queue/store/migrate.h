/*
 * The way of a queue from the version it has to the one this program knows.
 */
#ifndef CENMAIL_STORE_MIGRATE_H
#define CENMAIL_STORE_MIGRATE_H

#include "store/db.h"

/* Whether there is a way from that version. */
bool migrate_knows(int64_t version);
/* All steps in one transaction, so that a kill leaves the one version or the other. The caller has
 * flush.lock and queue.lock, and has seen that the database is ours. *ret_from: the version that it
 * had. 0, or -1: nothing has changed. */
int migrate(struct db *d, int64_t *ret_from, struct err *e);

#endif
