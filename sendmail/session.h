/*
 * sendmail -bs: an SMTP session (RFC 5321) on two descriptors of the caller's. Each message is
 * durable in the queue before its 250 is said; recipients, senders and content go the way of the
 * command line (draft.h). Lines, commands and the end of data are the listener's (wire/server.h).
 *
 * Nothing is read or written while the queue is locked: that lies within draft_store.
 */
#ifndef CENMAIL_SENDMAIL_SESSION_H
#define CENMAIL_SENDMAIL_SESSION_H

#include "sendmail/draft.h"

#define SESSION_IDLE_MS (5 * 60 * 1000LL)       /* RFC 5321 section 4.5.3.2.7 */
#define SESSION_MAX_MS  (24 * 60 * 60 * 1000LL) /* in all, as for a message on standard input */

struct session_options {
	struct draft_options draft; /* header_recipients and dot_ends do not count here */
	int in, out;
	int64_t idle_ms, max_ms; /* 0: as above */
	/* For the log: what was stored; and each reply that refuses a sender, a recipient or a
	 * message, "550 5.1.1 …". */
	void (*stored)(const struct submitted *m, uid_t caller);
	void (*refused)(const char *reply, uid_t caller);
};

/* 0: QUIT, or the end of the input, and what was not whole then is not stored. -1: EX_NOINPUT (the
 * input can't be read), EX_IOERR (it broke, or the output did), EX_TEMPFAIL (a deadline passed, or
 * the session was ended by 421), EX_OSERR. What had its 250 is stored in any case. */
int session_run(const struct session_options *o, struct err *e);

#endif
