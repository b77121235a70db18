/*
 * The conversation: read, feed the engine, write what is ready, wait; until the client is gone,
 * one of the deadlines passes, or the listener stops.
 */
#include "listen/session_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

/* Ceilings on what one session has in flight; beyond them it is not read from, and a flusher's
 * window grows no further. */
#define FLYING_MESSAGES 128
#define FLYING_OCTETS   (64u << 20)
#define UNREAD_OCTETS   (64 * 1024) /* of replies that the client does not take */

#define HANDSHAKE_MS 60000
#define CROWDED_MS   50 /* how often to look whether the pool has room again */
#define STOPPING_MS  100
#define THREAD_STACK (256 * 1024)
#define OUT_MAX      (4u << 20)

/* Its deadline begins with it. */
static void note_content(struct session *s)
{
	if (!server_in_content(s->server)) {
		s->content_since = 0;
	} else if (s->content_since == 0) {
		s->content_since = clock_mono_ms();
		s->content_from = s->conn.in;
	}
}

/* --- reading and writing; false: the connection is of no use --- */

static bool write_some(struct session *s)
{
	struct err e = { 0 };
	size_t n;

	s->write_wants = 0;
	while (s->out.len > 0) {
		switch (conn_write(&s->conn, s->out.data, s->out.len, &n, &e)) {
		case CONN_OK:
			buf_drop(&s->out, n);
			s->written = clock_mono_ms();
			break;
		case CONN_AGAIN:
			s->write_wants = s->conn.wants;
			return true;
		case CONN_EOF:
		case CONN_FAILED:
			return false;
		}
	}
	return true;
}

static bool read_some(struct session *s)
{
	struct err e = { 0 };
	size_t n;

	switch (conn_read(&s->conn, s->in, sizeof s->in, &n, &e)) {
	case CONN_OK:
		s->in_off = 0;
		s->in_len = n;
		s->read_wants = POLLIN;
		return true;
	case CONN_AGAIN:
		s->read_wants = s->conn.wants;
		return true;
	case CONN_EOF:
		s->ended = true;
		return true;
	case CONN_FAILED:
		break;
	}
	if (server_in_transaction(s->server))
		log_line(LOG_INFO, "listen", "lost connection from [%s]: %s", s->address, e.text);
	return false;
}

static bool handshake(struct session *s)
{
	int64_t until = clock_mono_ms() + HANDSHAKE_MS;
	struct err e = { 0 };

	if (conn_start_tls(&s->conn, s->terms->tls, &e) < 0)
		goto failed;
	for (;;) {
		enum conn_io io = conn_handshake(&s->conn, &e);
		if (io == CONN_OK)
			break;
		if (io != CONN_AGAIN)
			goto failed;
		struct pollfd p[2] = { { s->conn.fd, s->conn.wants, 0 },
			{ s->l->stop.fd, POLLIN, 0 } };
		if (poll(p, 2, clock_poll_timeout(until)) == 0 || p[1].revents) {
			err_set(&e, EX_PROTOCOL, p[1].revents ? "stopping" : "timed out");
			goto failed;
		}
	}
	snprintf(s->tls, sizeof s->tls, "%s", tls_describe(s->conn.tls));
	server_tls_done(s->server, s->tls);
	s->written = clock_mono_ms();
	return true;
failed:
	log_line(LOG_INFO, "listen", "TLS with [%s] failed: %s", s->address, e.text);
	return false;
}

/* --- the engine --- */

bool session_may_read(struct session *s, bool *ret_crowded)
{
	unsigned messages;
	uint64_t octets;

	replies_flying(s->replies, &messages, &octets);
	unsigned all = visitor_flying(s->l->visitors, s->visitor, s->counted, messages);
	s->counted = messages;
	/* A session without any may always bring one. */
	*ret_crowded =
		!pool_room(s->l->pool) || (messages > 0 && all >= s->terms->conf.client_messages);
	bool may = messages < FLYING_MESSAGES && octets < FLYING_OCTETS && !*ret_crowded &&
		   s->out.len < UNREAD_OCTETS;
	server_pause(s->server, !may);
	return may;
}

