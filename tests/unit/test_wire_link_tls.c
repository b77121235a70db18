/*
 * link: TLS from the first byte and by STARTTLS, and those who would have it without.
 */
#include "wire/sasl.h"
#include "wire_peer.h"
#include "wire_pki.h"

#include <signal.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silent_handshake),
		cmocka_unit_test(starttls_stripped),
		cmocka_unit_test(early_octets),
		cmocka_unit_test(early_octets_later),
		cmocka_unit_test(ready_and_quit),
		cmocka_unit_test(wrong_pin),
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
