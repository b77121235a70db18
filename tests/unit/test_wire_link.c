/*
 * link: against a peer that is scripted line by line, in a thread, on loopback.
 */
#include "base/clock.h"
#include "wire/conn.h"
#include "wire/link.h"
#include "wire/sasl.h"
#include "wire_pki.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

/* The peer: says `script` piece by piece. '<' waits for a line, '*' for a line and answers TLS,
 * '!' resets, '.' waits until the link has gone; anything else is a line to be said. */
struct peer {
	int listening;
	uint16_t port;
	const char *const *script;
	struct tls_context *tls;
	pthread_t thread;
	char heard[4096];
	bool wrapped;
};

static bool wait_for(struct conn *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	return poll(&p, 1, PATIENCE_MS) == 1;
}

static bool peer_handshake(struct conn *c, struct tls_context *tls)
{
	if (conn_start_tls(c, tls, NULL) < 0)
		return false;
	for (;;) {
		enum conn_io r = conn_handshake(c, NULL);
		if (r == CONN_OK)
			return true;
		if (r != CONN_AGAIN || !wait_for(c, c->wants))
			return false;
	}
}

static bool peer_hear(struct peer *p, struct conn *c)
{
	size_t len = strlen(p->heard), n;
	while (len + 1 < sizeof p->heard) {
		enum conn_io r = conn_read(c, p->heard + len, 1, &n, NULL);
		if (r == CONN_AGAIN) {
			if (!wait_for(c, c->wants))
				return false;
		} else if (r != CONN_OK) {
			return false;
		} else {
			p->heard[++len] = '\0';
			if (p->heard[len - 1] == '\n')
				return true;
		}
	}
	return false;
}

static bool peer_say(struct conn *c, const char *text)
{
	size_t n, done = 0, len = strlen(text);
	while (done < len) {
		enum conn_io r = conn_write(c, text + done, len - done, &n, NULL);
		if (r == CONN_AGAIN && !wait_for(c, c->wants))
			return false;
		if (r != CONN_OK && r != CONN_AGAIN)
			return false;
		if (r == CONN_OK)
			done += n;
	}
	return true;
}

static void *peer_run(void *arg)
{
	struct peer *p = arg;
	struct conn c;
	int fd = accept(p->listening, NULL, NULL);

	conn_init(&c, fd);
	bool ok = fd >= 0 && (!p->wrapped || peer_handshake(&c, p->tls));
	for (const char *const *s = p->script; ok && *s; s++) {
		if (strcmp(*s, "<") == 0) {
			ok = peer_hear(p, &c);
		} else if (strcmp(*s, "*") == 0) {
			ok = peer_handshake(&c, p->tls);
		} else if (strcmp(*s, "!") == 0) {
			const struct linger l = { .l_onoff = 1 };
			setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
		} else if (strcmp(*s, ".") == 0) {
			while (peer_hear(p, &c))
				;
		} else {
			ok = peer_say(&c, *s);
		}
	}
	conn_done(&c);
	return NULL;
}

static int listen_on_loopback(uint16_t *ret_port, int backlog)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void peer_begin(struct peer *p)
{
	p->listening = listen_on_loopback(&p->port, 8);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static void peer_end(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->listening);
}

/* --- the link's side --- */

struct side {
	struct relay relay;
	struct tls_context *tls;
	struct link *link;
};

static void begin(struct side *s, const char *url, unsigned port, const struct link_options *extra)
{
	char text[1024];
	struct link_options o = extra ? *extra : (struct link_options) { 0 };
	struct err e = { 0 };

	snprintf(text, sizeof text, "%s:%u", url, port);
	if (relay_parse(span_of(text), &s->relay, &e) < 0 ||
		!(s->tls = tls_client_context(&s->relay, &e)))
		fail_msg("%s: %s", text, e.text);
	o.client.relay = &s->relay;
	o.client.helo = "client.example";
	o.client.window = 8;
	o.client.window_bytes = 1 << 20;
	o.tls = s->tls;
	s->link = link_new(&o, clock_mono_ms());
	assert_non_null(s->link);
}

static void end(struct side *s)
{
	link_free(s->link);
	tls_context_unref(s->tls);
	relay_done(&s->relay);
}

static enum client_state run(struct side *s, enum client_state until)
{
	int64_t limit = clock_mono_ms() + PATIENCE_MS;

	link_run(s->link, until, limit, -1);
	assert_true(clock_mono_ms() < limit);
	return client_state(link_client(s->link));
}

