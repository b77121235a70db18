/*
 * The file `flight` beside the queue: what is on the wire, written before it leaves and taken out
 * when its verdict is in the queue. So the flusher after one that was killed knows what the peer
 * may have taken, and where that can be asked. It is not synced: it outlives its flusher, not the
 * loss of power.
 */
#ifndef CENMAIL_FLYING_H
#define CENMAIL_FLYING_H

#include "flush/flusher.h"

/* Opens it; what the last flusher left in it is put in doubt, in the queue. Whoever holds
 * flush.lock may. 0 or -1. */
int flying_open(struct flusher *f, struct err *e);
/* Forgets what has its verdict; what has none stays for the next flusher. */
void flying_close(struct flusher *f);

/* The batch goes to that peer. Where it can't be written that is said once, and mail goes on. */
void flying_add(struct flusher *f, struct batch *b, const char *relay, const struct ehlo *peer);
/* Its verdicts are in the queue. */
void flying_done(struct flusher *f, struct batch *b);

/* Until when that journal will know what it is given at that time, wall ms: a tenth less than it
 * says, as clocks differ. */
int64_t flying_known_until(const struct ehlo *peer, int64_t at);

#endif
