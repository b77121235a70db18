/*
 * The options of the stand-in and the state of one connection to it.
 */
#ifndef SES_STATE_H
#define SES_STATE_H

#include <pthread.h>
#include <stdlib.h>

#include "checks.h"
#include "io.h"
#include "record.h"

#define LINE_MAX_OCTETS 16384
#define RCPT_MAX        1000 /* above SES's 50, which it enforces at the dot only */

enum mode { MODE_STARTTLS, MODE_WRAPPED, MODE_NONE };

static struct {
	enum mode mode;
	SSL_CTX *tls;
	const char *user, *password; /* NULL: nobody has to log in */
	const char *faults;
	double idle_s, rate;
	unsigned long latency_ms, quota, max_connections, size;
	bool offer_size;
	struct patterns unverified, unverified_rcpt;
} opt = { .idle_s = 10, .size = 40u << 20 };

struct session {
	struct io io;
	unsigned long number;
	bool authed, reset, has_sender, eightbit;
	char sender[512];
	char *rcpt[RCPT_MAX];
	unsigned rcpts;
	char *content; /* of the message under way */
	size_t size, cap;
	unsigned long bare;
};

/* What a call left: go on with the dialogue, or end the connection. */
enum next { GO_ON, END };

static int64_t idle_deadline(void)
{
	return now_ms(CLOCK_MONOTONIC) + (int64_t)(opt.idle_s * 1000);
}

static void sleep_ms(unsigned long ms)
{
	struct timespec t = { .tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

static void transaction_reset(struct session *s)
{
	while (s->rcpts)
		free(s->rcpt[--s->rcpts]);
	s->has_sender = s->eightbit = false;
	free(s->content);
	s->content = NULL;
	s->size = s->cap = s->bare = 0;
}

#endif