static void assert_fault(struct side *s, enum step step, const char *words)
{
	const struct outcome *f = client_fault(link_client(s->link));

	if (client_state(link_client(s->link)) != CLIENT_DEAD || f->step != step ||
		!strstr(f->reply.text, words))
		fail_msg("%s, not \"%s\": %s", step_name(f->step), words, f->reply.text);
	assert_int_equal(link_fd(s->link), -1);
}

static void refused(void **state)
{
	struct side s = { 0 };
	uint16_t port;
	char words[64];

	close(listen_on_loopback(&port, 1));
	begin(&s, "lmtp://127.0.0.1", port, NULL);
	assert_int_equal(run(&s, CLIENT_READY), CLIENT_DEAD);
	snprintf(words, sizeof words, "connect to 127.0.0.1[127.0.0.1]:%u: Connection refused",
		port);
	assert_fault(&s, STEP_CONNECT, words);
	assert_true(client_fault(link_client(s.link))->lost);
	end(&s);
}

static void names_and_ways(void **state)
{
	struct side s = { 0 };

	begin(&s, "lmtp://no.such.host.invalid", 25, NULL);
	assert_fault(&s, STEP_CONNECT, "can't resolve no.such.host.invalid: ");
	end(&s);
	/* link-local and without an interface: refused at once */
	begin(&s, "lmtp://[fe80::1]", 25, NULL);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_CONNECT, "connect to fe80::1[fe80::1]:25: ");
	end(&s);
}

/* A socket whose queue of connections is full answers nothing. */
static void black_hole(void **state)
{
	struct side s = { 0 };
	struct link_options o = { .connect_ms = 200 };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fill[8];
	uint16_t port;
	int fd = listen_on_loopback(&port, 0);

	a.sin_port = htons(port);
	for (size_t i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fill[i], (struct sockaddr *)&a, sizeof a);
	}
	int64_t began = clock_mono_ms();
	begin(&s, "lmtp://127.0.0.1", port, &o);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_CONNECT, ": timed out after 0.2 s");
	assert_in_range(clock_mono_ms() - began, 200, 5000);
	end(&s);
	for (size_t i = 0; i < 8; i++)
		close(fill[i]);
	close(fd);
}

static void silent_peers(void **state)
{
	static const char *const no_greeting[] = { ".", NULL };
	static const char *const no_ehlo[] = { "220 here\r\n", ".", NULL };
	static const struct {
		const char *const *script;
		enum step step;
		const char *words;
	} t[] = {
		{ no_greeting, STEP_GREETING,
			": timed out while waiting for the greeting after 0.3 s" },
		{ no_ehlo, STEP_EHLO, ": timed out while waiting for the reply to EHLO after 0." },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct link_options o = { .client.reply_ms = 300 };
		struct peer p = { .script = t[i].script };
		struct side s = { 0 };
		peer_begin(&p);
		begin(&s, "lmtp://127.0.0.1", p.port, &o);
		run(&s, CLIENT_READY);
		assert_fault(&s, t[i].step, t[i].words);
		end(&s);
		peer_end(&p);
	}
}

/* A peer that takes the connection and never speaks TLS. */
static void silent_handshake(void **state)
{
	static const char *const script[] = { ".", NULL };
	struct link_options o = { .connect_ms = 300 };
	struct peer p = { .script = script };
	struct side s = { 0 };

	peer_begin(&p);
	begin(&s, "lmtps://127.0.0.1", p.port, &o);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_TLS, ": timed out while waiting for the TLS handshake after 0.3 s");
	end(&s);
	peer_end(&p);
}

