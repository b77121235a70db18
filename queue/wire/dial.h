/*
 * struct dial: from a host's name to a connected socket. The name is resolved anew for each dial;
 * its addresses are tried in the order of RFC 8305, the families in turns, each a moment after the
 * one before and beside it, and the first that connects is taken: one that is dead costs that
 * moment. Never waits: its owner polls dial_fd for POLLIN until dial_deadline. For link.c.
 */
#ifndef CENMAIL_DIAL_H
#define CENMAIL_DIAL_H

#include "base/err.h"
#include "wire/lookup.h"

#include <stdbool.h>
#include <stdint.h>

#define DIAL_ADDRESSES 16  /* of a name, at most */
#define DIAL_STAGGER   500 /* ms between two of them; RFC 8305 section 5: 100 to 2000 */

enum dial_state { DIAL_BUSY, DIAL_CONNECTED, DIAL_FAILED };

struct dial {
	const char *host, *port; /* borrowed */
	int64_t patience;        /* ms: for the name, and then for the connection */
	int64_t since, until;    /* of the one that is under way */
	int poll_fd;             /* an epoll of what is under way */
	struct lookup *lookup;   /* NULL: the name is resolved */
	struct addrinfo *found;
	const struct addrinfo *address[DIAL_ADDRESSES];
	int fd[DIAL_ADDRESSES]; /* -1: not under way */
	unsigned addresses, begun;
	int64_t next_at;   /* when the next address is tried */
	struct err failed; /* of several failures the one to tell */
	bool failed_far;   /* it came from farther than our own routing table */
	char peer[400];    /* "host[10.20.8.37]:3535" */
};

/* Begins; what fails at once is told by the first dial_step. */
void dial_init(
	struct dial *d, const char *host, const char *port, int64_t patience_ms, int64_t now_ms);
void dial_done(struct dial *d);
int dial_fd(const struct dial *d);
int64_t dial_deadline(const struct dial *d);
/* DIAL_CONNECTED: *ret_fd is the caller's, and peer names it. DIAL_FAILED: failed says why. */
enum dial_state dial_step(struct dial *d, int64_t now_ms, int *ret_fd);

#endif
