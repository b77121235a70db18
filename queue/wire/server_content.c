/*
 * Content as it comes in: DATA up to its dot, BDAT by its count. It may be refused at any octet;
 * the rest is taken and thrown away all the same, and the refusal is given at its end. What is let
 * through has CRLF line ends only and no NUL, however it came, as DATA is how it goes on.
 */
#include "wire/server_state.h"

#include "base/number.h"

#include <assert.h>

#define PIECE 16384 /* octets that are unstuffed in one go */

static void refuse(struct server *s, const char *line)
{
	if (s->refusal[0])
		return; /* the first reason stays */
	int n = snprintf(s->refusal, sizeof s->refusal, "%s", line);
	assert(n > 0);
}

#define TOO_LARGE "552 5.3.4 Message too large"
#define BARE      "554 5.6.0 A bare CR, a bare LF or a NUL octet in the content"

/* Octets have come, good or not. False: the session is over, as they may have no end. */
static bool count(struct server *s, size_t n)
{
	s->octets += n;
	if (s->octets > s->o.message_size)
		refuse(s, TOO_LARGE);
	if (s->octets > s->o.message_size + SERVER_EXCESS_MAX)
		server_end(s, TOO_LARGE);
	return s->state == SERVER_OPEN;
}

static void take_content(struct server *s, struct span in)
{
	if (s->refusal[0] || in.n == 0)
		return;
	const char *refusal = s->ops->content(s->arg, in);
	if (refusal)
		refuse(s, refusal);
}

/* The content has ended, well or not: replies, and the end of the transaction. */
static void end_message(struct server *s)
{
	if (!s->refusal[0]) {
		s->idle = s->errors = 0;
		s->ops->message(s->arg, s->lmtp, s->eightbit);
	} else {
		/* RFC 2033 section 4.2: one for each accepted recipient, refused or not. */
		unsigned replies = s->lmtp && s->rcpts > 0 ? s->rcpts : 1;
		for (unsigned i = 0; i < replies; i++)
			server_say(s, "%s", s->refusal);
	}
	server_reset(s);
}

void server_do_data(struct server *s, struct span args)
{
	(void)args;
	unstuff_init(&s->unstuff);
	s->mode = MODE_DATA;
	server_say(s, "354 End data with <CR><LF>.<CR><LF>");
}

size_t server_data(struct server *s, struct span in)
{
	struct buf out;
	size_t used;

	if (in.n > PIECE)
		in.n = PIECE;
	/* What was held back of earlier octets may come out too: a few. */
	buf_init(&out, PIECE + 16);
	bool thrown_away = s->refusal[0];
	enum unstuff_result r = unstuff_add(&s->unstuff, in, thrown_away ? NULL : &out, &used);
	if (s->unstuff.bad && !s->o.mends_content)
		refuse(s, BARE);
	if (out.failed)
		refuse(s, "451 4.3.0 Out of memory");
	bool open = count(s, thrown_away ? used : out.len);
	if (open)
		take_content(s, buf_span(&out));
	buf_done(&out);
	if (open && r == UNSTUFF_END) {
		s->mode = MODE_COMMAND;
		end_message(s);
	}
	return used;
}

/* The content of chunks comes as it is: what is no good in DATA is no good here. */
static bool bare(struct server *s, struct span in)
{
	const char *end = in.p + in.n;

	if (memchr(in.p, '\0', in.n) || (s->is_cr && in.p[0] != '\n'))
		return true;
	for (const char *p = in.p; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		if (p == in.p ? !s->is_cr : p[-1] != '\r')
			return true;
	for (const char *p = in.p; (p = memchr(p, '\r', (size_t)(end - p))); p++)
		if (p + 1 < end && p[1] != '\n')
			return true;
	s->is_cr = end[-1] == '\r';
	return false;
}

static void end_chunk(struct server *s)
{
	s->mode = MODE_COMMAND;
	if (s->chunk_last) {
		if (s->is_cr)
			refuse(s, BARE);
		end_message(s);
	} else if (s->refusal[0]) {
		server_say(s, "%s", s->refusal);
		/* RFC 3030 section 2: what follows is out of sequence until RSET. */
		(void)snprintf(s->refusal, sizeof s->refusal, "503 5.5.1 An earlier BDAT failed");
		if (!s->mail)
			server_reset(s);
	} else {
		server_say(s, "250 2.0.0 Ok, %llu octets", (unsigned long long)s->octets);
	}
}

/* `BDAT size [LAST]`. 0 or -1. */
static int parse_bdat(struct span args, uint64_t *ret_size, bool *ret_last)
{
	long blank = span_find(args, ' ');
	size_t n = blank < 0 ? args.n : (size_t)blank;
	struct span rest = span_trim(span_from(args, n));
	uint64_t size;

	if (number_parse(span_make(args.p, n), UINT64_MAX / 2, &size) < 0)
		return -1;
	if (rest.n > 0 && !span_eq_nocase(rest, span_of("LAST")))
		return -1;
	*ret_size = size;
	*ret_last = rest.n > 0;
	return 0;
}

void server_do_bdat(struct server *s, struct span args)
{
	uint64_t size;
	bool last;

	if (!s->o.offer_chunking) {
		server_end(s, "502 5.5.1 CHUNKING is not offered");
		return;
	}
	/* Where the chunk ends can't be known: its octets must not be taken for commands. */
	if (parse_bdat(args, &size, &last) < 0) {
		server_end(s, "501 5.5.4 Syntax: BDAT size [LAST]");
		return;
	}
	if (size < SERVER_CHUNK_SMALL && ++s->idle > SERVER_IDLE_MAX) {
		server_end(s, "421 4.7.0 Too many commands without a message");
		return;
	}
	const char *forbidden = server_forbids(
		s, NEEDS_HELO | NEEDS_AUTH | NEEDS_MAIL | NEEDS_RCPT, span_make("", 0));
	if (forbidden)
		refuse(s, forbidden);
	s->chunks = s->mail;
	s->chunk_left = size;
	s->chunk_last = last;
	s->mode = MODE_CHUNK;
	if (size == 0)
		end_chunk(s);
}

size_t server_chunk(struct server *s, struct span in)
{
	if (in.n > s->chunk_left)
		in.n = (size_t)s->chunk_left;
	if (!s->refusal[0] && !s->o.mends_content && bare(s, in))
		refuse(s, BARE);
	s->chunk_left -= in.n;
	if (!count(s, in.n))
		return in.n;
	take_content(s, in);
	if (s->chunk_left == 0)
		end_chunk(s);
	return in.n;
}
