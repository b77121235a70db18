/*
 * Giving up root for good.
 */
#ifndef CENMAIL_BECOME_H
#define CENMAIL_BECOME_H

#include "base/err.h"

#include <sys/types.h>

/* For good: real, effective and saved ids, no supplementary group; each step checked, and looked at
 * afterwards. Needs root; uid must not be 0. 0 or -1 (EX_OSERR). */
int become(uid_t uid, gid_t gid, struct err *e);

/* Started by root: becomes the owner (uid and gid) of `dir`, without supplementary groups, each
 * step checked. A directory that root owns leaves root in place: a test, or a container of one
 * user. Started by anybody else it does nothing. 0 or -1 (EX_CONFIG: no such directory; EX_OSERR).
 */
int become_owner_of(const char *dir, struct err *e);

#endif
