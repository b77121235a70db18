/*
 * The events of the engine: a transaction becomes a draft, and its end a row in the queue; or a
 * refusal, with the words that the command line would have had. Then the octets: in, through the
 * engine, and out, without waiting for a caller that writes before it reads.
 */
#include "sendmail/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "sendmail/fallback.h"
#include "wire/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define IN_MAX  (16 * 1024)
#define OUT_MAX (1024 * 1024)
#define OUT_UNREAD                                                                                 \
	(64 * 1024) /* replies that the caller does not take: he is not heard until then */

struct session {
	const struct session_options *o;
	struct server *server;
	struct draft *draft; /* NULL between transactions */
	struct server_mail mail;
	char refusal[400]; /* fits a reply line */

	char in[IN_MAX];
	size_t in_len, in_off;
	struct buf out;
	char code[4];         /* of the last reply */
	bool any;             /* something was read */
	bool ended;           /* the input is at its end */
	int64_t moved, until; /* monotonic ms: the last octet in or out; the end of it all */
};

/* --- the events --- */

static void on_reply(void *arg, struct span text)
{
	struct session *s = arg;

	memcpy(s->code, text.p, 3);
	buf_add_span(&s->out, text);
}

static const char *refuse(struct session *s, const char *code, const struct err *e)
{
	char text[sizeof(s->refusal) - 16];

	snprintf(s->refusal, sizeof(s->refusal), "%s %s", code,
		log_printable(span_of(e->text), text, sizeof(text)));
	s->o->refused(s->refusal, s->o->draft.caller);
	return s->refusal;
}

/* Whose fault is none of the caller's. */
static const char *refuse_for_now(struct session *s, const struct err *e)
{
	return refuse(s, e->code == EX_CONFIG ? "451 4.3.5" : "451 4.3.0", e);
}

static const char *on_mail(void *arg, const struct server_mail *mail)
{
	struct session *s = arg;
	struct err e = { 0 };
	char path[sizeof(mail->sender) + 2];

	assert(!s->draft);
	s->mail = *mail;
	snprintf(path, sizeof(path), "<%s>", mail->sender);
	if (fallback_room(s->o->draft.conf, &e) != 0)
		return refuse(s, "452 4.3.1", &e);
	s->draft = draft_new(&s->o->draft, &e);
	if (s->draft && draft_set_sender(s->draft, path, &e) == 0)
		return "";
	draft_free(s->draft);
	s->draft = NULL;
	return e.code == EX_DATAERR ? refuse(s, "553 5.1.7", &e) : refuse_for_now(s, &e);
}

static const char *on_rcpt(void *arg, const struct server_rcpt *r)
{
	struct session *s = arg;
	struct err e = { 0 };
	char path[sizeof(r->address.text) + 2];

	snprintf(path, sizeof(path), "<%s>", r->address.text);
	if (draft_add_recipients(s->draft, span_of(path), r->notify, r->orcpt, &e) == 0)
		return "";
	if (draft_is_full(s->draft))
		return refuse(s, "452 4.5.3", &e);
	if (e.code == EX_NOUSER)
		return refuse(s, "550 5.1.1", &e);
	return e.code == EX_DATAERR ? refuse(s, "553 5.1.3", &e) : refuse_for_now(s, &e);
}

static const char *on_content(void *arg, struct span in)
{
	struct session *s = arg;
	struct err e = { 0 };

	if (intake_add(draft_intake(s->draft), in, &e) == 0)
		return NULL;
	if (e.code == EX_DATAERR) /* a ceiling */
		return refuse(s, "552 5.3.4", &e);
	return refuse(s, "452 4.3.1", &e);
}

/* There is room for the reply first: what is stored must be said to be. */
static int store(struct session *s, struct submitted *ret, struct err *e)
{
	const struct draft_wishes wishes = { .eightbit = s->mail.eightbit,
		.notify = "",
		.ret = s->mail.ret[0] ? s->mail.ret : NULL,
		.envid = s->mail.envid[0] ? s->mail.envid : NULL };

	if (!buf_room(&s->out, sizeof(s->refusal) + 2))
		return err_set(e, EX_TEMPFAIL, "out of memory");
	if (intake_end(draft_intake(s->draft), e) != 0)
		return -1;
	return draft_store(s->draft, &wishes, ret, e);
}

static void say(struct session *s, const char *line)
{
	char text[sizeof(s->refusal) + 2];

	snprintf(text, sizeof(text), "%s\r\n", line);
	on_reply(s, span_of(text));
}

static void on_message(void *arg, bool lmtp, bool eightbit)
{
	struct session *s = arg;
	struct submitted m;
	struct err e = { 0 };
	char line[100];

	if (store(s, &m, &e) != 0) {
		say(s, e.code == EX_DATAERR ? refuse(s, "554 5.6.0", &e) : refuse_for_now(s, &e));
	} else {
		if (m.id != 0)
			snprintf(line, sizeof(line), "250 2.0.0 Ok: queued as %010" PRId64, m.id);
		else /* in incoming/, by this name */
			snprintf(line, sizeof(line), "250 2.0.0 Ok: queued as %s", m.key);
		say(s, line);
		s->o->stored(&m, s->o->draft.caller);
		submitted_done(&m);
	}
	server_pause(s->server, true); /* so that it is said before the next one is taken */
}

