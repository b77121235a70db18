/*
 * Where a message goes: into the queue, or, when that can't be had within lock_wait, into a file in
 * incoming/ beside it (rule 9). What every way of submission calls.
 */
#ifndef CENMAIL_FALLBACK_H
#define CENMAIL_FALLBACK_H

#include "base/conf.h"
#include "store/store.h"

struct fallback_stored {
	bool incoming;  /* it is a file in incoming/, and the flusher takes it into the queue */
	int64_t id;     /* in the queue; 0 while it is not */
	struct err why; /* why not */
};

/* Whether the file system has room for mail (min_free): before anything is read. fallback_store
 * asks again. 0, or -1 (EX_TEMPFAIL). */
int fallback_room(const struct conf_mail *conf, struct err *e);

/* 0: it is durable. -1: it is not stored; EX_DATAERR: the queue refuses the message itself. Answers
 * within lock_wait and what writing takes. */
int fallback_store(const struct conf_mail *conf, const struct store_submission *m,
	struct fallback_stored *ret, struct err *e);

#endif
