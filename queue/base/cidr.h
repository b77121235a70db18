/*
 * Address ranges (`172.16.0.0/12`, `2001:db8::/32`, a single address) for the listener's `allow`.
 */
#ifndef CENMAIL_CIDR_H
#define CENMAIL_CIDR_H

#include "base/err.h"
#include "base/span.h"

#include <sys/socket.h>

struct cidr {
	unsigned char addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;          /* of the 128 */
};

/* 0 or -1 (EX_CONFIG). Host bits that are set beyond the prefix are refused. */
int cidr_parse(struct span s, struct cidr *ret, struct err *e);
/* IPv4-mapped IPv6 addresses match as IPv4. Other families never match. */
bool cidr_has(const struct cidr *c, const struct sockaddr *sa);

#endif
