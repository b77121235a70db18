/*
 * The hand-over from one flusher to the next (rule 7 of cenmail-internals(7)): one runs, holding
 * flush.lock; one waits, holding next.lock, and makes its connections meanwhile; when they are
 * there it says so, and the one that runs goes at the end of its life without a gap. Whoever comes
 * third goes at once.
 */
#ifndef CENMAIL_TURN_H
#define CENMAIL_TURN_H

#include "flush/flusher.h"

/* 1: it is our turn, *ret_fd is to be held for life. 0: one runs and one waits already (once: one
 * runs), or we were told to stop. -1. */
int turn_take(struct flusher *f, bool once, int signal_fd, int *ret_fd, struct err *e);
/* Whether the next one is there and ready. */
bool turn_is_wanted(const struct flusher *f);

/* What the configuration and the secrets were when they were read: who reads them anew, as root,
 * is the next flusher. */
struct turn_files;

/* Borrows conf, and the relays' of f. NULL: no memory. */
struct turn_files *turn_files_new(const char *conf, const struct flusher *f, struct err *e);
void turn_files_free(struct turn_files *t);
/* What can't be looked at has not changed. */
bool turn_files_changed(const struct turn_files *t);

#endif
