/*
 * tls (D8): both ends of it over a socket pair, with certificates made here; OpenSSL itself as the
 * other end where ours would not misbehave. The program starts itself again with an OPENSSL_CONF
 * that forbids TLS 1.3, which must not matter.
 */
#include "wire_pair.h"

#include <signal.h>

static struct pki_pair ca, good, by_ip, expired, early, self_signed, nul, wildcard, partial,
	cn_only;

static void make_certificates(void)
{
	static const char evil[] = "relay.example\0.evil.example";
	const struct {
		struct pki_pair *pair;
		struct pki_options o;
	} t[] = {
		{ &ca, { .cn = "Test CA", .days = 90, .ca = true } },
		{ &good, { .name = "relay.example", .days = 9, .issuer = &ca } },
		{ &by_ip, { .ip = "10.20.8.37", .days = 9, .issuer = &ca } },
		{ &expired, { .name = "relay.example", .begins = -9, .days = 7, .issuer = &ca } },
		{ &early, { .name = "relay.example", .begins = 3, .days = 7, .issuer = &ca } },
		{ &self_signed, { .name = "relay.example", .days = 9 } },
		{ &nul, { .name = evil, .name_n = sizeof evil - 1, .days = 9, .issuer = &ca } },
		{ &wildcard, { .name = "*.sh.example", .days = 9, .issuer = &ca } },
		{ &partial, { .name = "re*.sh.example", .days = 9, .issuer = &ca } },
		{ &cn_only, { .cn = "relay.example", .days = 9, .issuer = &ca } },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		pki_make(t[i].pair, &t[i].o);
}

/* words NULL: accepted. */
static void expect(struct tls_context *client, const struct pki_pair *with, const char *words)
{
	struct pair p;
	struct tls_context *server = server_with(with);

	pair_open(&p, client, server);
	enum tls_io r = shake(&p);
	if (!words) {
		if (r != TLS_OK)
			fail_msg("%s", p.client_err.text);
		assert_true(tls_verified(p.client));
		assert_true(strncmp(tls_describe(p.client), "TLSv1.3 ", 8) == 0);
		talk(&p);
	} else {
		if (r != TLS_FAILED || !strstr(p.client_err.text, words))
			fail_msg("%d, not \"%s\": %s", (int)r, words, p.client_err.text);
		assert_int_equal(p.client_err.code, EX_NOPERM);
		assert_false(tls_verified(p.client));
		/* what an operator compares */
		if (!strstr(p.client_err.text, with->pin))
			fail_msg("no pin in: %s", p.client_err.text);
	}
	pair_close(&p);
	tls_context_unref(server);
	tls_context_unref(client);
}

static struct tls_context *by_ca(const char *host)
{
	return client_with(host, "ca=", ca.certificate);
}

static struct tls_context *by_pin(const char *pin)
{
	return client_with("other.example", "pin=sha256:", pin);
}

static void chains_and_names(void **state)
{
	expect(by_ca("relay.example"), &good, NULL);
	expect(by_ca("RELAY.example"), &good, NULL);
	expect(by_ca("10.20.8.37"), &by_ip, NULL);
	expect(by_ca("relay.sh.example"), &wildcard, NULL);
	expect(by_ca("tokyo.example"), &good, "its certificate is not for tokyo.example");
	expect(by_ca("10.20.8.38"), &by_ip, "its certificate is not for 10.20.8.38");
	expect(by_ca("10.20.8.37"), &good, "its certificate is not for 10.20.8.37");
	expect(by_ca("a.relay.sh.example"), &wildcard, "its certificate is not for");
	expect(by_ca("relay.sh.example"), &partial, "its certificate is not for");
	expect(by_ca("relay.example"), &nul, "its certificate is not for");
	expect(by_ca("relay.example"), &expired, "its certificate expired on 20");
	expect(by_ca("relay.example"), &early, "its certificate is not valid before 20");
	expect(by_ca("relay.example"), &self_signed, "self-signed certificate");
	expect(client_with("relay.example", "", ""), &self_signed, "self-signed certificate");
	expect(client_with("relay.example", "", ""), &good, "issuer is not known here");
	expect(client_with("relay.example", "ca=", self_signed.certificate), &self_signed, NULL);
	/* A name that only the common name has is none (RFC 9525). */
	expect(by_ca("relay.example"), &cn_only, "its certificate is not for");
}

static void pins(void **state)
{
	expect(by_pin(self_signed.pin), &self_signed, NULL);
	expect(by_pin(self_signed.certificate_pin), &self_signed, NULL);
	expect(by_pin(good.pin), &good, NULL);
	expect(by_pin(good.pin), &self_signed, "no pin matches");
	/* An issuer's pin says nothing about the leaf. */
	expect(by_pin(ca.pin), &good, "no pin matches");
	expect(by_pin(expired.pin), &expired, "its certificate expired on 20");
	expect(by_pin(early.certificate_pin), &early, "its certificate is not valid before 20");

	char both[160];
	snprintf(both, sizeof both, "%s,sha256:%s", good.pin, self_signed.pin);
	expect(by_pin(both), &self_signed, NULL);
}

/* "may": whatever the peer has, and never verified. */
static void unverified(void **state)
{
	const struct pki_pair *const any[] = { &self_signed, &expired, &nul };

	for (size_t i = 0; i < 3; i++) {
		struct tls_context *c = client_for("smtp://relay.example"),
				   *s = server_with(any[i]);
		struct pair p;
		pair_open(&p, c, s);
		assert_int_equal(shake(&p), TLS_OK);
		assert_false(tls_verified(p.client));
		talk(&p);
		pair_close(&p);
		tls_context_unref(c);
		tls_context_unref(s);
	}
}

static void files_refused(void **state)
{
	struct err e = { 0 };
	struct relay r;
	char path[128], url[256];

	assert_null(tls_server_context(good.certificate, self_signed.key, &e));
	assert_non_null(strstr(e.text, "does not belong to the certificate"));
	assert_int_equal(e.code, EX_CONFIG);
	assert_null(tls_server_context("/nonexistent.pem", good.key, &e));
	assert_non_null(strstr(e.text, "/nonexistent.pem: No such file"));
	assert_null(tls_server_context(good.certificate, "/nonexistent.key", &e));
	assert_non_null(strstr(e.text, "/nonexistent.key: No such file"));
	assert_null(tls_server_context(good.key, good.key, &e));
	assert_non_null(strstr(e.text, "no certificate in PEM form"));
	assert_null(tls_server_context(good.certificate, good.certificate, &e));
	assert_int_equal(e.code, EX_CONFIG);
	assert_int_equal(chmod(good.key, 0644), 0);
	assert_null(tls_server_context(good.certificate, good.key, &e));
	assert_non_null(strstr(e.text, "chmod 600"));
	assert_int_equal(chmod(good.key, 0640), 0);
	struct tls_context *s = tls_server_context(good.certificate, good.key, &e);
	assert_non_null(s);
	tls_context_unref(s);

	snprintf(path, sizeof path, "%s/locked.key", pki_dir);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fchmod(fileno(f), 0600), 0);
	assert_int_equal(PEM_write_PrivateKey(f, good.pkey, EVP_aes_128_cbc(),
				 (unsigned char *)"word", 4, NULL, NULL),
		1);
	fclose(f);
	assert_null(tls_server_context(good.certificate, path, &e));
	assert_non_null(strstr(e.text, "without a passphrase"));
	unlink(path);

	snprintf(url, sizeof url, "lmtps://h.example ca=%s", good.key);
	assert_int_equal(relay_parse(span_of(url), &r, NULL), 0);
	assert_null(tls_client_context(&r, &e));
	assert_int_equal(e.code, EX_CONFIG);
}

