/*
 * What worker.c (the thread and its connection), deliver.c (a message's recipients), attempt.c
 * (one transaction with SES) and settle.c (what came of it) share.
 */
#ifndef CENMAIL_WORKER_STATE_H
#define CENMAIL_WORKER_STATE_H

#include "listen/worker.h"
#include "wire/link.h"

/* Those recipients of a message for whom SES has to be asked, and how that went. */
struct attempt {
	struct message *m;
	unsigned n;
	unsigned which[MESSAGE_RCPTS]; /* indices into m->rcpt */
	bool doubt[MESSAGE_RCPTS];     /* in doubt, and not yet counted as such */
	bool row[MESSAGE_RCPTS];       /* the journal was told, since this message came */
	struct client_rcpt rcpt[MESSAGE_RCPTS];
	struct transaction t;
	struct journal_job job; /* that it is to say so; while `begun` the journal's own */
	struct journal_row rows[MESSAGE_RCPTS];
	bool begun;
	bool opened; /* the gate was opened, or there was none: SES may have it */
	bool failed; /* the gate stayed shut for a reason of ours: `answer` */
	char answer[ANSWER_MAX + 1];
};

struct worker {
	struct listener *l;
	pthread_t thread;
	atomic_bool ended; /* the thread does nothing more */
	struct seat seat;
	struct link *link; /* NULL: not connected */
	bool counted;      /* the connection is, among the figures' */
	bool used;         /* the connection has carried a transaction */
	int64_t idle_since;
	bool rests;             /* since IDLE_MS: not connected, and its memory given back */
	struct attempt attempt; /* one at a time; too big for a stack */
};

/* --- worker.c --- */
/* The connection to SES, ready. NULL: `answer` says why not. */
struct link *worker_link(struct worker *w, char answer[ANSWER_MAX + 1]);
/* SES could not be reached a moment ago, and is not to be tried yet: `answer` says so. */
bool worker_is_cut_off(struct worker *w, char answer[ANSWER_MAX + 1]);
void worker_hang_up(struct worker *w);

/* --- deliver.c: answers all of a message's recipients, now or by a twin's answer --- */
void deliver(struct worker *w, struct message *m);

/* --- settle.c: what becomes of those for whom SES was asked --- */
/* SES has answered, or has not: the journal first, then the client. */
void settle(struct worker *w, struct attempt *a);
/* None of them reached SES: one answer for all. */
void settle_unsent(struct worker *w, struct attempt *a, const char *answer);
/* Before a pause: SES has refused them, and whoever finds the rows after the end of this process
 * must not take them for being in doubt. False: it can't be written. */
bool settle_throttled(struct worker *w, const struct attempt *a);
/* One recipient's answer, to the log and to the client. `note` ends the log's line. */
void answer_one(
	struct worker *w, struct message *m, unsigned i, const char *answer, const char *note);
enum verdict_class settle_class(const struct outcome *o, int64_t *ret_retry);

/* --- attempt.c: one transaction; the outcomes are in a->rcpt --- */
void attempt_run(struct worker *w, struct link *link, struct attempt *a);
/* The connection was lost before SES can have had the message. */
bool attempt_is_void(const struct attempt *a);

#endif
