/*
 * struct uplink: whether SES could be reached when it was last tried, shared by the workers, so
 * that a dead SES is tried by one of them now and then, and not by each for every message.
 */
#ifndef CENMAIL_UPLINK_H
#define CENMAIL_UPLINK_H

#include "listen/answer.h"

#include <pthread.h>

struct uplink {
	pthread_mutex_t lock;
	int64_t until, pause_ms; /* monotonic ms; 0: it is well */
	char answer[ANSWER_MAX + 1];
};

void uplink_init(struct uplink *r);
void uplink_done(struct uplink *r);
/* Copies the answer to give instead of trying; false: try. */
bool uplink_is_down(struct uplink *r, int64_t now_ms, char answer[ANSWER_MAX + 1]);
/* A connection could not be made: pauses for 1 s, then twice as long each time, to 30 s. Makes the
 * answer from it. */
void uplink_failed(
	struct uplink *r, const struct outcome *fault, int64_t now_ms, char answer[ANSWER_MAX + 1]);
void uplink_well(struct uplink *r);

#endif
