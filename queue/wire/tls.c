/*
 * TLS by OpenSSL (the calls that 1.1.1 and 3 have in common). The top half is about contexts, the
 * lower one about connections. Every call into the library starts with an empty error queue,
 * because SSL_get_error() looks at what others left there.
 */
#include "wire/tls.h"

#include "base/clock.h"
#include "wire/certificate.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#define CIPHERS_TLS12 "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP:!DSS"

struct tls_context {
	SSL_CTX *ssl;
	atomic_int refs;
	bool server, verify;
	struct certificate_rule rule; /* for a client: what the peer's has to be */
	pthread_mutex_t lock;         /* of session */
	SSL_SESSION *session;         /* the last one, for the next connection; or NULL */
};

struct tls {
	SSL *ssl;
	struct tls_context *context;
	bool done;     /* the handshake is, and the peer is who it should be */
	bool broken;   /* a fault that OpenSSL allows no further call after */
	bool shut;     /* close_notify was sent */
	char why[400]; /* why the certificate was refused */
	char described[80];
};

/* Before main, so that no other use of libcrypto reads the file that OPENSSL_CONF names first. No
 * clean-up at exit, which other threads might be caught in. */
__attribute__((constructor)) static void ignore_configuration(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

/* The library's own words for its first fault. */
static int set_library_error(struct err *e, int code, const char *what)
{
	unsigned long fault = ERR_peek_error();
	const char *reason = fault ? ERR_reason_error_string(fault) : NULL;

	ERR_clear_error();
	return err_set(e, code, "%s: %s", what, reason ? reason : "the library does not say why");
}

/* --- contexts --- */

/* In place of the library's own check of a chain. */
static int verify_peer(X509_STORE_CTX *store, void *arg)
{
	const struct tls_context *c = arg;
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);

	return !c->verify || certificate_accept(store, &c->rule, t->why, sizeof t->why);
}

static void put_session(struct tls_context *c, SSL_SESSION *session)
{
	pthread_mutex_lock(&c->lock);
	SSL_SESSION *old = c->session;
	c->session = session;
	pthread_mutex_unlock(&c->lock);
	SSL_SESSION_free(old);
}

/* Called with each session that a server gives, in TLS 1.3 from inside tls_read. Copies go in and
 * out, because a connection writes into its session, and one that is cut spoils it. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = SSL_get_app_data(ssl);

	put_session(t->context, SSL_SESSION_dup(session));
	return 0; /* this one stays the library's */
}

static SSL_SESSION *last_session(struct tls_context *c)
{
	pthread_mutex_lock(&c->lock);
	SSL_SESSION *s = c->session ? SSL_SESSION_dup(c->session) : NULL;
	pthread_mutex_unlock(&c->lock);
	return s;
}

static struct tls_context *new_context(bool server, struct err *e)
{
	struct tls_context *c = calloc(1, sizeof *c);

	if (!c) {
		err_set(e, EX_OSERR, "no memory for TLS");
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	atomic_init(&c->refs, 1);
	c->server = server;
	ERR_clear_error();
	c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!c->ssl || SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(c->ssl, CIPHERS_TLS12) != 1) {
		set_library_error(e, EX_SOFTWARE, "TLS can't be set up");
		tls_context_unref(c);
		return NULL;
	}
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_clear_mode(c->ssl, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	return c;
}

static int load_ca(struct tls_context *c, const struct relay *r, struct err *e)
{
	ERR_clear_error();
	if (*r->ca == '\0') {
		if (SSL_CTX_set_default_verify_paths(c->ssl) != 1)
			return set_library_error(e, EX_CONFIG, "the system's CAs");
		return 0;
	}
	X509 *first = certificate_read(r->ca, e); /* for better words than the library has */
	if (!first)
		return -1;
	X509_free(first);
	if (SSL_CTX_load_verify_locations(c->ssl, r->ca, NULL) != 1)
		return set_library_error(e, EX_CONFIG, r->ca);
	return 0;
}

struct tls_context *tls_client_context(const struct relay *r, struct err *e)
{
	struct tls_context *c = new_context(false, e);

