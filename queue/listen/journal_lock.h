/*
 * journal.db.lock: whoever holds it is the only process on the journal; and the mark in it says
 * which journal.db was the last in use here, so that an older copy put back is found out.
 */
#ifndef CENMAIL_JOURNAL_LOCK_H
#define CENMAIL_JOURNAL_LOCK_H

#include "base/err.h"

#define JOURNAL_MARK_HEX 32

/* Takes it, after some seconds of patience with the process before us. The descriptor, or -1
 * (EX_TEMPFAIL: another has it). */
int journal_lock(const char *path, struct err *e);
/* What is in it, "" where there is nothing; and its replacement, durable when it answers. 0 or -1.
 */
int journal_lock_read(int fd, char ret_mark[JOURNAL_MARK_HEX + 1], struct err *e);
int journal_lock_write(int fd, const char *mark, struct err *e);

#endif
