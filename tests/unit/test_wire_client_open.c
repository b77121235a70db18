/*
 * From the greeting to CLIENT_READY: what is required of the peer before it gets a password or
 * mail (CASES D7 to D10).
 */
#include "client_talk.h"

#include "wire/sasl.h"

struct opening {
	const char *name;
	enum relay_tls tls;
	bool secret, lmtp;
	const char *offers, *offers_tls;
	struct { /* as in struct peer_trick */
		const char *verb;
		unsigned nth;
		const char *say;
	} trick[2];
	enum client_state state;
	enum step step;   /* of the fault, when it is dead */
	int code;         /* the same; 0: lost or unexpected */
	const char *said; /* all of it */
};

#define LHLO  "LHLO me.example\n"
#define EHLO  "EHLO me.example\n"
#define PLAIN "AUTH PLAIN AHUAcHc=\n" /* NUL u NUL pw */

static const struct opening openings[] = {
	/* clang-format off */
	{ .name = "the plainest", .offers = "", .state = CLIENT_READY, .said = EHLO },
	{ .name = "LMTP", .lmtp = true, .offers = "", .state = CLIENT_READY, .said = LHLO },
	{ .name = "STARTTLS as it is offered", .offers = "STARTTLS", .state = CLIENT_READY,
		.said = EHLO "STARTTLS\n" EHLO },
	{ .name = "STARTTLS required", .tls = RELAY_TLS_STARTTLS, .offers = "STARTTLS",
		.state = CLIENT_READY, .said = EHLO "STARTTLS\n" EHLO },
	{ .name = "STARTTLS offered again under TLS is no loop", .tls = RELAY_TLS_STARTTLS,
		.offers = "STARTTLS", .offers_tls = "STARTTLS\nSIZE", .state = CLIENT_READY,
		.said = EHLO "STARTTLS\n" EHLO },
	{ .name = "wrapped", .tls = RELAY_TLS_WRAPPED, .offers = "STARTTLS", .state = CLIENT_READY,
		.said = EHLO },
	{ .name = "AUTH PLAIN before LOGIN", .tls = RELAY_TLS_WRAPPED, .secret = true,
		.offers = "AUTH LOGIN PLAIN", .state = CLIENT_READY, .said = EHLO PLAIN },
	{ .name = "AUTH after STARTTLS", .tls = RELAY_TLS_STARTTLS, .secret = true,
		.offers = "STARTTLS", .offers_tls = "AUTH PLAIN", .state = CLIENT_READY,
		.said = EHLO "STARTTLS\n" EHLO PLAIN },
	{ .name = "no AUTH without a secret", .tls = RELAY_TLS_WRAPPED, .offers = "AUTH PLAIN",
		.state = CLIENT_READY, .said = EHLO },

	/* what was promised to the operator */
	{ .name = "STARTTLS stripped", .tls = RELAY_TLS_STARTTLS, .secret = true,
		.offers = "AUTH PLAIN", .state = CLIENT_DEAD, .step = STEP_STARTTLS, .said = EHLO },
	{ .name = "no password to whom is not verified", .secret = true,
		.offers = "STARTTLS", .offers_tls = "AUTH PLAIN", .state = CLIENT_DEAD,
		.step = STEP_AUTH, .said = EHLO "STARTTLS\n" EHLO },
	{ .name = "no password in the clear", .secret = true, .offers = "AUTH PLAIN",
		.state = CLIENT_DEAD, .step = STEP_AUTH, .said = EHLO },
	{ .name = "AUTH offered before TLS only: forgotten", .tls = RELAY_TLS_STARTTLS,
		.secret = true, .offers = "STARTTLS\nAUTH PLAIN", .offers_tls = "SIZE",
		.state = CLIENT_DEAD, .step = STEP_AUTH, .said = EHLO "STARTTLS\n" EHLO },
	{ .name = "a mechanism that we have not", .tls = RELAY_TLS_WRAPPED, .secret = true,
		.offers = "AUTH CRAM-MD5", .state = CLIENT_DEAD, .step = STEP_AUTH, .said = EHLO },

	/* refusals */
	{ .name = "greeting 554", .offers = "", .trick = { { "GREETING", 1, "554 no\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_GREETING, .code = 554, .said = "" },
	{ .name = "greeting 421", .offers = "", .trick = { { "GREETING", 1, "421 busy\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_GREETING, .code = 421, .said = "" },
	{ .name = "greeting 354", .offers = "", .trick = { { "GREETING", 1, "354 go\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_GREETING, .code = 354, .said = "" },
	{ .name = "EHLO 450", .offers = "", .trick = { { "EHLO", 1, "450 later\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_EHLO, .code = 450, .said = EHLO },
	{ .name = "EHLO 421", .offers = "", .trick = { { "EHLO", 1, "421 busy\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_EHLO, .code = 421, .said = EHLO },
	{ .name = "EHLO 502, HELO 250", .offers = "PIPELINING",
		.trick = { { "EHLO", 1, "502 what\r\n" } }, .state = CLIENT_READY,
		.said = EHLO "HELO me.example\n" },
	{ .name = "EHLO 502, HELO 502", .offers = "", .trick = { { "EHLO", 0, "502 what\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_EHLO, .code = 502,
		.said = EHLO "HELO me.example\n" },
	{ .name = "LHLO 500", .lmtp = true, .offers = "",
		.trick = { { "EHLO", 1, "500 what\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_EHLO, .code = 500, .said = LHLO },
	{ .name = "no HELO where TLS is required", .tls = RELAY_TLS_STARTTLS, .offers = "",
		.trick = { { "EHLO", 1, "502 what\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_EHLO, .code = 502, .said = EHLO },
	{ .name = "no HELO where there is a secret", .secret = true, .offers = "",
		.trick = { { "EHLO", 1, "502 what\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_EHLO, .code = 502, .said = EHLO },
	{ .name = "no HELO under TLS", .offers = "STARTTLS",
		.trick = { { "EHLO", 2, "502 what\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_EHLO, .code = 502, .said = EHLO "STARTTLS\n" EHLO },
	{ .name = "STARTTLS 454, not required", .offers = "STARTTLS\nSIZE",
		.trick = { { "STARTTLS", 1, "454 no TLS today\r\n" } }, .state = CLIENT_READY,
		.said = EHLO "STARTTLS\n" },
	{ .name = "STARTTLS 454, required", .tls = RELAY_TLS_STARTTLS, .offers = "STARTTLS",
		.trick = { { "STARTTLS", 1, "454 no TLS today\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_STARTTLS, .code = 454, .said = EHLO "STARTTLS\n" },
	{ .name = "STARTTLS 421, not required", .offers = "STARTTLS",
		.trick = { { "STARTTLS", 1, "421 bye\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_STARTTLS, .code = 421, .said = EHLO "STARTTLS\n" },
	{ .name = "AUTH 535", .tls = RELAY_TLS_WRAPPED, .secret = true, .offers = "AUTH PLAIN",
		.trick = { { "AUTH", 1, "535 Authentication Credentials Invalid\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_AUTH, .code = 535, .said = EHLO PLAIN },
	{ .name = "AUTH 454", .tls = RELAY_TLS_WRAPPED, .secret = true, .offers = "AUTH PLAIN",
		.trick = { { "AUTH", 1, "454 Temporary authentication failure\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_AUTH, .code = 454, .said = EHLO PLAIN },
	{ .name = "AUTH 421", .tls = RELAY_TLS_WRAPPED, .secret = true, .offers = "AUTH PLAIN",
		.trick = { { "AUTH", 1, "421 bye\r\n" } }, .state = CLIENT_DEAD, .step = STEP_AUTH,
		.code = 421, .said = EHLO PLAIN },
	{ .name = "AUTH 334 after all was said", .tls = RELAY_TLS_WRAPPED, .secret = true,
		.offers = "AUTH PLAIN", .trick = { { "AUTH", 1, "334 Ok\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_AUTH, .said = EHLO PLAIN },

	/* octets that can't be, and D9 */
	{ .name = "STARTTLS, and octets before TLS", .offers = "STARTTLS",
		.trick = { { "STARTTLS", 1, "220 go\r\n250 Ok\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_STARTTLS, .said = EHLO "STARTTLS\n" },
	{ .name = "STARTTLS, and one octet before TLS", .tls = RELAY_TLS_STARTTLS,
		.offers = "STARTTLS", .trick = { { "STARTTLS", 1, "220 go\r\n2" } },
		.state = CLIENT_DEAD, .step = STEP_STARTTLS, .said = EHLO "STARTTLS\n" },
	{ .name = "greeting garbage", .offers = "", .trick = { { "GREETING", 1, "SSH-2.0\r\n" } },
		.state = CLIENT_DEAD, .step = STEP_GREETING, .said = "" },
	{ .name = "two greetings", .offers = "",
		.trick = { { "GREETING", 1, "220 a\r\n220 b\r\n" } }, .state = CLIENT_DEAD,
		.step = STEP_EHLO, .code = 220, .said = "" },
	/* clang-format on */
};

static void open_talk(struct talk *k, const struct opening *o)
{
	k->relay.tls = o->tls;
	if (o->secret) {
		snprintf(k->relay.user, sizeof k->relay.user, "u");
		snprintf(k->relay.password, sizeof k->relay.password, "pw");
	}
	k->peer.lmtp = o->lmtp;
	k->peer.offers = o->offers;
	k->peer.offers_tls = o->offers_tls;
	for (int i = 0; i < 2; i++)
		k->peer.trick[i] = (struct peer_trick) { o->trick[i].verb, o->trick[i].nth,
			o->trick[i].say, false };
	talk_start(k);
}

static void test_openings(void **state)
{
	for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
		const struct opening *o = &openings[i];
		struct talk k = { 0 };
		open_talk(&k, o);
		talk_run(&k);
		if (client_state(k.c) != o->state || strcmp(buf_str(&k.peer.log), o->said) != 0)
			fail_msg("%s: state %d, said:\n%s", o->name, client_state(k.c),
				buf_str(&k.peer.log));
		if (o->state == CLIENT_DEAD) {
			const struct outcome *f = client_fault(k.c);
			assert_int_equal(f->step, o->step);
			assert_int_equal(f->reply.code, o->code);
			assert_true(f->reply.text[0] != '\0');
			assert_int_equal(client_output(k.c, k.now_ms).n, 0);
		}
		talk_end(&k);
	}
}

/* The same, cut at random (but for those whose point is what comes in one piece). */
static void test_openings_in_pieces(void **state)
{
	for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
		for (unsigned seed = 1; seed < 20; seed++) {
			const struct opening *o = &openings[i];
			struct talk k = { .seed = seed };
			if (strstr(o->name, "before TLS") || strstr(o->name, "two greetings"))
				continue;
			open_talk(&k, o);
			talk_run(&k);
			assert_int_equal(client_state(k.c), o->state);
			assert_string_equal(buf_str(&k.peer.log), o->said);
			talk_end(&k);
		}
}

/* D1: after each octet of the peer's. Never ready before its last, no password before TLS. */
static void test_openings_cut(void **state)
{
	for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
		const struct opening *o = &openings[i];
		if (o->state != CLIENT_READY)
			continue;
		for (uint64_t n = 1;; n++) {
			struct talk k = { .reply_max = n };
			open_talk(&k, o);
			talk_run(&k);
			size_t len = k.peer.log.len;
			assert_true(len <= strlen(o->said));
			assert_memory_equal(buf_str(&k.peer.log), o->said, len);
			bool ready = client_state(k.c) == CLIENT_READY;
			assert_int_equal(ready, k.told == k.peer.said && len == strlen(o->said));
			client_cut(k.c, STEP_EHLO, "cut", k.now_ms);
			assert_int_equal(client_state(k.c), CLIENT_DEAD);
			assert_true(client_fault(k.c)->lost);
			talk_end(&k);
			if (ready)
				break;
		}
	}
}

static void test_login(void **state)
{
	struct talk k = { 0 };
	struct opening o = { .tls = RELAY_TLS_WRAPPED,
		.secret = true,
		.offers = "AUTH LOGIN",
		.trick = { { "AUTH", 1, "334 VXNlcm5hbWU6\r\n" } } };

	open_talk(&k, &o);
	struct span out;
	static const struct {
		const char *say, *hear;
	} steps[] = { { "dQ==\r\n", "334 UGFzc3dvcmQ6\r\n" }, { "cHc=\r\n", "235 ok\r\n" } };
	/* Up to the first challenge; the answers are no commands, so the peer is played by hand. */
	while (k.peer.log.len < strlen(EHLO "AUTH LOGIN\n")) {
		client_input(k.c, buf_span(&k.peer.out), k.now_ms);
		buf_clear(&k.peer.out);
		out = client_output(k.c, k.now_ms);
		assert_true(out.n > 0);
		peer_hear(&k.peer, out);
		client_written(k.c, out.n, k.now_ms);
	}
	assert_string_equal(buf_str(&k.peer.log), EHLO "AUTH LOGIN\n");
	client_input(k.c, buf_span(&k.peer.out), k.now_ms);
	for (int i = 0; i < 2; i++) {
		out = client_output(k.c, k.now_ms);
		assert_true(span_eq(out, span_of(steps[i].say)));
		client_written(k.c, out.n, k.now_ms);
		client_input(k.c, span_of(steps[i].hear), k.now_ms);
	}
	assert_int_equal(client_state(k.c), CLIENT_READY);
	talk_end(&k);
}

/* A handshake with whom is not who he should be ends it before a word is said. */
static void test_not_verified(void **state)
{
	static const enum relay_tls schemes[] = { RELAY_TLS_STARTTLS, RELAY_TLS_WRAPPED };

	for (int i = 0; i < 2; i++) {
		struct relay relay = { .tls = schemes[i] };
		struct client_options options = { .relay = &relay, .helo = "me", .window = 1 };
		struct client *c = client_new(&options, 1);
		if (i == 0) {
			client_input(c, span_of("220 x\r\n"), 1);
			client_written(c, client_output(c, 1).n, 1);
			client_input(c, span_of("250-x\r\n250 STARTTLS\r\n"), 1);
			client_written(c, client_output(c, 1).n, 1);
			client_input(c, span_of("220 go\r\n"), 1);
			assert_int_equal(client_state(c), CLIENT_TLS);
		}
		client_tls_done(c, false, 1);
		assert_int_equal(client_state(c), CLIENT_DEAD);
		assert_int_equal(client_fault(c)->step, STEP_TLS);
		assert_int_equal(client_output(c, 1).n, 0);
		client_free(c);
	}
}

/* D10: what was offered before TLS, and is not any more, is not used. */
static void test_offers_are_forgotten(void **state)
{
	struct talk k = { .relay.tls = RELAY_TLS_STARTTLS };
	struct message m;

	k.peer.offers = "STARTTLS\nPIPELINING\n8BITMIME\nSIZE 5\nLIMITS RCPTMAX=1";
	k.peer.offers_tls = "ENHANCEDSTATUSCODES";
	talk_start(&k);
	talk_run(&k);
	assert_false(client_ehlo(k.c)->pipelining || client_ehlo(k.c)->size);
	assert_int_equal(client_rcptmax(k.c), 100);
	message_init(&m, 1, 2);
	m.t.eightbit = true;
	assert_int_equal(talk_deliver(&k, &m, 1), 1);
	assert_true(is_sent(&m.rcpt[1].outcome));
	assert_non_null(strstr(buf_str(&k.peer.log), "MAIL FROM:<s1@a.example>\n"));
	talk_end(&k);
}

/* A reply to HELO offers nothing, whatever its lines look like. */
static void test_helo_offers_nothing(void **state)
{
	struct talk k = { .peer.offers = "PIPELINING\nSIZE 5" };

	k.peer.trick[0] = (struct peer_trick) { "EHLO", 1, "502 what\r\n", false };
	talk_start(&k);
	talk_run(&k);
	assert_int_equal(client_state(k.c), CLIENT_READY);
	assert_false(client_ehlo(k.c)->pipelining || client_ehlo(k.c)->size);
	talk_end(&k);
}

static int start_sasl(void **state)
{
	struct err e;

	return sasl_start(true, false, &e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_openings),
		cmocka_unit_test(test_openings_in_pieces),
		cmocka_unit_test(test_openings_cut),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_helo_offers_nothing),
		cmocka_unit_test(test_not_verified),
		cmocka_unit_test(test_offers_are_forgotten),
	};

	return cmocka_run_group_tests(tests, start_sasl, NULL);
}
