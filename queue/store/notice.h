/*
 * What senders have not been told yet: recipients that failed, that were delivered where the sender
 * asked to hear of it, and that are late. Who is told, and in what words, is the caller's; here is
 * what makes it happen once: the notice and the mark on its recipients are one transaction.
 */
#ifndef CENMAIL_STORE_NOTICE_H
#define CENMAIL_STORE_NOTICE_H

#include "store/store.h"

#include "base/address.h"
#include "base/dsn.h"

#define NOTICE_RCPTS_MAX 1000  /* recipients of one notice */
#define NOTICE_HEAD_MAX  51200 /* octets of a message that come back with it */

enum notice_kind { NOTICE_FAILED, NOTICE_RELAYED, NOTICE_DELAYED };

struct untold_rcpt { /* "" where there is none */
	int64_t recipient, version;
	char address[ADDRESS_PATH_MAX + 1], notify[32], orcpt[DSN_ORCPT_MAX + 1];
	char *reply;     /* owned; as in the view: "550 5.1.1 no such user" */
	char relay[300]; /* of the last try: scheme://host:port */
	int code;
	bool held, by_hand;            /* what it is, was done by hand */
	int64_t since, settled, tried; /* wall ms; tried: the last time, 0: never */
};

struct untold { /* a message of which there is something to tell */
	int64_t message, submitted;
	char sender[ADDRESS_PATH_MAX + 1]; /* "": the null sender */
	char message_id[999], envid[DSN_ENVID_MAX + 1];
	bool headers_only;        /* RET=HDRS */
	bool notice;              /* it is one itself */
	bool open;                /* some of its recipients are not settled yet */
	struct buf head;          /* the first NOTICE_HEAD_MAX octets of its content */
	bool whole;               /* that is all of it; false where it is no longer kept */
	struct untold_rcpt *rcpt; /* in the order of their numbers */
	unsigned rcpts;
};

/* The first message after `after` with a recipient that failed or was delivered, and whose sender
 * has not been told. 1, 0 or -1. */
int store_untold_next(struct store *s, int64_t after, int64_t *ret_message, struct err *e);

/* Goes on through what is not settled, a page at a time, looking for recipients that are late:
 * since before `cutoff`, tried by itself or held, and not warned of. 1: *ret_message is such a
 * message, or 0 where the page held none; 0: the walk is at its end; -1. */
struct late_walk {
	int64_t message, recipient;
};
int store_late_next(
	struct store *s, struct late_walk *w, int64_t cutoff, int64_t *ret_message, struct err *e);

/* What there is to tell of a message, of one kind; cutoff is for NOTICE_DELAYED. Values that the
 * schema would not allow are read as none. 1; 0: nothing (any more); -1. */
int store_untold_load(struct store *s, int64_t message, enum notice_kind kind, int64_t cutoff,
	struct untold *ret, struct err *e);
/* The head of its content. 0 or -1; what is not kept, or can't be trusted, is left out. */
int store_untold_head(struct store *s, struct untold *u, struct err *e);
void store_untold_done(struct untold *u);

/* How many notices went to the address since then; no more than `most` are counted. Or -1. */
int store_notices_to(
	struct store *s, const char *address, int64_t since, unsigned most, struct err *e);

struct telling {
	const struct untold *untold;
	enum notice_kind kind;
	const struct store_submission *notice; /* NULL: nobody is told of these recipients */
	const bool *of; /* which recipients the notice is of; NULL: all. The others' senders are
			 * not told */
	int64_t at;
	/* answers */
	bool done;  /* false: changed meanwhile, look again */
	int64_t id; /* of the notice; 0: none */
};
/* All in one transaction. keep_sent 0: content that was kept for a notice of delivery goes. 0 or -1
 * (nothing is done then). */
int store_tell(struct store *s, struct telling *t, unsigned n, int64_t keep_sent, struct err *e);

#endif