static void on_reset(void *arg)
{
	struct session *s = arg;

	draft_free(s->draft);
	s->draft = NULL;
}

static const struct server_ops ops = { on_reply, on_mail, on_rcpt, on_content, on_message, on_reset,
	NULL };

/* --- the octets --- */

static bool is_open(const struct session *s)
{
	return server_state(s->server) == SERVER_OPEN;
}

/* There is input that the engine may have. */
static bool can_feed(const struct session *s)
{
	return is_open(s) && s->in_off < s->in_len && s->out.len < OUT_UNREAD;
}

static void feed(struct session *s)
{
	size_t used;

	server_pause(s->server, false);
	server_input(s->server, span_make(s->in + s->in_off, s->in_len - s->in_off), &used);
	s->in_off += used;
}

static int read_some(struct session *s, struct err *e)
{
	ssize_t n = read(s->o->in, s->in, sizeof(s->in));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(e, s->any ? EX_IOERR : EX_NOINPUT, "standard input can't be read");
	s->any = true;
	s->ended = n == 0;
	s->in_off = 0;
	s->in_len = (size_t)n;
	s->moved = clock_mono_ms();
	return 0;
}

/* No more than a pipe that is ready takes without waiting, as the descriptor may well wait. */
static int write_some(struct session *s, struct err *e)
{
	ssize_t n = write(s->o->out, s->out.data, s->out.len < PIPE_BUF ? s->out.len : PIPE_BUF);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(e, EX_IOERR, "standard output can't be written");
	buf_drop(&s->out, (size_t)n);
	s->moved = clock_mono_ms();
	return 0;
}

static int heed_deadline(struct session *s, int64_t deadline, struct err *e)
{
	if (clock_mono_ms() < deadline || (s->out.len == 0 && !is_open(s)))
		return 0;
	if (s->out.len > 0)
		return err_set(e, EX_TEMPFAIL, "the caller does not read our replies");
	server_end(s->server, "421 4.4.2 Timed out: a message without its 250 is not stored");
	return 0;
}

/* Reads and writes what can be, and waits for it unless there is something else to do. */
static int move(struct session *s, struct err *e)
{
	bool feedable = can_feed(s);
	bool reads = is_open(s) && !s->ended && s->in_off == s->in_len && s->out.len < OUT_UNREAD;
	struct pollfd p[2] = { { .fd = reads ? s->o->in : -1, .events = POLLIN },
		{ .fd = s->out.len > 0 ? s->o->out : -1, .events = POLLOUT } };
	int64_t idle = s->moved + s->o->idle_ms, deadline = idle < s->until ? idle : s->until;

	if (poll(p, 2, feedable ? 0 : clock_poll_timeout(deadline)) < 0 && errno != EINTR)
		return err_sys(e, EX_OSERR, "poll");
	if (p[1].revents && write_some(s, e) < 0)
		return -1;
	if (p[0].revents && read_some(s, e) < 0)
		return -1;
	return heed_deadline(s, deadline, e);
}

static bool is_over(const struct session *s)
{
	return s->out.len == 0 && (!is_open(s) || (s->ended && s->in_off == s->in_len));
}

static int converse(struct session *s, struct err *e)
{
	server_greet(s->server);
	while (!is_over(s)) {
		if (move(s, e) < 0)
			return -1;
		if (can_feed(s))
			feed(s);
		if (s->out.failed)
			return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	if (!is_open(s) && strcmp(s->code, "221") != 0)
		return err_set(e, EX_TEMPFAIL, "the session was ended by a reply %s", s->code);
	return 0;
}

int session_run(const struct session_options *o, struct err *e)
{
	struct session_options own = *o;
	const struct server_options server = { .hostname = o->draft.conf->hostname,
		.message_size = o->draft.conf->message_size,
		.rcptmax = (unsigned)o->draft.conf->recipients_max,
		.offer_dsn = true,
		.bare_names = true,
		.helo_optional = true,
		.mends_content = true };
	struct session *s = calloc(1, sizeof(*s));
	int result = -1;

	own.draft.header_recipients = own.draft.dot_ends = false;
	own.idle_ms = o->idle_ms ? o->idle_ms : SESSION_IDLE_MS;
	if (s) {
		s->o = &own;
		buf_init(&s->out, OUT_MAX);
		s->moved = clock_mono_ms();
		s->until = s->moved + (o->max_ms ? o->max_ms : SESSION_MAX_MS);
		s->server = server_new(&server, &ops, s);
	}
	if (s && s->server)
		result = converse(s, e);
	else
		err_set(e, EX_TEMPFAIL, "out of memory");
	if (s) {
		server_free(s->server);
		draft_free(s->draft);
		buf_done(&s->out);
	}
	free(s);
	return result;
}