	if (!c)
		return NULL;
	c->verify = r->tls != RELAY_TLS_MAY;
	c->rule.pins = r->pins;
	memcpy(c->rule.pin, r->pin, sizeof c->rule.pin);
	memcpy(c->rule.host, r->host, sizeof c->rule.host);
	if (c->verify && c->rule.pins == 0 && load_ca(c, r, e) < 0) {
		tls_context_unref(c);
		return NULL;
	}
	SSL_CTX_set_verify(c->ssl, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_cert_verify_callback(c->ssl, verify_peer, c);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ssl, keep_session);
	return c;
}

static int load_server(
	struct tls_context *c, const char *certificate, const char *path, struct err *e)
{
	X509 *first = certificate_read(certificate, e);
	if (!first)
		return -1;
	X509_free(first);
	EVP_PKEY *key = certificate_read_key(path, e);
	if (!key)
		return -1;
	int r = 0;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(c->ssl, certificate) != 1)
		r = set_library_error(e, EX_CONFIG, certificate);
	else if (SSL_CTX_use_PrivateKey(c->ssl, key) != 1 || SSL_CTX_check_private_key(c->ssl) != 1)
		r = err_set(e, EX_CONFIG, "the key %s does not belong to the certificate %s", path,
			certificate);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return r;
}

struct tls_context *tls_server_context(const char *certificate, const char *key, struct err *e)
{
	static const unsigned char id[] = "cenmail";
	struct tls_context *c = new_context(true, e);

	if (!c)
		return NULL;
	if (load_server(c, certificate, key, e) < 0) {
		tls_context_unref(c);
		return NULL;
	}
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* Tickets carry the sessions; nothing is kept here. */
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c->ssl, id, sizeof id - 1);
	return c;
}

