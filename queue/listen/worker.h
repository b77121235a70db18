/*
 * A worker: a thread with its own connection to SES. It takes a message, asks the journal, relays
 * in lock step, and answers. It knows nothing of sessions.
 */
#ifndef CENMAIL_WORKER_H
#define CENMAIL_WORKER_H

#include "listen/listener.h"

struct worker;

/* Begins the thread. NULL: no memory or no thread; e says. */
struct worker *worker_start(struct listener *l, struct err *e);
/* After pool_close: waits until it has finished what was in the pool. False: the deadline
 * (monotonic ms) came first, and it is left as it is. */
bool worker_join(struct worker *w, int64_t deadline_ms);

#endif
