/*
 * Slots: how many calls of one uid may be unfinished at a time. A set-user-ID process does not
 * count against its caller's limit of processes, so there has to be another.
 */
#ifndef CENMAIL_SLOTS_H
#define CENMAIL_SLOTS_H

#include "base/err.h"

#include <sys/types.h>

#define SLOTS_PER_UID 128

/* Takes a slot of `uid` in the queue's directory `dir`. It is held until this process ends, however
 * it ends. 0, or -1 (EX_TEMPFAIL: all are taken; or their file can't be opened). */
int slots_take(const char *dir, uid_t uid, struct err *e);

#endif
