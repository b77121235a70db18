/*
 * A connection through the link: pieces of octets that are each due at their own time, both ways,
 * and what the options do to them.
 */
#ifndef LINK_CONN_H
#define LINK_CONN_H

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE     65536
#define LINKS_MAX 2048
#define NEVER     INT64_MAX
#define SECOND_NS 1000000000ll

enum end { END_NONE, END_FIN, END_RST };

struct piece {
	struct piece *next;
	int64_t due;
	size_t n, at;
	enum end end; /* what follows the octets */
	char data[];
};

enum way { UP, DOWN };

struct pipe { /* one direction of a connection */
	struct piece *first, **last;
	size_t queued;
	bool ended;       /* the source has ended: nothing more is read */
	uint64_t carried; /* octets handed to the far side */
};

struct conn {
	int fd[2];          /* of the client, of the server (-1: not yet connected) */
	int64_t open_at;    /* when the client's handshake would be over */
	int64_t connect_at; /* when the server would see the connection */
	struct pipe pipe[2];
	bool stalled, dead, rst;
};

static struct {
	struct sockaddr_storage to;
	socklen_t to_len;
	int64_t delay_ns;
	uint64_t kbit, cut[2], cuts, buffer;
	bool stall, fin;
	const char *record;
	FILE *trace; /* NULL: none */
} opt = { .cut = { UINT64_MAX, UINT64_MAX }, .cuts = 1, .buffer = 8u << 20 };

static struct conn *conns[LINKS_MAX];
static unsigned conns_n;
static int64_t free_at[2]; /* when the link has room again, each way */
static bool down;          /* SIGUSR2 */
static struct {
	uint64_t connections, octets[2], cut;
} carried;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "long-link: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static void tune(int fd)
{
	int one = 1, room = 4 << 20;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

static void conn_accept(int listener, int64_t now)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct conn *c = conns_n < LINKS_MAX ? calloc(1, sizeof *c) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	tune(fd);
	c->fd[UP] = fd;
	c->fd[DOWN] = -1;
	c->pipe[UP].last = &c->pipe[UP].first;
	c->pipe[DOWN].last = &c->pipe[DOWN].first;
	c->open_at = now + 2 * opt.delay_ns;
	c->connect_at = now + 3 * opt.delay_ns;
	conns[conns_n++] = c;
	carried.connections++;
}

static void conn_free(struct conn *c)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };
	for (int way = UP; way <= DOWN; way++) {
		if (c->fd[way] >= 0) {
			if (c->rst)
				setsockopt(c->fd[way], SOL_SOCKET, SO_LINGER, &l, sizeof l);
			close(c->fd[way]);
		}
		while (c->pipe[way].first) {
			struct piece *p = c->pipe[way].first;
			c->pipe[way].first = p->next;
			free(p);
		}
	}
	free(c);
}

static void conn_kill(struct conn *c, bool rst)
{
	c->dead = true;
	c->rst = rst;
}