static void cuts(void **state)
{
	static const char *const at_once[] = { NULL };
	static const char *const reset[] = { "220 here\r\n", "<", "!", NULL };
	static const char *const farewell[] = { "421 4.3.2 stopping\r\n", NULL };
	static const struct {
		const char *const *script;
		enum step step;
		const char *words;
	} t[] = {
		{ at_once, STEP_GREETING,
			": connection closed by the peer while waiting for the greeting" },
		{ reset, STEP_EHLO,
			": lost connection: Connection reset by peer while waiting for the reply "
			"to EHLO" },
		{ farewell, STEP_GREETING, "stopping" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct peer p = { .script = t[i].script };
		struct side s = { 0 };
		peer_begin(&p);
		begin(&s, "lmtp://127.0.0.1", p.port, NULL);
		run(&s, CLIENT_READY);
		assert_fault(&s, t[i].step, t[i].words);
		end(&s);
		peer_end(&p);
	}
}

static void starttls_stripped(void **state)
{
	static const char *const script[] = { "220 here\r\n", "<", "250-here\r\n250 AUTH PLAIN\r\n",
		".", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };

	peer_begin(&p);
	begin(&s, "smtp+starttls://localhost", p.port, NULL);
	assert_int_equal(run(&s, CLIENT_READY), CLIENT_DEAD);
	assert_int_equal(client_fault(link_client(s.link))->step, STEP_STARTTLS);
	end(&s);
	peer_end(&p);
	assert_null(strstr(p.heard, "AUTH"));
	assert_null(strstr(p.heard, "MAIL"));
}

/* Said in one piece with the 220: the client sees it. */
static void early_octets(void **state)
{
	static const char *const script[] = { "220 here\r\n", "<", "250-here\r\n250 STARTTLS\r\n",
		"<", "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n", ".", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };

	peer_begin(&p);
	begin(&s, "smtp+starttls://127.0.0.1", p.port, NULL);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_STARTTLS, "octets between");
	assert_true(client_fault(link_client(s.link))->unexpected);
	end(&s);
	peer_end(&p);
}

/* Said a moment after the 220: they are taken for TLS, which they are not. */
static void early_octets_later(void **state)
{
	static const char *const script[] = { "220 here\r\n", "<", "250-here\r\n250 STARTTLS\r\n",
		"<", "220 go\r\n", "<", "250-evil\r\n250 AUTH PLAIN\r\n", ".", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };

	peer_begin(&p);
	begin(&s, "smtp+starttls://127.0.0.1", p.port, NULL);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_TLS, "does not speak TLS");
	end(&s);
	peer_end(&p);
}

/* --- under TLS --- */

static struct pki_pair server; /* certificate and key of the peer, with its pin */

static void with_tls(
	const char *url, bool wrapped, const char *const *script, struct peer *p, struct side *s)
{
	char text[512];

	*p = (struct peer) { .script = script, .wrapped = wrapped };
	p->tls = tls_server_context(server.certificate, server.key, NULL);
	assert_non_null(p->tls);
	peer_begin(p);
	snprintf(text, sizeof text, "%s:%u pin=sha256:%s", url, p->port, server.pin);
	assert_int_equal(relay_parse(span_of(text), &s->relay, NULL), 0);
	s->tls = tls_client_context(&s->relay, NULL);
	memcpy(s->relay.user, "u", 2);
	memcpy(s->relay.password, "secret", 7);
	const struct link_options o = { .client = { .relay = &s->relay,
						.helo = "client.example",
						.window = 8,
						.window_bytes = 1 << 20 },
		.tls = s->tls };
	s->link = link_new(&o, clock_mono_ms());
	assert_non_null(s->link);
}

static void ready_and_quit(void **state)
{
	static const char *const wrapped[] = { "220 here\r\n", "<",
		"250-here\r\n250 AUTH PLAIN\r\n", "<", "235 in\r\n", "<", "221 bye\r\n", NULL };
	static const char *const starttls[] = { "220 here\r\n", "<", "250-here\r\n250 STARTTLS\r\n",
		"<", "220 go\r\n", "*", "<", "250-here\r\n250 AUTH PLAIN\r\n", "<", "235 in\r\n",
		"<", "221 bye\r\n", NULL };
	for (int i = 0; i < 2; i++) {
		struct peer p;
		struct side s = { 0 };
		uint64_t in = 0, out = 0;
		with_tls(i ? "smtp+starttls://127.0.0.1" : "smtps://127.0.0.1", i == 0,
			i ? starttls : wrapped, &p, &s);
		if (run(&s, CLIENT_READY) != CLIENT_READY)
			fail_msg("%s", client_fault(link_client(s.link))->reply.text);
		assert_true(link_connect_us(s.link) > 0);
		client_quit(link_client(s.link), clock_mono_ms());
		assert_int_equal(run(&s, CLIENT_DEAD), CLIENT_DEAD);
		assert_int_equal(link_fd(s.link), -1);
		link_traffic(s.link, &in, &out);
		assert_true(in > 0);
		assert_int_equal(out, strlen(p.heard));
		end(&s);
		peer_end(&p);
		tls_context_unref(p.tls);
		assert_non_null(strstr(p.heard, "AUTH PLAIN AHUAc2VjcmV0\r\n"));
		assert_non_null(strstr(p.heard, "QUIT\r\n"));
	}
}

