/*
 * What wakes a lingering flusher: a sender that closes queue.lock after its COMMIT, a file that
 * appears in incoming/, and writes to the WAL for changes by hand (rule 8 of cenmail-internals(7)).
 */
#ifndef CENMAIL_WAKE_H
#define CENMAIL_WAKE_H

#include "base/err.h"

#include <stdbool.h>

/* Watches the files beside the queue. The descriptor, for poll(), or -1 with err: the caller goes
 * on by looking from time to time. */
int wake_open(const char *queue, struct err *e);
/* Reads all events away; whether there were any. */
bool wake_drain(int fd);

#endif
