/*
 * struct road: whether SES could be reached when it was last tried, shared by the workers, so that
 * a dead SES is tried by one of them now and then, and not by each for every message.
 */
#ifndef CENMAIL_ROAD_H
#define CENMAIL_ROAD_H

#include "listen/answer.h"

#include <pthread.h>

struct road {
	pthread_mutex_t lock;
	int64_t until, pause_ms; /* monotonic ms; 0: it is well */
	char answer[ANSWER_MAX + 1];
};

void road_init(struct road *r);
void road_done(struct road *r);
/* Copies the answer to give instead of trying; false: try. */
bool road_is_down(struct road *r, int64_t now_ms, char answer[ANSWER_MAX + 1]);
/* A connection could not be made: pauses for 1 s, then twice as long each time, to 30 s. Makes the
 * answer from it. */
void road_failed(
	struct road *r, const struct outcome *fault, int64_t now_ms, char answer[ANSWER_MAX + 1]);
void road_well(struct road *r);

#endif
