/*
 * The header as it is stored: a Received line that names the uid, the fields given (those that
 * must not leave are removed, bare names qualified, long lines folded), the fields that were
 * missing, and the empty line.
 */
#ifndef CENMAIL_COMPOSE_H
#define CENMAIL_COMPOSE_H

#include "base/spool.h"
#include "sendmail/header.h"
#include "sendmail/sender.h"

/* Received lines: a message with more is in a loop. Fewer than the 50 of Postfix and of our
 * listener: what is taken here, with the lines that are added on the way, must not be refused
 * there. */
#define COMPOSE_HOPS_MAX 40

struct compose {
	const struct sender *sender;
	const char *hostname, *domain;
	uid_t uid;
	const char *id;       /* in the Received line */
	int64_t now;          /* wall ms */
	char message_id[300]; /* out: as in the header, "" when that holds none that is printable */
};

/* 0, or -1 (EX_DATAERR: a loop; EX_TEMPFAIL: no space). */
int compose_header(struct compose *c, struct span fields, const struct header_facts *facts,
	struct spool *to, struct err *e);

#endif
