/*
 * struct lookup: a host's addresses, asked for in a thread, as getaddrinfo(3) can neither be polled
 * nor given a deadline. Who no longer waits lets go of it, and the thread ends when the resolver
 * has given up. For dial.c.
 */
#ifndef CENMAIL_LOOKUP_H
#define CENMAIL_LOOKUP_H

#include "base/err.h"

#include <netdb.h>

#define LOOKUPS_MAX 64 /* threads at once, those that nobody waits for included */

struct lookup;

/* host, port: at most 255 and 15 octets. NULL: EX_TEMPFAIL. */
struct lookup *lookup_begin(const char *host, const char *port, struct err *e);
/* Readable when there is an answer. */
int lookup_fd(const struct lookup *l);
/* 1: *ret_found, for freeaddrinfo; 0: not yet; -1: it does not resolve, EX_TEMPFAIL. */
int lookup_end(struct lookup *l, struct addrinfo **ret_found, struct err *e);
void lookup_free(struct lookup *l);
/* The same, in the caller's thread, for what is an address and no name. 1, or 0: it is a name. */
int lookup_literal(const char *host, const char *port, struct addrinfo **ret_found);

#endif
