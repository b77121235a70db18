/*
 * The second way in (rule 9 of cenmail-internals(7)): where the database can't be had, a message is
 * written as one file into `incoming/` beside it, and the flusher takes it into the queue later.
 * A file is there whole or not at all, and is taken once: its key makes a second time a no-op.
 *
 *   SUBMITTED-KEY.tmp   being written; left behind by a crash, it was acknowledged to nobody
 *   SUBMITTED-KEY       acknowledged; sorted by name is sorted by age
 *   damaged/            what could not be read, or what the queue refuses; never removed
 */
#ifndef CENMAIL_STORE_INCOMING_H
#define CENMAIL_STORE_INCOMING_H

#include "store/store.h"

/* The directory, open; made when only it is missing. A descriptor, or -1: EX_CONFIG when there is
 * no directory that can be used, EX_TEMPFAIL otherwise. */
int incoming_open(const char *queue, struct err *e);

/* One file; durable when it answers 0. On failure nothing of it is left: EX_DATAERR about the
 * message, else as incoming_open. */
int incoming_write(const char *queue, const struct store_submission *m, struct err *e);

enum incoming_event {
	INCOMING_TAKEN,  /* it is in the queue */
	INCOMING_ASIDE,  /* it is in damaged/ now */
	INCOMING_CLEARED /* half-written, older than a day, and gone */
};
struct incoming_news { /* valid during the callback only */
	enum incoming_event event;
	const char *name, *why; /* of the file; why: what is wrong with it */
	int64_t id;             /* of the message; TAKEN only, as is m */
	const struct store_submission *m;
};
/* Takes files into the queue, oldest first, at most `most` of them; *ret_more says that there are
 * more. A file that can't be taken is in nobody's way. 0, or -1: the queue can't be written
 * (EX_TEMPFAIL: now) or a file could be neither taken nor moved; what is not taken stays, and
 * *ret_more, which has to be false before, says whether there is more beside it. */
int incoming_import(struct store *s, const char *queue, unsigned most,
	void (*tell)(void *arg, const struct incoming_news *n), void *arg, bool *ret_more,
	struct err *e);

/* Calls fn for each complete file, oldest first; of the content only its size is known. Files that
 * can't be read are left out. 0 or -1. */
int incoming_list(const char *queue, void (*fn)(void *arg, const struct store_submission *m),
	void *arg, struct err *e);

#endif
