/*
 * struct draft: a message in the making: who sends it, who gets it, its content as it comes, and
 * at last one transaction of the queue, or a file in incoming/ (fallback.h). The command line makes
 * one (submit.c), a session of -bs one after the other (session.c).
 */
#ifndef CENMAIL_DRAFT_H
#define CENMAIL_DRAFT_H

#include "base/address.h"
#include "base/conf.h"
#include "sendmail/intake.h"

#include <sys/types.h>

struct draft_options { /* what it points to is borrowed */
	const struct conf_mail *conf;
	uid_t caller;
	const char *full_name; /* for a From that is missing; NULL: see sender.h */
	bool no_aliases;
	bool header_recipients; /* -t: those in To, Cc and Bcc get it too */
	bool dot_ends;          /* a line of one dot ends the content */
};

struct draft;

/* NULL: no memory, or the queue's path is too long. */
struct draft *draft_new(const struct draft_options *o, struct err *e);
void draft_free(struct draft *d);

/* As rules->given in sender.h. To be called before the content comes. */
int draft_set_sender(struct draft *d, const char *given, struct err *e);
/* An address list, as recipients_add: all of it, or nothing. notify, orcpt: what RFC 3461 asks
 * for those that are not on the list yet; NULL or "": nothing. */
int draft_add_recipients(
	struct draft *d, struct span list, const char *notify, const char *orcpt, struct err *e);
/* The last draft_add_recipients failed because the maximum was met. */
bool draft_is_full(const struct draft *d);

/* Where the content goes: intake_add, intake_end. */
struct intake *draft_intake(struct draft *d);

struct draft_wishes {            /* of the whole message */
	bool eightbit;           /* 8BITMIME was declared; what is 8-bit is found in any case */
	const char *notify;      /* for recipients that came without; "" : nothing */
	const char *ret, *envid; /* RFC 3461; NULL: not given */
};

struct submitted {       /* what there is to log */
	int64_t id;      /* 0: it is in incoming/ as yet */
	char key[33];    /* its name there, and in its Received line */
	char waits[512]; /* why it is in incoming/ */
	char sender[ADDRESS_PATH_MAX + 1];
	char message_id[300];
	uint64_t size; /* octets stored */
	unsigned recipients;
	uint64_t nuls; /* octets dropped */
	char *notes;   /* one line each, owned; NULL or "" if none */
};

/* After intake_end. 0: it is durable. */
int draft_store(
	struct draft *d, const struct draft_wishes *w, struct submitted *ret, struct err *e);
void submitted_done(struct submitted *s);

#endif