/* Gives it what was read. True when it took some. */
static bool feed(struct session *s)
{
	size_t used = 0;

	if (s->in_off == s->in_len || server_state(s->server) != SERVER_OPEN)
		return false;
	server_input(s->server, span_make(s->in + s->in_off, s->in_len - s->in_off), &used);
	s->in_off += used;
	note_content(s);
	return used > 0;
}

/* Both say whether there is something new to write. */
static bool heed_stop(struct session *s)
{
	if (!stop_said(&s->l->stop) || server_in_transaction(s->server) ||
		!replies_empty(s->replies) || server_state(s->server) != SERVER_OPEN)
		return false;
	server_end(s->server, "421 4.3.2 cenmail: stopping class=road");
	return true;
}

static bool heed_deadline(struct session *s)
{
	if (clock_mono_ms() < session_deadline(s))
		return false;
	if (s->out.len > 0 || server_state(s->server) != SERVER_OPEN)
		s->gone = true;
	else
		server_end(s->server, "421 4.4.2 cenmail: too slow class=road");
	return true;
}

/* Waits until something can be done, and reads when there is something. */
static void wait_and_read(struct session *s, bool may, bool crowded)
{
	bool open = server_state(s->server) == SERVER_OPEN && !s->ended;
	bool reads = open && s->in_off == s->in_len && (may || server_in_content(s->server));
	bool stopping = stop_said(&s->l->stop);
	struct pollfd p[3] = {
		{ .fd = s->conn.fd,
			.events = (short)(s->write_wants | (reads ? s->read_wants : 0)) },
		{ .fd = replies_fd(s->replies), .events = POLLIN },
		{ .fd = stopping ? -1 : s->l->stop.fd, .events = POLLIN }
	};
	int timeout = clock_poll_timeout(session_deadline(s));

	if (crowded && (timeout < 0 || timeout > CROWDED_MS))
		timeout = CROWDED_MS;
	if (stopping && (timeout < 0 || timeout > STOPPING_MS))
		timeout = STOPPING_MS;
	if (reads && conn_pending(&s->conn))
		timeout = 0;
	if (poll(p, 3, timeout) < 0 && errno != EINTR) {
		s->gone = true;
		return;
	}
	if (p[1].revents)
		replies_woken(s->replies);
	if (reads && (p[0].revents || conn_pending(&s->conn))) {
		if (!read_some(s))
			s->gone = true;
	} else if (p[0].revents & (POLLERR | POLLHUP)) {
		s->gone = true;
	}
}

/* All that will be said has been said. */
static bool is_over(struct session *s)
{
	bool closed =
		server_state(s->server) == SERVER_CLOSED || (s->ended && s->in_off == s->in_len);

	return closed && s->out.len == 0 && replies_empty(s->replies);
}

bool session_turn(struct session *s)
{
	bool crowded, nothing = s->out.len == 0;

	replies_take(s->replies, &s->out);
	if (nothing && s->out.len > 0)
		s->written = clock_mono_ms(); /* from now on it is waited for */
	if (s->out.failed || !write_some(s) || is_over(s))
		return false;
	if (server_state(s->server) == SERVER_WANTS_TLS && s->out.len == 0) {
		s->in_len = s->in_off = 0;
		return handshake(s);
	}
	bool may = session_may_read(s, &crowded);
	if (crowded && s->out.len == 0)
		s->written = clock_mono_ms(); /* it waits for us */
	if (!feed(s) && !heed_stop(s) && !heed_deadline(s))
		wait_and_read(s, may, crowded);
	return !s->gone;
}

/* --- beginning and end --- */

static struct server *make_server(struct session *s)
{
	const struct listener *l = s->l;
	const struct conf_listen *c = &s->terms->conf;
	bool names = door_wants_names(s->terms->door);
	struct server_options o = {
		.hostname = c->hostname,
		.message_size = c->message_size,
		.rcptmax = MESSAGE_RCPTS,
		.offer_lmtp = true,
		.offer_starttls = s->mode == LISTEN_TLS_STARTTLS,
		.require_tls = s->mode == LISTEN_TLS_STARTTLS,
		.offer_auth = names,
		.require_auth = names,
		.offer_chunking = true,
		.offer_limits = true,
		.xonce = journal_offer(l->journal),
	};

