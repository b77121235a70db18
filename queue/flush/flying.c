/*
 * What is on the wire, for the flusher after one that was killed. A place in the file for each
 * batch; no place crosses a page, so that a kill leaves it written or not.
 */
#include "flush/flying.h"

#include "base/clock.h"
#include "base/crc.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#define PLACE_OCTETS 4096
#define PLACES_MAX   100000 /* that are read; a flusher has hardly more than a thousand */
#define READ_AT_ONCE 64
#define MAGIC        0x63666c31u

struct place {
	uint32_t magic; /* 0: it is free */
	uint32_t crc;   /* of all that follows, up to the last recipient */
	int64_t message, at;
	int64_t known_until; /* 0: the peer has no journal */
	char journal[sizeof((struct ehlo *)0)->xonce_journal];
	char relay[STORE_RELAY_MAX + 1];
	uint32_t rcpts;
	struct store_flown rcpt[FLUSH_BATCH_MAX];
};
_Static_assert(sizeof(struct place) <= PLACE_OCTETS, "a batch fits into its place");

struct flying {
	int fd;
	bool *taken; /* places, from 1 on */
	unsigned places, used;
	bool told;
};

int64_t flying_known_until(const struct ehlo *peer, int64_t at)
{
	return at + peer->xonce_keep_ms / 10 * 9;
}

/* How many of its octets are in use, and so checked. */
static size_t octets_of(const struct place *p)
{
	return offsetof(struct place, rcpt) + p->rcpts * sizeof *p->rcpt;
}

static uint32_t sum_of(const struct place *p)
{
	const size_t from = offsetof(struct place, message);

	return crc32c(0, (const char *)p + from, octets_of(p) - from);
}

/* --- what the last flusher left --- */

static bool is_whole(const struct place *p)
{
	return p->magic == MAGIC && p->rcpts > 0 && p->rcpts <= FLUSH_BATCH_MAX &&
	       p->crc == sum_of(p);
}

/* Reads the places from number `at` on, up to READ_AT_ONCE. How many there were, 0 at the end;
 * those that are whole are in ret_doubt. */
static unsigned read_places(
	int fd, unsigned at, struct place *p, struct store_doubt *ret_doubt, unsigned *ret_whole)
{
	unsigned n = 0;

	*ret_whole = 0;
	for (; n < READ_AT_ONCE; n++, p++) {
		const ssize_t got = pread(fd, p, sizeof *p, (off_t)(at + n) * PLACE_OCTETS);

		if (got <= 0)
			break;
		memset((char *)p + got, 0, sizeof *p - (size_t)got); /* the last is shorter */
		if (is_whole(p))
			ret_doubt[(*ret_whole)++] = (struct store_doubt) {
				.message = p->message,
				.rcpt = p->rcpt,
				.rcpts = p->rcpts,
				.relay = p->relay,
				.journal = p->journal,
				.until = p->known_until,
				.at = p->at,
			};
	}
	return n;
}

/* What is left in the file goes into the queue. 0 or -1. */
static int recover(struct flusher *f, struct err *e)
{
	struct store_doubt doubt[READ_AT_ONCE];
	struct place *p = malloc(READ_AT_ONCE * sizeof *p);
	unsigned n, whole, at = 0;
	uint64_t count = 0;
	int result = -1;

	if (!p)
		return err_set(e, EX_OSERR, "out of memory for what was in flight");
	while (at < PLACES_MAX && (n = read_places(f->flying->fd, at, p, doubt, &whole)) > 0) {
		if (store_doubt(f->store, doubt, whole, &count, e) < 0)
			goto out;
		at += n;
	}
	if (count > 0)
		log_line(LOG_WARNING, "flush",
			"warning: the last flusher ended with %llu recipients in flight: "
			"they are in doubt",
			(unsigned long long)count);
	result = ftruncate(f->flying->fd, 0) == 0 ? 0 : err_sys(e, EX_IOERR, "flight");
out:
	free(p);
	return result;
}

