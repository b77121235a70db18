/*
 * link: connecting, deadlines, cuts, content and the end, in the clear.
 */
#include "wire_peer.h"

#include <signal.h>

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
	run(&s, CLIENT_READY);
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
		cmocka_unit_test(cuts),
		cmocka_unit_test(quit_unanswered),
		cmocka_unit_test(content_goes_and_comes_back),
		cmocka_unit_test(waits_end),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