/* The server's side, once the handshake would have reached it. */
static void conn_connect(struct conn *c)
{
	int fd = socket(opt.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	tune(fd);
	c->fd[DOWN] = fd;
	if (connect(fd, (struct sockaddr *)&opt.to, opt.to_len) != 0 && errno != EINPROGRESS)
		conn_kill(c, true);
}

/* By the wall clock, as other programs' records have it. */
static void trace(enum way way, size_t n)
{
	struct timespec t;
	if (!opt.trace)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	fprintf(opt.trace, "%lld.%06ld %s %zu\n", (long long)t.tv_sec, t.tv_nsec / 1000,
		way == UP ? "up" : "down", n);
	fflush(opt.trace);
}

/* When octets that are here now will be there. */
static int64_t due_at(const struct conn *c, enum way way, size_t n, int64_t now)
{
	int64_t from = way == UP && now < c->open_at ? c->open_at : now;
	if (opt.kbit) {
		if (free_at[way] > from)
			from = free_at[way];
		from += (int64_t)(n * 8 * 1000000 / opt.kbit);
		free_at[way] = from;
	}
	return from + opt.delay_ns;
}

static void pipe_read(struct conn *c, enum way way, int64_t now)
{
	struct pipe *pipe = &c->pipe[way];
	struct piece *p = malloc(sizeof *p + PIECE);
	if (!p)
		abort();
	ssize_t n = recv(c->fd[way], p->data, PIECE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		free(p);
		return;
	}
	/* One by one: assigning the whole struct would also write its padding, which is data's. */
	p->next = NULL;
	p->n = n > 0 ? (size_t)n : 0;
	p->at = 0;
	p->end = n > 0 ? END_NONE : n == 0 ? END_FIN : END_RST;
	p->due = due_at(c, way, p->n, now);
	trace(way, p->n);
	struct piece *small = realloc(p, sizeof *p + p->n);
	p = small ? small : p;
	pipe->ended = p->end != END_NONE;
	pipe->queued += p->n;
	*pipe->last = p;
	pipe->last = &p->next;
}

/* The cut that the options asked for has been reached. */
static void pipe_cut(struct conn *c)
{
	carried.cut++;
	if (opt.stall)
		c->stalled = true;
	else
		conn_kill(c, !opt.fin);
}

static void piece_drop(struct pipe *pipe)
{
	struct piece *p = pipe->first;
	pipe->first = p->next;
	if (!pipe->first)
		pipe->last = &pipe->first;
	pipe->queued -= p->n;
	free(p);
}

/* Hands on what is due. */
static void pipe_write(struct conn *c, enum way way, int64_t now)
{
	struct pipe *pipe = &c->pipe[way];
	int to = c->fd[!way];
	while (pipe->first && pipe->first->due <= now && !c->dead && !c->stalled) {
		struct piece *p = pipe->first;
		size_t n = p->n - p->at;
		uint64_t cut = carried.cut < opt.cuts ? opt.cut[way] : UINT64_MAX;
		if (n && pipe->carried + n > cut)
			n = pipe->carried < cut ? (size_t)(cut - pipe->carried) : 0;
		if (!n && p->at < p->n) {
			pipe_cut(c);
			return;
		}
		ssize_t k = n ? send(to, p->data + p->at, n, MSG_NOSIGNAL) : 0;
		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (k < 0) {
			conn_kill(c, true);
			return;
		}
		p->at += (size_t)k;
		pipe->carried += (uint64_t)k;
		carried.octets[way] += (uint64_t)k;
		if (p->at < p->n)
			continue;
		if (p->end == END_FIN)
			shutdown(to, SHUT_WR);
		else if (p->end == END_RST)
			conn_kill(c, true);
		piece_drop(pipe);
	}
}

static bool conn_over(const struct conn *c)
{
	return c->dead || (c->pipe[UP].ended && c->pipe[DOWN].ended && !c->pipe[UP].first &&
				  !c->pipe[DOWN].first);
}

/* Fills two poll entries; returns when this connection wants to be looked at again. */
static int64_t conn_poll(const struct conn *c, struct pollfd *p, int64_t now)
{
	int64_t next = c->fd[DOWN] < 0 ? c->connect_at : NEVER;
	p[UP] = (struct pollfd) { .fd = c->fd[UP] };
	p[DOWN] = (struct pollfd) { .fd = c->fd[DOWN] };
	for (int way = UP; way <= DOWN; way++) {
		const struct pipe *pipe = &c->pipe[way];
		if (!pipe->ended && pipe->queued < opt.buffer)
			p[way].events |= POLLIN;
		if (!pipe->first || c->stalled || down)
			continue;
		if (pipe->first->due > now)
			next = pipe->first->due < next ? pipe->first->due : next;
		else
			p[!way].events |= POLLOUT;
	}
	for (int way = UP; way <= DOWN; way++)
		if (!p[way].events) /* else poll would show hang-ups over and over */
			p[way].fd = -1;
	return next;
}

static void conn_step(struct conn *c, const struct pollfd *p, int64_t now)
{
	if (c->fd[DOWN] < 0 && now >= c->connect_at && !down)
		conn_connect(c);
	for (int way = UP; way <= DOWN && !c->dead; way++) {
		const struct pipe *pipe = &c->pipe[way];
		if (p[way].fd >= 0 && (p[way].revents & (POLLIN | POLLHUP | POLLERR)) &&
			!pipe->ended && pipe->queued < opt.buffer)
			pipe_read(c, (enum way)way, now);
	}
	for (int way = UP; way <= DOWN && !c->dead; way++)
		if (c->fd[!way] >= 0 && !down)
			pipe_write(c, (enum way)way, now);
}

#endif
