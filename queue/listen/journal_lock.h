/*
 * journal.db.lock: whoever holds it is the only process on the journal; and what stands in it says
 * which journal.db was the last in use here, and how far it had come, so that an older copy put
 * back is found out:
 *
 *     MARK\nRAN\n    32 hexadecimal digits, and `ran` of the last commit, in 20 digits
 *
 * The mark is synced; `ran` is not, so that it costs nothing. A loss of power may take it back,
 * never ahead of the database.
 */
#ifndef CENMAIL_JOURNAL_LOCK_H
#define CENMAIL_JOURNAL_LOCK_H

#include "base/err.h"

#define JOURNAL_MARK_HEX 32

/* Takes it, after some seconds of patience with the process before us. The descriptor, or -1
 * (EX_TEMPFAIL: another has it). */
int journal_lock(const char *path, struct err *e);
/* What is in it, "" and 0 where there is nothing. 0 or -1. */
int journal_lock_read(int fd, char ret_mark[JOURNAL_MARK_HEX + 1], int64_t *ret_ran, struct err *e);
/* Another mark, durable when it answers. 0 or -1. */
int journal_lock_mark(int fd, const char *mark, struct err *e);
/* After each commit, and only then. Where it fails the file says less than it could. */
void journal_lock_ran(int fd, int64_t ran);

#endif
