/*
 * The command of `notify`: run when a road has been down, or mail held, for NOTIFY_AFTER_MS, and
 * when it is well again. It runs beside the flusher, which never waits for it.
 */
#ifndef CENMAIL_FLUSH_NOTIFY_H
#define CENMAIL_FLUSH_NOTIFY_H

#include "flush/flusher.h"

#define NOTIFY_AFTER_MS (INT64_C(15) * 60 * 1000)
#define NOTIFY_LAST_MS  60000 /* after this the command is killed, and all that it has started */
#define NOTIFY_OUTPUT   4096  /* octets of what it says that go into the log */

/* Looks when it is time. *next: monotonic ms, 0 at first. Whether it may have written. */
bool notify_tend(int64_t *next, struct flusher *f);

#endif
