/*
 * The server side without I/O: lines and content out of the stream, in turn, and the ceilings on
 * what a peer may make us do. The commands are in server_command.c, content in server_content.c.
 */
#include "wire/server_state.h"

#include "base/log.h"

#include <assert.h>

struct server *server_new(const struct server_options *o, const struct server_ops *ops, void *arg)
{
	struct server *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->o = *o;
	s->ops = ops;
	s->arg = arg;
	buf_init_secret(&s->line, SERVER_AUTH_MAX);
	return s;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	buf_done(&s->line);
	free(s);
}

void server_say(struct server *s, const char *fmt, ...)
{
	char line[SERVER_REPLY_MAX];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line - 2, fmt, ap);
	va_end(ap);
	assert(n >= 3);
	size_t len = (size_t)n < sizeof line - 3 ? (size_t)n : sizeof line - 3;
	line[len] = '\r';
	line[len + 1] = '\n';
	s->ops->reply(s->arg, span_make(line, len + 2));
}

void server_end(struct server *s, const char *line)
{
	if (s->state == SERVER_CLOSED)
		return;
	server_say(s, "%s", line);
	server_reset(s);
	s->state = SERVER_CLOSED;
}

void server_wrong(struct server *s, const char *line)
{
	if (++s->errors >= SERVER_ERRORS_MAX)
		server_end(s, "421 4.7.0 Too many errors");
	else
		server_say(s, "%s", line);
}

void server_refused(struct server *s, const char *line)
{
	if (strncmp(line, "421", 3) == 0)
		server_end(s, line);
	else
		server_say(s, "%s", line);
}

void server_reset(struct server *s)
{
	s->mail = s->eightbit = s->chunks = s->chunk_last = s->is_cr = false;
	s->rcpts = 0;
	s->octets = s->chunk_left = 0;
	s->refusal[0] = '\0';
	s->ops->reset(s->arg);
}

void server_greet(struct server *s)
{
	server_say(s, "220 %s ESMTP cenmail", s->o.hostname);
}

void server_pause(struct server *s, bool paused)
{
	s->paused = paused;
}

void server_tls_done(struct server *s, const char *describe)
{
	(void)describe;
	/* RFC 3207 section 4.2: all that was learned before the handshake is forgotten. */
	s->tls = true;
	s->helo[0] = s->name[0] = '\0';
	s->lmtp = s->extended = s->authenticated = false;
	s->state = SERVER_OPEN;
	s->mode = MODE_COMMAND;
	server_reset(s);
}

/* The whole of a line is in s->line, its LF included. */
static void whole_line(struct server *s)
{
	struct span line;
	size_t used;
	enum line_result r = line_next(buf_span(&s->line), SERVER_AUTH_MAX, &line, &used);
	bool login = s->mode == MODE_LOGIN;

	s->mode = MODE_COMMAND;
	if (r != LINE_OK)
		server_wrong(s, "500 5.5.2 A line ends in CRLF and holds no NUL, CR or LF");
	else if (login)
		server_login_line(s, line);
	else if (s->line.len > SERVER_LINE_MAX && !span_starts_nocase(line, "AUTH "))
		server_wrong(s, "500 5.5.2 Line too long");
	else
		server_command(s, line);
	buf_clear(&s->line);
}

/* Takes octets up to the end of a line, or all. */
static size_t take_line(struct server *s, struct span in)
{
	const char *lf = memchr(in.p, '\n', in.n);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;

	buf_add(&s->line, in.p, n);
	if (s->line.failed) {
		buf_clear(&s->line);
		s->mode = MODE_DROP;
		s->dropped = 0;
		return 0; /* MODE_DROP takes it */
	}
	if (lf) {
		s->behind = in.n - n;
		whole_line(s);
	}
	return n;
}

static size_t drop_line(struct server *s, struct span in)
{
	const char *lf = memchr(in.p, '\n', in.n);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;

	s->dropped += n;
	if (s->dropped > SERVER_DROP_MAX) {
		server_end(s, "421 4.7.0 Line too long");
	} else if (lf) {
		s->mode = MODE_COMMAND;
		server_wrong(s, "500 5.5.2 Line too long");
	}
	return n;
}

static size_t take_some(struct server *s, struct span in)
{
	switch (s->mode) {
	case MODE_COMMAND:
	case MODE_LOGIN:
		return take_line(s, in);
	case MODE_DROP:
		return drop_line(s, in);
	case MODE_DATA:
		return server_data(s, in);
	case MODE_CHUNK:
		return server_chunk(s, in);
	}
	assert(!"a mode");
	return 0;
}

void server_input(struct server *s, struct span in, size_t *ret_used)
{
	size_t used = 0;

	while (used < in.n && s->state == SERVER_OPEN) {
		if (s->paused && s->mode == MODE_COMMAND)
			break;
		used += take_some(s, span_from(in, used));
	}
	*ret_used = used;
}

enum server_state server_state(const struct server *s)
{
	return s->state;
}

bool server_in_transaction(const struct server *s)
{
	return s->mail;
}

bool server_in_content(const struct server *s)
{
	return s->mode == MODE_DATA || s->mode == MODE_CHUNK;
}

bool server_is_lmtp(const struct server *s)
{
	return s->lmtp;
}

bool server_is_extended(const struct server *s)
{
	return s->extended;
}

const char *server_helo(const struct server *s)
{
	return s->helo;
}

const char *server_auth_name(const struct server *s)
{
	return s->name;
}