/* --- octets --- */

static void ends(void **state)
{
	struct tls_context *c = by_ca("relay.example"), *s = server_with(&good);
	struct pair p;
	struct err e = { 0 };
	char in[8];
	size_t n = 77;

	/* in an orderly way */
	pair_open(&p, c, s);
	assert_int_equal(shake(&p), TLS_OK);
	talk(&p);
	assert_int_equal(tls_read(p.client, in, sizeof in, &n, &e), TLS_WANT_READ);
	tls_shutdown(p.server);
	tls_shutdown(p.server);
	assert_int_equal(tls_read(p.client, in, sizeof in, &n, &e), TLS_EOF);
	pair_close(&p);

	/* cut: what came before it is given, the end is not taken for one */
	pair_open(&p, c, s);
	assert_int_equal(shake(&p), TLS_OK);
	talk(&p);
	close(p.fd[1]);
	p.fd[1] = -1;
	n = 77;
	assert_int_equal(tls_read(p.client, in, sizeof in, &n, &e), TLS_FAILED);
	assert_non_null(strstr(e.text, "cut"));
	assert_int_equal(n, 77);
	tls_shutdown(p.client); /* does nothing after a fault */
	pair_close(&p);

	/* cut in the handshake */
	pair_open(&p, c, NULL);
	assert_int_equal(tls_handshake(p.client, &e), TLS_WANT_READ);
	close(p.fd[1]);
	p.fd[1] = -1;
	assert_int_equal(tls_handshake(p.client, &e), TLS_FAILED);
	pair_close(&p);
	tls_context_unref(c);
	tls_context_unref(s);
}

