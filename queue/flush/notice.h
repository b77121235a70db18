/*
 * Who is told what, and when: bounces, reports of delivery, warnings of delay. The queue says what
 * senders have not been told; a notice and the mark that it was made are one transaction, so that
 * whatever is killed there is one notice, not none and not two.
 */
#ifndef CENMAIL_FLUSH_NOTICE_H
#define CENMAIL_FLUSH_NOTICE_H

#include "flush/flusher.h"
#include "store/notice.h"

#define NOTICE_GROUP_MS  (INT64_C(5) * 60 * 1000) /* what fails within is told together */
#define NOTICES_AN_HOUR  100                      /* to one address */
#define WARNINGS_AN_HOUR 20 /* of these, before warnings of delay are no longer sent */

struct notices {
	int64_t next;   /* monotonic ms: when the queue is asked again */
	int64_t after;  /* the message up to which this walk has come */
	uint64_t known; /* recipients settled when it was asked last */
	struct late_walk late;
	int64_t late_next; /* monotonic ms: of the next walk through what is late */
	bool late_under_way;
	int64_t complained; /* monotonic ms; 0: never */
};

/* Does a step when it is time; idle: nothing is to be sent. Whether it may have written. What it
 * put into the queue is due at once. */
bool notice_tend(struct notices *n, struct flusher *f, bool idle);
/* Whether one that does not linger may go. */
bool notice_done(const struct notices *n);

#endif
