/*
 * What an operator is told of by the command of `notify`: that a road has been down, or mail held,
 * for a while, and that it is over. The table outage remembers it, so that it is once for an event,
 * whichever flusher sees it. Held mail is an outage of the road that STORE_HELD_ROAD names.
 */
#ifndef CENMAIL_STORE_EVENT_H
#define CENMAIL_STORE_EVENT_H

#include "store/store.h"

#define STORE_HELD_ROAD "held mail" /* no pattern of a route: it has a blank */

struct store_event {
	bool over;      /* it has ended; that it had begun was told */
	char road[256]; /* the pattern of its route; "": that of `relay` */
	char reason[512];
	int64_t began, ended; /* wall ms; ended 0: it lasts */
};

/* Begins or ends the outage of held mail, where there is a change. 0 or -1. */
int store_event_held(struct store *s, int64_t now, struct err *e);
/* The next event to be told of: what has lasted since before `before`, and what ended after it was
 * told of. It is marked as told before this answers 1. 0: none; -1. */
int store_event_next(struct store *s, int64_t before, struct store_event *ret, struct err *e);

#endif
