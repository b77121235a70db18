/*
 * struct figures: what happens here, counted for the monitoring of others: how much was taken, how
 * it was answered, who was turned away, and how long it took. Counters only grow while the process
 * lives; any thread adds to them. Written as a text file of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), by figures_writer.
 */
#ifndef CENMAIL_FIGURES_H
#define CENMAIL_FIGURES_H

#include "base/buf.h"
#include "base/err.h"
#include "base/verdict.h"

#include <stdatomic.h>

#define FIGURES_CLASSES 7 /* of enum verdict_class */
#define FIGURES_BOUNDS  11

enum figures_away { AWAY_ALLOW, AWAY_SESSIONS, AWAY_CLIENT, AWAY_KINDS };
enum figures_login { LOGIN_RIGHT, LOGIN_WRONG, LOGIN_UNHEARD, LOGIN_KINDS };

struct figures_times { /* a histogram */
	atomic_ullong bound[FIGURES_BOUNDS + 1];
	atomic_ullong us; /* their sum */
};

struct figures {
	atomic_ullong messages, recipients, octets; /* taken, whole */
	atomic_ullong answered[FIGURES_CLASSES];    /* recipients, by the class of the answer */
	atomic_ullong refused[FIGURES_CLASSES]; /* senders, recipients, contents: by ourselves */
	atomic_ullong again;                    /* recipients answered from the journal */
	atomic_ullong throttled, unanswered, resent; /* recipients: SES wants patience; in doubt */
	atomic_ullong sessions;
	atomic_ullong away[AWAY_KINDS];
	atomic_ullong logins[LOGIN_KINDS];
	atomic_ullong ses_connects, ses_failures;
	atomic_uint ses_connections;  /* open now */
	atomic_uint waiting, sending; /* messages: for a worker, and in a worker's hands */
	struct figures_times whole;   /* from the content's end to a recipient's answer */
	struct figures_times ses;     /* of a transaction with SES */
};

/* Adds one. */
static inline void figures_one(atomic_ullong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}
void figures_time(struct figures_times *t, int64_t us);
/* What a flusher takes an answer for. */
enum verdict_class figures_class(const char *answer);

/* The text. sessions: those that are open now. */
void figures_text(const struct figures *f, unsigned sessions, struct buf *out);
/* Replaces the file at once, readable for all. 0 or -1. */
int figures_write(const struct figures *f, unsigned sessions, const char *path, struct err *e);

#endif
