/*
 * What journal.c (opening, and what workers ask) and journal_write.c (the thread that writes)
 * share.
 */
#ifndef CENMAIL_JOURNAL_STATE_H
#define CENMAIL_JOURNAL_STATE_H

#include "base/clock.h"
#include "listen/claims.h"
#include "listen/journal_db.h"
#include "listen/journal_lock.h"

#include <pthread.h>

struct journal {
	struct claims *claims;
	struct journal_db writer, reader;
	pthread_mutex_t reading; /* for reader */
	struct pace *pace;
	char offer[80];
	int64_t keep_ms;
	int lock_fd;

	/* the writing thread's, once there is one */
	struct journal_self self;
	int64_t ran_before, opened; /* `ran` when it was opened, at that monotonic time */
	int64_t tend_at, mark_at;   /* monotonic ms */
	bool written;               /* something, since the mark was renewed */
	struct tally writing;

	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work;
	struct journal_job *first, *last;
	struct tally tally;
	int64_t save_at; /* monotonic ms; INT64_MAX: nothing is counted */
	bool closing;
};

/* --- journal_write.c --- */
/* Once the database is open, what is to be read and written before there is a thread; and then the
 * thread. 0 or -1. */
int journal_write_first(struct journal *j, struct err *e);
int journal_write_start(struct journal *j, struct err *e);
/* Ends the thread when all is written. */
void journal_write_end(struct journal *j);
/* Hands it to the thread. */
void journal_write(struct journal *j, struct journal_job *job);

#endif
