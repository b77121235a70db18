/*
 * What senders left in incoming/ (rule 9) goes into the queue before anything is sent.
 */
#ifndef CENMAIL_FLUSH_IMPORT_H
#define CENMAIL_FLUSH_IMPORT_H

#include "base/err.h"
#include "store/store.h"

/* Takes some of it, and says so in the log. *ret_more: there is more to take at once;
 * *ret_taken: some has been taken, whatever is answered. 0, or -1: the
 * queue can't be written now, or a file is neither taken nor moved; see incoming_import. */
int import_some(struct store *s, const char *queue, bool *ret_more, bool *ret_taken, struct err *e);

#endif
