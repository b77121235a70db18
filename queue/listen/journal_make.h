/*
 * How a journal's database comes to be: made anew, or brought to this program's version.
 */
#ifndef CENMAIL_JOURNAL_MAKE_H
#define CENMAIL_JOURNAL_MAKE_H

#include "store/db.h"

/* Whether it is a journal of this version; create: makes it one where it is empty or of an earlier
 * version. A foreign one is left as it is. 0 or -1. */
int journal_check(struct db *d, const char *path, bool create, struct err *e);
/* A database in which nothing was made yet: whoever was making it was cut short, before it was in
 * WAL mode. */
bool journal_is_blank(const char *path);

#endif