static int open_file(const char *queue, struct err *e)
{
	const char *slash = strrchr(queue, '/');
	struct buf path;
	int fd = -1;

	buf_init(&path, 4096);
	buf_add(&path, queue, slash ? (size_t)(slash - queue) + 1 : 0);
	buf_add_str(&path, "flight");
	if (!path.failed)
		fd = open(buf_str(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		err_sys(e, EX_CANTCREAT, "%s", path.failed ? queue : buf_str(&path));
	buf_done(&path);
	return fd;
}

int flying_open(struct flusher *f, struct err *e)
{
	f->flying = calloc(1, sizeof *f->flying);
	if (!f->flying)
		return err_set(e, EX_OSERR, "out of memory for what is in flight");
	f->flying->fd = open_file(f->conf->queue, e);
	return f->flying->fd < 0 ? -1 : recover(f, e);
}

void flying_close(struct flusher *f)
{
	struct flying *y = f->flying;

	if (!y)
		return;
	if (y->fd >= 0 && y->used == 0 && ftruncate(y->fd, 0) < 0)
		y->told = true; /* all its places are free */
	if (y->fd >= 0)
		close(y->fd);
	free(y->taken);
	free(y);
	f->flying = NULL;
}

/* --- what leaves, and what has come back --- */

/* 0: none (no memory). */
static unsigned free_place(struct flying *y)
{
	unsigned i = 0;
	bool *grown;

	while (i < y->places && y->taken[i])
		i++;
	if (i < y->places)
		return i + 1;
	grown = realloc(y->taken, (i + 64) * sizeof *grown);
	if (!grown)
		return 0;
	memset(grown + i, 0, 64 * sizeof *grown);
	y->taken = grown;
	y->places = i + 64;
	return i + 1;
}

static void fill(struct place *p, const struct batch *b, const char *relay, const struct ehlo *peer)
{
	memset(p, 0, offsetof(struct place, rcpt));
	p->magic = MAGIC;
	p->message = b->message;
	p->at = clock_wall_ms();
	snprintf(p->relay, sizeof p->relay, "%s", relay);
	if (peer->xonce) {
		memcpy(p->journal, peer->xonce_journal, sizeof p->journal);
		p->known_until = flying_known_until(peer, p->at);
	}
	p->rcpts = b->hands;
	for (unsigned i = 0; i < b->hands; i++) {
		struct store_flown *r = &p->rcpt[i];

		memset(r, 0, sizeof *r);
		r->recipient = b->hand[i].recipient;
		r->tries = b->hand[i].tries;
		memcpy(r->once, b->hand[i].once, sizeof r->once);
	}
	p->crc = sum_of(p);
}

void flying_add(struct flusher *f, struct batch *b, const char *relay, const struct ehlo *peer)
{
	struct flying *y = f->flying;
	const unsigned place = free_place(y);
	struct err why;
	struct place p;

	fill(&p, b, relay, peer);
	if (place > 0 && pwrite(y->fd, &p, octets_of(&p), (off_t)(place - 1) * PLACE_OCTETS) ==
				 (ssize_t)octets_of(&p)) {
		y->taken[place - 1] = true;
		y->used++;
		b->place = place;
		return;
	}
	if (place == 0)
		errno = ENOMEM;
	err_sys(&why, EX_IOERR, "flight");
	if (!y->told)
		log_line(LOG_WARNING, "flush",
			"warning: %s: were this flusher killed, the next one would not know what "
			"is in flight",
			why.text);
	y->told = true;
}

void flying_done(struct flusher *f, struct batch *b)
{
	static const uint32_t nothing;
	struct flying *y = f->flying;

	if (b->place == 0)
		return;
	/* Else the next flusher asks for nothing, or finds that it has its verdict. */
	if (pwrite(y->fd, &nothing, sizeof nothing, (off_t)(b->place - 1) * PLACE_OCTETS) ==
		(ssize_t)sizeof nothing)
		y->used--;
	y->taken[b->place - 1] = false;
	b->place = 0;
}