/* The wrong pin: nothing is said, not even EHLO. */
static void wrong_pin(void **state)
{
	static const char *const script[] = { "220 here\r\n", ".", NULL };
	struct peer p;
	struct side s = { 0 };
	char right[65];

	memcpy(right, server.pin, sizeof right);
	server.pin[0] = server.pin[0] == '0' ? '1' : '0';
	with_tls("smtps://127.0.0.1", true, script, &p, &s);
	memcpy(server.pin, right, sizeof right);
	run(&s, CLIENT_READY);
	assert_fault(&s, STEP_TLS, "no pin matches");
	assert_fault(&s, STEP_TLS, right);
	end(&s);
	peer_end(&p);
	tls_context_unref(p.tls);
	assert_string_equal(p.heard, "");
}

/* A QUIT whose answer does not come holds nobody up for long. */
static void quit_unanswered(void **state)
{
	static const char *const script[] = { "220 here\r\n", "<", "250 here\r\n", ".", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };

	peer_begin(&p);
	begin(&s, "lmtp://127.0.0.1", p.port, NULL);
	assert_int_equal(run(&s, CLIENT_READY), CLIENT_READY);
	int64_t began = clock_mono_ms();
	client_quit(link_client(s.link), began);
	assert_int_equal(run(&s, CLIENT_DEAD), CLIENT_DEAD);
	assert_true(clock_mono_ms() - began < 10000);
	assert_int_equal(client_fault(link_client(s.link))->step, STEP_QUIT);
	end(&s);
	peer_end(&p);
}

/* Content beyond what sockets hold, to a peer that answers first and reads later; then the cut. */
static void content_goes_and_comes_back(void **state)
{
	static const char *const script[] = { "220 here\r\n", "<",
		"250-here\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "<", "250 ok\r\n", "<",
		"250 ok\r\n", "<", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };
	size_t size = 8 << 20;
	char *content = malloc(size);
	struct client_rcpt r = { .address = "b@example.com" };
	struct transaction t = { .sender = "a@example.com", .rcpt = &r, .rcpts = 1 };

	assert_non_null(content);
	for (size_t i = 0; i < size; i += 2)
		memcpy(content + i, "\r\n", 2);
	t.content = span_make(content, size);
	peer_begin(&p);
	begin(&s, "lmtp://127.0.0.1", p.port, NULL);
	assert_int_equal(run(&s, CLIENT_READY), CLIENT_READY);
	client_submit(link_client(s.link), &t, clock_mono_ms());
	run(&s, CLIENT_DEAD);
	assert_ptr_equal(client_done(link_client(s.link)), &t);
	assert_true(r.outcome.lost);
	assert_false(r.outcome.maybe_sent);
	assert_int_equal(link_fd(s.link), -1);
	end(&s);
	peer_end(&p);
	free(content);
}

/* stop_fd and the deadline end a wait; the link lives on. */
static void waits_end(void **state)
{
	static const char *const script[] = { ".", NULL };
	struct peer p = { .script = script };
	struct side s = { 0 };
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	peer_begin(&p);
	begin(&s, "lmtp://127.0.0.1", p.port, NULL);
	int64_t began = clock_mono_ms();
	link_run(s.link, CLIENT_READY, began + 100, pipe_fd[0]);
	assert_true(clock_mono_ms() - began >= 100);
	assert_true(link_fd(s.link) >= 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	link_run(s.link, CLIENT_READY, began + PATIENCE_MS, pipe_fd[0]);
	assert_true(clock_mono_ms() - began < PATIENCE_MS);
	assert_int_equal(client_state(link_client(s.link)), CLIENT_OPENING);
	/* cut by its owner */
	client_cut(link_client(s.link), STEP_GREETING, "stopping", clock_mono_ms());
	link_step(s.link, 0, clock_mono_ms());
	assert_fault(&s, STEP_GREETING, "stopping");
	end(&s);
	peer_end(&p);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),
		cmocka_unit_test(names_and_ways),
		cmocka_unit_test(black_hole),
		cmocka_unit_test(silent_peers),
		cmocka_unit_test(silent_handshake),
		cmocka_unit_test(cuts),
		cmocka_unit_test(starttls_stripped),
		cmocka_unit_test(early_octets),
		cmocka_unit_test(early_octets_later),
		cmocka_unit_test(ready_and_quit),
		cmocka_unit_test(wrong_pin),
		cmocka_unit_test(quit_unanswered),
		cmocka_unit_test(content_goes_and_comes_back),
		cmocka_unit_test(waits_end),
	};
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	if (sasl_start(true, false, &e) < 0)
		return 1;
	pki_init();
	pki_make(&server, &(struct pki_options) { .name = "localhost", .days = 2 });
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	pki_done();
	return r;
}
