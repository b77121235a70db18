/*
 * A name to a connected socket: resolved in a thread, its addresses tried side by side.
 */
#include "wire/dial.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void name_peer(struct dial *d, const struct addrinfo *a)
{
	char ip[64];
	int n;

	if (a &&
		getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof ip, NULL, 0, NI_NUMERICHOST) == 0)
		n = snprintf(d->peer, sizeof d->peer, "%s[%s]:%s", d->host, ip, d->port);
	else
		n = snprintf(d->peer, sizeof d->peer, "%s:%s", d->host, d->port);
	assert(n > 0 && (size_t)n < sizeof d->peer);
}

/* Puts what is told when all has failed. That our host has no way to one of the addresses (an IPv6
 * one, as a rule) says less than what another one answered. */
static void note_failure(struct dial *d, const struct addrinfo *a, int fault, const char *how)
{
	const bool far = fault != ENETUNREACH && fault != EADDRNOTAVAIL && fault != EAFNOSUPPORT;

	if (!far && d->failed_far)
		return;
	d->failed_far = far;
	name_peer(d, a);
	errno = fault;
	if (how)
		err_set(&d->failed, EX_TEMPFAIL, "connect to %s: %s", d->peer, how);
	else
		err_sys(&d->failed, EX_TEMPFAIL, "connect to %s", d->peer);
}

/* Waits for `fd` too. 0 or -1 with failed. */
static int watch(struct dial *d, int fd, uint32_t events)
{
	struct epoll_event v = { .events = events };

	return epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, fd, &v) == 0
		       ? 0
		       : err_sys(&d->failed, EX_TEMPFAIL, "epoll");
}

/* --- connecting --- */

/* The resolver's order, which is RFC 6724's, but the families in turns (RFC 8305 section 4). */
static void put_in_order(struct dial *d)
{
	const struct addrinfo *same = d->found, *other = d->found;
	const int family = d->found->ai_family;
	bool turn = true;

	while ((same || other) && d->addresses < DIAL_ADDRESSES) {
		while (same && same->ai_family != family)
			same = same->ai_next;
		while (other && other->ai_family == family)
			other = other->ai_next;
		const struct addrinfo **from = (turn && same) || !other ? &same : &other;

		if (!*from)
			break;
		d->address[d->addresses++] = *from;
		*from = (*from)->ai_next;
		turn = !turn;
	}
}

/* Begins with the next address; one that fails at once leaves the turn to the one after it. */
static void begin_one(struct dial *d, int64_t now_ms)
{
	while (d->begun < d->addresses) {
		const struct addrinfo *a = d->address[d->begun];
		const int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			a->ai_protocol);

		if (fd >= 0 && (connect(fd, a->ai_addr, a->ai_addrlen) == 0 ||
				       errno == EINPROGRESS || errno == EINTR)) {
			if (watch(d, fd, EPOLLOUT) < 0) {
				close(fd);
				d->begun = d->addresses;
				return;
			}
			d->fd[d->begun++] = fd;
			d->next_at = now_ms + DIAL_STAGGER;
			return;
		}
		const int fault = errno;

		if (fd >= 0)
			close(fd);
		note_failure(d, a, fault, NULL);
		d->begun++;
	}
}

static bool some_under_way(const struct dial *d)
{
	for (unsigned i = 0; i < d->begun; i++)
		if (d->fd[i] >= 0)
			return true;
	return false;
}

static void give_up(struct dial *d, unsigned i, int fault, const char *how)
{
	close(d->fd[i]);
	d->fd[i] = -1;
	note_failure(d, d->address[i], fault, how);
}

/* Whether the i-th has connected; one that has failed is given up. */
static bool has_connected(struct dial *d, unsigned i)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof(int), size = sizeof peer;
	int fault = 0;

	if (d->fd[i] < 0)
		return false;
	if (getsockopt(d->fd[i], SOL_SOCKET, SO_ERROR, &fault, &n) < 0)
		fault = errno;
	if (fault != 0) {
		give_up(d, i, fault, NULL);
		return false;
	}
	return getpeername(d->fd[i], (struct sockaddr *)&peer, &size) == 0;
}

