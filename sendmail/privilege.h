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

/* The first call of main. Opens descriptors 0 to 2 if closed (0 so that it can't be read),
 * empties the environment but for a known few, clears timers and the signal state, forbids cores;
 * and in a set-user-ID process resets limits and becomes the owner of the compiled-in spool
 * directory. 0; -1 (EX_CONFIG: that directory is missing or root's; EX_OSERR): end at once. */
int privilege_settle(struct privilege *ret, struct err *e);

/* For root without the bit, once the configuration is known: becomes the owner of the directory
 * that the queue is in, so that no file of the queue is ever root's. Does nothing for others, and
 * nothing when that directory is root's own or can't be seen. */
int privilege_join_queue(const char *queue, struct err *e);

#endif
