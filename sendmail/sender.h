/*
 * Who sends: the envelope sender, and what a missing From is made of. The user database is asked
 * only where the caller's own name is needed: it may be slow.
 */
#ifndef CENMAIL_SENDER_H
#define CENMAIL_SENDER_H

#include "base/address.h"
#include "base/buf.h"

#include <sys/types.h>

struct sender_rules {
	const char *given;     /* -f: an address, a bare name, "" or "<>"; NULL: the login name */
	const char *full_name; /* -F; NULL: that of the user database, where it is his own mail */
	uid_t uid;
	const char *domain; /* qualifies bare names */
};

struct sender {
	char address[ADDRESS_PATH_MAX + 1]; /* "" is the null sender */
	struct sender_rules rules;
};

/* 0, or -1 (EX_DATAERR: -f is no address; -F holds what no header may). */
int sender_settle(const struct sender_rules *rules, struct sender *ret, struct err *e);
/* Appends the value of a From field: `address`, or `"Full Name" <address>`. */
void sender_add_from(const struct sender *s, struct buf *out);
/* Appends the full name in a GECOS field of the user database: what stands before the first comma,
 * '&' being the login name with a capital; control characters are left out. */
void sender_add_gecos(const char *gecos, const char *login, struct buf *out);

#endif
