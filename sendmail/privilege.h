/*
 * Who this process is. `sendmail` is installed set-user-ID root, and becomes the owner of the
 * queue for good before it looks at anything of its caller's (cenmail-internals(7), "Privileges").
 */
#ifndef CENMAIL_PRIVILEGE_H
#define CENMAIL_PRIVILEGE_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct privilege {
	uid_t caller; /* the real uid, noted before anything was changed */
	bool secure;  /* the kernel says that rights were gained by exec: trust nothing inherited */
};

/* The first call of main. Puts back what the caller may have changed (limits and priority where the
 * process may, timers, signals, umask), opens descriptors 0 to 2 if closed (0 so that it can't be
 * read), empties the environment but for a known few, forbids cores; and in a set-user-ID process
 * becomes the owner of the compiled-in spool directory and takes one of the caller's slots.
 *
 * Called by root (with the bit or without) it leaves root in place, until privilege_join_queue:
 * between the two main may do what only root may, such as starting the flusher.
 *
 * *ret is filled in any case. 0; -1: say why, and end at once (EX_CONFIG: that directory is missing
 * or root's; EX_OSERR; EX_TEMPFAIL: no slot; the process then lives for a few seconds only). */
int privilege_settle(struct privilege *ret, struct err *e);

/* What to say beside a failure to reach the queue, or "": why the set-user-ID bit had no effect. */
const char *privilege_hint(void);

/* For root, once the configuration is known, and before anything is read or written for a message:
 * becomes the owner of the directory that the queue is in, for good, so that no file of the queue
 * is ever root's. Does nothing for others, and nothing when that directory is root's own or can't
 * be seen. */
int privilege_join_queue(const char *queue, struct err *e);

#endif