static struct tls_context *ref(struct tls_context *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void tls_context_unref(struct tls_context *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	SSL_SESSION_free(c->session);
	SSL_CTX_free(c->ssl);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* --- connections --- */

static bool is_ip(const char *host)
{
	unsigned char address[16];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Whom the chain has to be for, and when. */
static bool expect_peer(struct tls *t)
{
	const char *host = t->context->rule.host;
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	bool ip = is_ip(host);

	X509_VERIFY_PARAM_set_time(param, (time_t)(clock_wall_ms() / 1000));
	/* RFC 9525: names are in subjectAltName, and a wildcard is a whole label. */
	X509_VERIFY_PARAM_set_hostflags(
		param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (!ip && SSL_set_tlsext_host_name(t->ssl, host) != 1)
		return false;
	return (ip ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
		   : X509_VERIFY_PARAM_set1_host(param, host, 0)) == 1;
}

struct tls *tls_new(struct tls_context *c, int fd, struct err *e)
{
	struct tls *t = calloc(1, sizeof *t);

	ERR_clear_error();
	if (t) {
		t->context = ref(c);
		t->ssl = SSL_new(c->ssl);
	}
	if (!t || !t->ssl || SSL_set_fd(t->ssl, fd) != 1 || SSL_set_app_data(t->ssl, t) != 1 ||
		(!c->server && !expect_peer(t))) {
		set_library_error(e, EX_OSERR, "no TLS connection");
		tls_free(t);
		return NULL;
	}
	if (c->server) {
		SSL_set_accept_state(t->ssl);
		return t;
	}
	SSL_set_connect_state(t->ssl);
	SSL_SESSION *session = last_session(c);
	if (session)
		SSL_set_session(t->ssl, session); /* refused: then a full handshake */
	SSL_SESSION_free(session);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	tls_context_unref(t->context);
	free(t);
}

/* An alert or a fault of the protocol, in words for whoever set the two ends up. */
static void set_protocol_error(struct err *e, const char *what)
{
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)
		err_set(e, EX_PROTOCOL,
			"%s: the two ends have no TLS version in common (1.2 or later is wanted)",
			what);
	else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
		err_set(e, EX_PROTOCOL,
			"%s: the peer does not speak TLS here (STARTTLS at one end, TLS from the "
			"first byte at the other?)",
			what);
	else
		set_library_error(e, EX_PROTOCOL, what);
	ERR_clear_error();
}

/* What a call that did not succeed means. To be called at once, while errno is the call's. */
static enum tls_io not_ok(struct tls *t, int result, const char *what, struct err *e)
{
	int saved = errno;
	int kind = SSL_get_error(t->ssl, result);

	if (kind == SSL_ERROR_WANT_READ)
		return TLS_WANT_READ;
	if (kind == SSL_ERROR_WANT_WRITE)
		return TLS_WANT_WRITE;
	if (kind == SSL_ERROR_ZERO_RETURN)
		return TLS_EOF;
	t->broken = true;
	bool cut = kind == SSL_ERROR_SYSCALL && saved == 0;
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING /* how OpenSSL 3 says it */
	if (kind == SSL_ERROR_SSL &&
		ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		cut = true;
#endif
	errno = saved;
	if (*t->why)
		err_set(e, EX_NOPERM, "%s: %s", what, t->why);
	else if (cut)
		err_set(e, EX_IOERR, "%s: connection cut (closed without TLS's close_notify)",
			what);
	else if (kind == SSL_ERROR_SYSCALL)
		err_sys(e, EX_IOERR, "%s", what);
	else
		set_protocol_error(e, what);
	ERR_clear_error();
	return TLS_FAILED;
}

/* A resumed session was verified when it was made: its dates may have passed since. */
static bool is_still_valid(struct tls *t)
{
	X509 *x = SSL_get_peer_certificate(t->ssl);

	if (!x)
		return false;
	bool ok = certificate_accept_again(x, &t->context->rule, t->why, sizeof t->why);
	X509_free(x);
	return ok;
}

enum tls_io tls_handshake(struct tls *t, struct err *e)
{
	static const char what[] = "TLS handshake";

	ERR_clear_error();
	errno = 0;
	int r = SSL_do_handshake(t->ssl);
	if (r != 1) {
		enum tls_io io = not_ok(t, r, what, e);
		if (io == TLS_EOF) {
			err_set(e, EX_PROTOCOL, "%s: the peer ended it", what);
			t->broken = true;
			io = TLS_FAILED;
		}
		if (io == TLS_FAILED)
			put_session(t->context, NULL);
		return io;
	}
	if (t->context->verify && SSL_session_reused(t->ssl) && !is_still_valid(t)) {
		put_session(t->context, NULL);
		t->broken = true;
		err_set(e, EX_NOPERM, "%s: %s", what, *t->why ? t->why : "no certificate");
		return TLS_FAILED;
	}
	t->done = true;
	int n = snprintf(t->described, sizeof t->described, "%s %s", SSL_get_version(t->ssl),
		SSL_get_cipher_name(t->ssl));
	assert(n > 0 && (size_t)n < sizeof t->described);
	return TLS_OK;
}

enum tls_io tls_read(struct tls *t, void *p, size_t n, size_t *ret_n, struct err *e)
{
	size_t got = 0;

	ERR_clear_error();
	errno = 0;
	int r = SSL_read_ex(t->ssl, p, n, &got);
	if (r != 1)
		return not_ok(t, r, "TLS", e);
	*ret_n = got;
	return TLS_OK;
}

enum tls_io tls_write(struct tls *t, const void *p, size_t n, size_t *ret_n, struct err *e)
{
	size_t put = 0;

	ERR_clear_error();
	errno = 0;
	int r = SSL_write_ex(t->ssl, p, n, &put);
	if (r != 1)
		return not_ok(t, r, "TLS", e);
	*ret_n = put;
	return TLS_OK;
}

void tls_shutdown(struct tls *t)
{
	if (!t->done || t->broken || t->shut)
		return;
	t->shut = true;
	ERR_clear_error();
	SSL_shutdown(t->ssl); /* whether it got through, nobody waits for */
	ERR_clear_error();
}

bool tls_pending(const struct tls *t)
{
	return SSL_pending(t->ssl) > 0;
}

const char *tls_describe(const struct tls *t)
{
	return t->described;
}

bool tls_verified(const struct tls *t)
{
	return t->done && t->context->verify && SSL_get_verify_result(t->ssl) == X509_V_OK;
}

bool tls_resumed(const struct tls *t)
{
	return t->done && SSL_session_reused(t->ssl) == 1;
}
