/*
 * How many messages are kept in flight to a peer that keeps a journal. Enough that neither the link
 * nor the peer's own connections to SES wait for us; no more, as what is in flight is in order, and
 * a new message stands behind all of it: where SES's rate is what limits, about a second's worth.
 *
 * What it goes by is the time that a message stood in line: from its last octet to its answer,
 * without what SES took and without the shortest such time seen, which is the round trip.
 */
#ifndef CENMAIL_WINDOW_H
#define CENMAIL_WINDOW_H

#include <stdint.h>

#define WINDOW_FIRST   32
#define WINDOW_LEAST   4
#define WINDOW_LINE_US 1000000 /* so long may a message stand in line */

struct window {
	unsigned size, max;
	int64_t shortest_us; /* -1: nothing was answered yet */
};

void window_init(struct window *w, unsigned max);
/* A message was answered `took_us` after its last octet was written, of which `ses_us` were SES's;
 * `ahead` others had been in flight when it was submitted. */
void window_answered(struct window *w, unsigned ahead, int64_t took_us, int64_t ses_us);

#endif
