/*
 * struct journal: exactly once over the hop (XONCE). It knows which tokens SES has answered for
 * (the database, synchronous=FULL) and which are on their way in this process (the claims). What
 * all workers want written at a time goes into one transaction, by a thread of its own.
 */
#ifndef CENMAIL_JOURNAL_H
#define CENMAIL_JOURNAL_H

#include "listen/answer.h"
#include "listen/message.h"
#include "listen/pace.h"
#include "listen/tally.h"

#include <semaphore.h>

struct journal;

struct journal_options {
	const char *path;
	int64_t keep_ms;
	struct pace *pace; /* what it has given is kept here too; NULL: nobody's */
};

/* Opens, creates, 0600, with a new random id, or brings up to date. Alone: a second process on the
 * same journal is refused (EX_TEMPFAIL). Starts the thread. 0 or -1. */
int journal_open(struct journal **ret, const struct journal_options *o, struct err *e);
/* Writes what is asked for, ends the thread, closes. NULL is fine. */
void journal_close(struct journal *j);
/* "ID SECONDS", as XONCE offers it. */
const char *journal_offer(const struct journal *j);

enum journal_says {
	JOURNAL_SEND,   /* claimed: send, then journal_settle or journal_release */
	JOURNAL_DOUBT,  /* claimed, and an earlier try was never answered for: the same */
	JOURNAL_DONE,   /* SES has it: `answer` is its first answer; no claim is left */
	JOURNAL_TWIN,   /* it is on its way: its answer will be given to this one as well */
	JOURNAL_BROKEN, /* the database can't be read: e says; no claim is left */
};
enum journal_says journal_claim(struct journal *j, struct message *m, unsigned i,
	char answer[ANSWER_MAX + 1], struct err *e);

struct journal_row { /* a recipient that has a claim */
	struct message *m;
	unsigned i;
	const char *answer; /* for journal_settle and journal_refused */
	bool sent;          /* for journal_settle: SES took it; else it refused it */
	bool doubt;         /* for journal_begin: it is sent in spite of JOURNAL_DOUBT */
};

enum journal_what { JOURNAL_SENDING, JOURNAL_ANSWERS };
struct journal_job { /* something to be written; its owner's, but not touched until it is */
	struct journal_job *next;
	const struct journal_row *rows; /* the owner's too */
	unsigned n;
	enum journal_what what;
	void (*then)(struct journal_job *job); /* NULL: somebody waits for it */
	int result;
	struct err err;
	sem_t done; /* its own: who waits for it is woken, and nobody else */
};

/* Begins to write `sending`; `job` and `rows` are the journal's until journal_end, which waits
 * for the sync. 0, or -1: nothing may be sent. */
void journal_begin(
	struct journal *j, struct journal_job *job, const struct journal_row *rows, unsigned n);
int journal_end(struct journal_job *job, struct err *e);
/* Writes that SES refused them, for now; they keep their claims, and will be sent again. */
int journal_refused(struct journal *j, const struct journal_row *rows, unsigned n, struct err *e);
/* Writes the answers and syncs, then lets the claims go, and answers their twins (not the rows'
 * own recipients). Nobody waits for that: when it is done, `then` is called with `job`, by the
 * journal's thread, which it must not hold up. job->result -1: it could not be written, and what
 * was sent is in doubt. `job` and `rows` are the journal's until then. */
void journal_settle(struct journal *j, struct journal_job *job, const struct journal_row *rows,
	unsigned n, void (*then)(struct journal_job *job));
/* Lets a claim go with nothing written: it was not sent, or is in doubt. Twins get the answer. */
void journal_release(struct journal *j, struct message *m, unsigned i, const char *answer);

/* Counts what the calls above don't see, for the views; it is written with what comes next, or in
 * some seconds. */
void journal_count(struct journal *j, const char *client, enum tally_what what, unsigned n);

#endif
