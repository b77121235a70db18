/*
 * HOST:PORT as configurations have it. HOST is a domain name, an IPv4 address, or an IPv6 address
 * in brackets. Says nothing to the network.
 */
#ifndef CENMAIL_HOSTPORT_H
#define CENMAIL_HOSTPORT_H

#include "base/err.h"
#include "base/span.h"

/* default_port: what stands for a missing one; NULL: one must be given, and may be 0. `host` gets
 * the host without its brackets. 0 or -1 (EX_CONFIG). */
int hostport_parse(struct span s, const char *default_port, char *host, size_t size, char port[6],
	struct err *e);

#endif
