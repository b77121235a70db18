/*
 * struct dial: from a host's name to a socket that connects: its addresses, tried in turn, and of
 * several failures the one to tell. For link.c.
 */
#ifndef CENMAIL_DIAL_H
#define CENMAIL_DIAL_H

#include "base/err.h"

#include <netdb.h>
#include <stdbool.h>

struct dial {
	const char *host, *port;     /* borrowed */
	struct addrinfo *found, *at; /* all addresses, and the one whose turn it is */
	struct err failed;           /* why the last one did not work; see dial_failed */
	bool failed_far;             /* it came from farther than our own routing table */
	char peer[400];              /* "host[10.20.8.37]:3535" */
};

/* Resolves; may block for the resolver's own time-outs. 0, or -1 with the reason in failed. */
int dial_init(struct dial *d, const char *host, const char *port);
void dial_done(struct dial *d);
/* A non-blocking socket that connects to the address whose turn it is, or to one after it. -1: no
 * address is left, and failed says why. */
int dial_begin(struct dial *d);
/* The address did not work: notes it, with `how` or, when that is NULL, the words of `fault` (an
 * errno), and goes on to the next one. */
void dial_failed(struct dial *d, int fault, const char *how);

#endif