	return server_new(&o, &intake_ops, s);
}

static void serve(struct session *s)
{
	log_line(LOG_INFO, "listen", "connect from [%s]", s->address);
	figures_one(&s->l->figures.sessions);
	s->began = s->written = clock_mono_ms();
	if (s->mode != LISTEN_TLS_WRAPPED || handshake(s)) {
		server_greet(s->server);
		while (!s->gone && session_turn(s))
			;
	}
	log_line(LOG_INFO, "listen", "disconnect from [%s] messages=%u", s->address, s->messages);
}

static void session_free(struct session *s)
{
	message_unref(s->message);
	server_free(s->server);
	if (s->visitor)
		(void)visitor_flying(s->l->visitors, s->visitor, s->counted, 0);
	visitor_leave(s->l->visitors, s->visitor);
	terms_unref(s->terms);
	if (s->replies)
		replies_abandon(s->replies);
	replies_unref(s->replies);
	buf_done(&s->out);
	conn_done(&s->conn);
	free(s);
}

static void *session_thread(void *arg)
{
	struct session *s = arg;
	struct listener *l = s->l;

	serve(s);
	session_free(s);
	atomic_fetch_sub(&l->sessions, 1);
	return NULL;
}

static void show_address(const struct sockaddr *sa, char *out, socklen_t size)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)sa;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)sa;

	snprintf(out, size, "unknown");
	if (sa->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		(void)inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, out, size);
	else if (sa->sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &six->sin6_addr, out, size);
	else if (sa->sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &four->sin_addr, out, size);
}

static int start_thread(struct session *s, struct err *e)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, THREAD_STACK);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&s->l->sessions, 1);
	errno = pthread_create(&t, &a, session_thread, s);
	pthread_attr_destroy(&a);
	if (errno == 0)
		return 0;
	atomic_fetch_sub(&s->l->sessions, 1);
	return err_sys(e, EX_OSERR, "a thread for a session");
}

/* Of an address that has too many already it is said, and is no fault. */
static int start_counted(struct session *s, struct err *e)
{
	snprintf(s->client, sizeof s->client, "[%s]", s->address);
	s->visitor =
		visitor_enter(s->l->visitors, s->client, (unsigned)s->terms->conf.client_sessions);
	if (s->visitor)
		return start_thread(s, e);
	figures_one(&s->l->figures.away[AWAY_CLIENT]);
	log_line(LOG_INFO, "listen", "refused connection from [%s]: client_sessions", s->address);
	session_refuse(s->conn.fd, s->mode,
		"421 4.3.2 cenmail: too many sessions of yours class=road retry=30");
	s->conn.fd = -1;
	session_free(s);
	return 0;
}

int session_start(struct listener *l, int fd, const struct sockaddr_storage *peer,
	enum listen_tls tls, struct err *e)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s) {
		close(fd);
		return err_set(e, EX_OSERR, "out of memory");
	}
	s->l = l;
	s->terms = terms_get(&l->terms);
	s->mode = tls;
	s->peer = *peer;
	s->read_wants = POLLIN;
	conn_init(&s->conn, fd);
	buf_init(&s->out, OUT_MAX);
	show_address((const struct sockaddr *)peer, s->address, sizeof s->address);
	s->replies = replies_new();
	s->server = s->replies ? make_server(s) : NULL;
	int r = s->server ? start_counted(s, e) : err_set(e, EX_OSERR, "no memory for a session");
	if (r < 0)
		session_free(s);
	return r;
}

void session_refuse(int fd, enum listen_tls tls, const char *line)
{
	char text[ANSWER_MAX + 3];
	int n = snprintf(text, sizeof text, "%s\r\n", line);

	assert(n > 0 && (size_t)n < sizeof text);
	/* Into an empty socket buffer: it fits, or the client does without. */
	if (tls != LISTEN_TLS_WRAPPED)
		(void)send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}
