/*
 * Address lists as headers have them (RFC 5322 section 3.4, obsolete forms too): names, comments,
 * groups, quoted strings, folded lines, encoded words left alone. One pass, no recursion, no
 * allocation: time is linear in the length, whatever it holds.
 */
#ifndef CENMAIL_ADDRESS_LIST_H
#define CENMAIL_ADDRESS_LIST_H

#include "base/err.h"
#include "base/span.h"

struct mailbox {
	struct span addr; /* without comments and blanks, otherwise as given; "" for <> */
	bool bare;        /* holds no '@': a name that has to be qualified */
	size_t begin; /* where in the list addr begins, comments and blanks within it included */
	size_t end;   /* where in the list it ends: a bare name's '@domain' goes here */
};

/* Calls fn for each mailbox, in order; a non-zero answer ends it and is answered. -1 with err
 * (EX_DATAERR, naming the place) where the list can't be read: fn may have been called for what
 * comes before it. What is given to fn is not a valid address yet: see address_parse. */
int address_list_parse(struct span list,
	int (*fn)(void *arg, const struct mailbox *m, struct err *e), void *arg, struct err *e);

#endif