static void much_in_pieces(void **state)
{
	struct tls_context *c = by_ca("relay.example"), *s = server_with(&good);
	size_t size = 3 << 20, sent = 0, got = 0, n;
	char *out = malloc(size), in[10000];
	struct pair p;

	assert_non_null(out);
	for (size_t i = 0; i < size; i++)
		out[i] = (char)(i * 7 + i / 251);
	pair_open(&p, c, s);
	assert_int_equal(shake(&p), TLS_OK);
	while (got < size) {
		if (sent < size) {
			size_t piece = size - sent < 50000 ? size - sent : 50000;
			enum tls_io r = tls_write(p.client, out + sent, piece, &n, NULL);
			assert_true(r == TLS_OK || r == TLS_WANT_WRITE);
			if (r == TLS_OK)
				sent += n;
		}
		while (tls_read(p.server, in, sizeof in, &n, NULL) == TLS_OK) {
			assert_true(got + n <= size);
			assert_memory_equal(in, out + got, n);
			got += n;
		}
	}
	pair_close(&p);
	free(out);
	tls_context_unref(c);
	tls_context_unref(s);
}

static void garbage(void **state)
{
	static const char *const lines[] = { "EHLO client.example\r\n", "GET / HTTP/1.0\r\n\r\n",
		"\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff\xff" };
	struct tls_context *s = server_with(&good);

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct pair p;
		struct err e = { 0 };
		pair_open(&p, NULL, s);
		assert_int_equal(write(p.fd[0], lines[i], strlen(lines[i])), strlen(lines[i]));
		shutdown(p.fd[0], SHUT_WR);
		assert_int_equal(tls_handshake(p.server, &e), TLS_FAILED);
		assert_true(*e.text != '\0');
		pair_close(&p);
	}
	tls_context_unref(s);
}

/* Starts the program again under a configuration that would be felt. */
static void under_configuration(char **argv)
{
	char path[] = "/tmp/cenmail-openssl-XXXXXX";
	static const char text[] = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
				   "[c]\nMaxProtocol = TLSv1.2\n";

	if (secure_getenv("OPENSSL_CONF"))
		return;
	int fd = mkostemp(path, 0);
	if (fd < 0 || write(fd, text, sizeof text - 1) != sizeof text - 1)
		abort();
	close(fd);
	setenv("OPENSSL_CONF", path, 1);
	execv("/proc/self/exe", argv);
	abort();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_and_names),
		cmocka_unit_test(pins),
		cmocka_unit_test(unverified),
		cmocka_unit_test(files_refused),
		cmocka_unit_test(ends),
		cmocka_unit_test(much_in_pieces),
		cmocka_unit_test(garbage),
	};
	under_configuration(argv);
	signal(SIGPIPE, SIG_IGN);
	pki_init();
	make_certificates();
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	pki_done();
	unlink(secure_getenv("OPENSSL_CONF"));
	return r;
}
