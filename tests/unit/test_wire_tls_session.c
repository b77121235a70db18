/*
 * tls: sessions that go on, contexts that threads share, and OpenSSL itself as the other end where
 * ours would not misbehave.
 */
#include "wire_pair.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>

#define DAY_MS ((int64_t)86400000)

static struct pki_pair good, self_signed, ca;

static struct tls_context *by_ca(const char *host)
{
	return client_with(host, "ca=", ca.certificate);
}

static struct tls_context *by_pin(const char *pin)
{
	return client_with("other.example", "pin=sha256:", pin);
}

/* --- sessions --- */

static void resumption(void **state)
{
	const struct pki_pair *const servers[] = { &good, &self_signed };

	for (size_t i = 0; i < 2; i++) {
		struct tls_context *c = i ? by_pin(self_signed.pin) : by_ca("relay.example");
		struct tls_context *s = server_with(servers[i]);
		struct pair p;

		for (int k = 0; k < 3; k++) {
			pair_open(&p, c, s);
			assert_int_equal(shake(&p), TLS_OK);
			assert_int_equal(tls_resumed(p.client), k > 0);
			assert_true(tls_verified(p.client));
			talk(&p);
			pair_close(&p);
		}
		/* The certificate's time is over in between: a session does not outlive it. */
		clock_shift_wall(10 * DAY_MS);
		pair_open(&p, c, s);
		enum tls_io r = shake(&p);
		if (r != TLS_FAILED || !strstr(p.client_err.text, "expired"))
			fail_msg("%d %s", (int)r, p.client_err.text);
		pair_close(&p);
		pair_open(&p, c, s);
		assert_int_equal(shake(&p), TLS_FAILED);
		assert_false(tls_resumed(p.client));
		pair_close(&p);
		clock_shift_wall(-10 * DAY_MS);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}

struct shared {
	struct tls_context *client, *server;
};

static void *connect_often(void *arg)
{
	struct shared *x = arg;

	for (int k = 0; k < 10; k++) {
		struct pair p;
		pair_open(&p, x->client, x->server);
		assert_int_equal(shake(&p), TLS_OK);
		talk(&p);
		pair_close(&p);
	}
	return NULL;
}

static void threads_share_contexts(void **state)
{
	struct shared x = { by_ca("relay.example"), server_with(&good) };
	pthread_t t[8];

	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, connect_often, &x), 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	tls_context_unref(x.client);
	tls_context_unref(x.server);
}

/* --- OpenSSL itself as the other end --- */

static SSL_CTX *raw_context(bool server, int version)
{
	SSL_CTX *x = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	assert_non_null(x);
	SSL_CTX_set_security_level(x, 0); /* else it would refuse old versions itself */
	assert_int_equal(SSL_CTX_set_min_proto_version(x, version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(x, version), 1);
	if (server) {
		assert_int_equal(
			SSL_CTX_use_certificate_file(x, good.certificate, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(x, good.key, SSL_FILETYPE_PEM), 1);
	}
	return x;
}

static void old_versions(void **state)
{
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION };
	struct tls_context *c = by_ca("relay.example"), *s = server_with(&good);

	for (size_t i = 0; i < 2; i++) {
		struct pair p;
		struct err e = { 0 };
		SSL_CTX *x = raw_context(true, versions[i]);
		SSL *raw = SSL_new(x);
		pair_open(&p, c, NULL);
		SSL_set_fd(raw, p.fd[1]);
		assert_int_equal(tls_handshake(p.client, &e), TLS_WANT_READ);
		assert_true(SSL_accept(raw) != 1);
		assert_int_equal(tls_handshake(p.client, &e), TLS_FAILED);
		if (!strstr(e.text, "no TLS version in common"))
			fail_msg("%s", e.text);
		pair_close(&p);
		SSL_free(raw);
		SSL_CTX_free(x);

		x = raw_context(false, versions[i]);
		raw = SSL_new(x);
		pair_open(&p, NULL, s);
		SSL_set_fd(raw, p.fd[0]);
		assert_true(SSL_connect(raw) != 1);
		assert_int_equal(tls_handshake(p.server, &e), TLS_FAILED);
		if (!strstr(e.text, "no TLS version in common"))
			fail_msg("%s", e.text);
		pair_close(&p);
		SSL_free(raw);
		SSL_CTX_free(x);
	}
	tls_context_unref(c);
	tls_context_unref(s);
}

/* OpenSSL 3 refuses it by itself; 1.1.1 only because we say so. */
static void no_renegotiation(void **state)
{
	struct tls_context *s = server_with(&good);
	struct pair p;
	char in[16];
	size_t n = 0;
	SSL_CTX *x = raw_context(false, TLS1_2_VERSION);
	SSL *raw = SSL_new(x);

	pair_open(&p, NULL, s);
	SSL_set_fd(raw, p.fd[0]);
	enum tls_io r = TLS_WANT_READ;
	for (int i = 0; i < 20; i++) {
		(void)SSL_connect(raw);
		if (r != TLS_OK)
			r = tls_handshake(p.server, NULL);
	}
	assert_int_equal(r, TLS_OK);
	assert_true(SSL_is_init_finished(raw));
	assert_int_equal(strncmp(tls_describe(p.server), "TLSv1.2 ", 8), 0);
	assert_int_equal(SSL_get_secure_renegotiation_support(raw), 1);
	assert_int_equal(SSL_renegotiate(raw), 1);
	int ok = 0;
	for (int i = 0; i < 20 && ok == 0; i++) {
		int did = SSL_do_handshake(raw);
		int kind = SSL_get_error(raw, did);
		if (did == 1 || kind == SSL_ERROR_SSL || kind == SSL_ERROR_SYSCALL)
			ok = did == 1 ? 1 : -1;
		(void)tls_read(p.server, in, sizeof in, &n, NULL);
	}
	assert_int_equal(ok, -1);
	pair_close(&p);
	SSL_free(raw);
	SSL_CTX_free(x);
	tls_context_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resumption),
		cmocka_unit_test(threads_share_contexts),
		cmocka_unit_test(old_versions),
		cmocka_unit_test(no_renegotiation),
	};
	signal(SIGPIPE, SIG_IGN);
	pki_init();
	pki_make(&ca, &(struct pki_options) { .cn = "Test CA", .days = 90, .ca = true });
	pki_make(
		&good, &(struct pki_options) { .name = "relay.example", .days = 9, .issuer = &ca });
	pki_make(&self_signed, &(struct pki_options) { .name = "relay.example", .days = 9 });
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	pki_done();
	return r;
}
