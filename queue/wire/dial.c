/*
 * Name resolution and the beginning of connect(2).
 */
#include "wire/dial.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES_MAX 16 /* of a name */

static void name_peer(struct dial *d)
{
	char ip[64];
	int n;

	if (d->at && getnameinfo(d->at->ai_addr, d->at->ai_addrlen, ip, sizeof ip, NULL, 0,
			     NI_NUMERICHOST) == 0)
		n = snprintf(d->peer, sizeof d->peer, "%s[%s]:%s", d->host, ip, d->port);
	else
		n = snprintf(d->peer, sizeof d->peer, "%s:%s", d->host, d->port);
	assert(n > 0 && (size_t)n < sizeof d->peer);
}

static void limit_addresses(struct addrinfo *a)
{
	for (unsigned n = 1; a->ai_next && n < ADDRESSES_MAX; n++)
		a = a->ai_next;
	if (a->ai_next)
		freeaddrinfo(a->ai_next);
	a->ai_next = NULL;
}

/* A literal address needs no resolver; a name gives addresses of families that this host has. */
int dial_init(struct dial *d, const char *host, const char *port)
{
	static const int flags[] = { AI_NUMERICHOST, AI_ADDRCONFIG };
	int rc = EAI_NONAME;

	*d = (struct dial) { .host = host, .port = port };
	name_peer(d);
	for (size_t i = 0; i < sizeof flags / sizeof *flags && rc != 0; i++) {
		const struct addrinfo hints = {
			.ai_flags = flags[i] | AI_NUMERICSERV,
			.ai_family = AF_UNSPEC,
			.ai_socktype = SOCK_STREAM,
		};
		rc = getaddrinfo(host, port, &hints, &d->found);
	}
	if (rc != 0) {
		d->found = NULL;
		return rc == EAI_SYSTEM ? err_sys(&d->failed, EX_TEMPFAIL, "can't resolve %s", host)
					: err_set(&d->failed, EX_TEMPFAIL, "can't resolve %s: %s",
						  host, gai_strerror(rc));
	}
	limit_addresses(d->found);
	d->at = d->found;
	return 0;
}

void dial_done(struct dial *d)
{
	if (d->found)
		freeaddrinfo(d->found);
	d->found = d->at = NULL;
}

int dial_begin(struct dial *d)
{
	while (d->at) {
		const struct addrinfo *a = d->at;
		name_peer(d);
		int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			a->ai_protocol);
		if (fd >= 0 && (connect(fd, a->ai_addr, a->ai_addrlen) == 0 ||
				       errno == EINPROGRESS || errno == EINTR))
			return fd;
		int fault = errno;
		if (fd >= 0)
			close(fd);
		dial_failed(d, fault, NULL);
	}
	return -1;
}

/* That our host has no way to one of the addresses (an IPv6 one, as a rule) says less than what
 * another one answered. */
void dial_failed(struct dial *d, int fault, const char *how)
{
	bool far = fault != ENETUNREACH && fault != EADDRNOTAVAIL && fault != EAFNOSUPPORT;

	assert(d->at);
	if (far || !d->failed_far) {
		d->failed_far = far;
		errno = fault;
		if (how)
			err_set(&d->failed, EX_TEMPFAIL, "connect to %s: %s", d->peer, how);
		else
			err_sys(&d->failed, EX_TEMPFAIL, "connect to %s", d->peer);
	}
	d->at = d->at->ai_next;
}