/* Rounded, as the clock was read a moment after the wait began. */
static void say_time(char *out, size_t size, const char *what, int64_t ms)
{
	snprintf(out, size, "%s after %.*f s", what, ms < 10000 ? 1 : 0, (double)ms / 1000);
}

static enum dial_state step_connecting(struct dial *d, int64_t now_ms, int *ret_fd)
{
	char how[64];

	for (unsigned i = 0; i < d->begun; i++)
		if (has_connected(d, i)) {
			epoll_ctl(d->poll_fd, EPOLL_CTL_DEL, d->fd[i], NULL);
			name_peer(d, d->address[i]);
			*ret_fd = d->fd[i];
			d->fd[i] = -1;
			return DIAL_CONNECTED;
		}
	if (now_ms >= d->until) {
		say_time(how, sizeof how, "timed out", d->until - d->since);
		for (unsigned i = 0; i < d->begun; i++)
			if (d->fd[i] >= 0)
				give_up(d, i, ETIMEDOUT, how);
		return DIAL_FAILED;
	}
	if (now_ms >= d->next_at || !some_under_way(d))
		begin_one(d, now_ms);
	return some_under_way(d) ? DIAL_BUSY : DIAL_FAILED;
}

/* --- the name --- */

static void begin_connecting(struct dial *d, int64_t now_ms)
{
	put_in_order(d);
	d->since = d->next_at = now_ms;
	d->until = now_ms + d->patience;
}

static enum dial_state step_lookup(struct dial *d, int64_t now_ms, int *ret_fd)
{
	char how[64];
	const int got = lookup_end(d->lookup, &d->found, &d->failed);

	if (got == 0 && now_ms >= d->until) {
		say_time(how, sizeof how, "no answer", d->until - d->since);
		err_set(&d->failed, EX_TEMPFAIL, "can't resolve %s: %s", d->host, how);
		return DIAL_FAILED;
	}
	if (got <= 0)
		return got == 0 ? DIAL_BUSY : DIAL_FAILED;
	epoll_ctl(d->poll_fd, EPOLL_CTL_DEL, lookup_fd(d->lookup), NULL);
	lookup_free(d->lookup);
	d->lookup = NULL;
	begin_connecting(d, now_ms);
	return step_connecting(d, now_ms, ret_fd);
}

/* --- outside --- */

void dial_init(
	struct dial *d, const char *host, const char *port, int64_t patience_ms, int64_t now_ms)
{
	*d = (struct dial) { .host = host, .port = port, .patience = patience_ms, .since = now_ms };
	for (unsigned i = 0; i < DIAL_ADDRESSES; i++)
		d->fd[i] = -1;
	d->until = now_ms + patience_ms;
	d->next_at = INT64_MAX;
	name_peer(d, NULL);
	d->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->poll_fd < 0) {
		err_sys(&d->failed, EX_TEMPFAIL, "epoll");
	} else if (lookup_literal(host, port, &d->found)) {
		begin_connecting(d, now_ms);
	} else {
		d->lookup = lookup_begin(host, port, &d->failed);
		if (d->lookup)
			(void)watch(d, lookup_fd(d->lookup), EPOLLIN);
	}
}

void dial_done(struct dial *d)
{
	for (unsigned i = 0; i < d->begun; i++)
		if (d->fd[i] >= 0) {
			close(d->fd[i]);
			d->fd[i] = -1;
		}
	lookup_free(d->lookup);
	d->lookup = NULL;
	if (d->found)
		freeaddrinfo(d->found);
	d->found = NULL;
	d->addresses = d->begun = 0;
	if (d->poll_fd >= 0)
		close(d->poll_fd);
	d->poll_fd = -1;
}

int dial_fd(const struct dial *d)
{
	return d->poll_fd;
}

int64_t dial_deadline(const struct dial *d)
{
	return d->begun < d->addresses && d->next_at < d->until ? d->next_at : d->until;
}

enum dial_state dial_step(struct dial *d, int64_t now_ms, int *ret_fd)
{
	if (d->failed.code != 0 && !d->found)
		return DIAL_FAILED;
	return d->lookup ? step_lookup(d, now_ms, ret_fd) : step_connecting(d, now_ms, ret_fd);
}
