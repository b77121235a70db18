/*
 * struct stop: the word that the process is to end, for threads that poll and for threads that
 * ask. Once said it stays.
 */
#ifndef CENMAIL_STOP_H
#define CENMAIL_STOP_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>

#define STOP_PATIENCE_MS 30000 /* how long transactions under way may take to finish */

struct stop {
	int fd; /* readable for good once it is said */
	atomic_bool said;
};

int stop_init(struct stop *s, struct err *e);
void stop_done(struct stop *s);
void stop_say(struct stop *s);
bool stop_said(const struct stop *s);

#endif
