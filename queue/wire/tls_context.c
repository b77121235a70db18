/*
 * TLS contexts by OpenSSL (the calls that 1.1.1 and 3 have in common): keys, CAs, settings, and the
 * session that the next connection goes on from.
 */
#include "wire/tls_state.h"

#define CIPHERS_TLS12 "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP:!DSS"

/* Before main, so that no other use of libcrypto reads the file that OPENSSL_CONF names first. No
 * clean-up at exit, which other threads might be caught in. */
__attribute__((constructor)) static void ignore_configuration(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

int tls_library_error(struct err *e, int code, const char *what)
{
	unsigned long fault = ERR_peek_error();
	const char *reason = fault ? ERR_reason_error_string(fault) : NULL;

	ERR_clear_error();
	return err_set(e, code, "%s: %s", what, reason ? reason : "the library does not say why");
}

/* In place of the library's own check of a chain. */
static int verify_peer(X509_STORE_CTX *store, void *arg)
{
	const struct tls_context *c = arg;
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);

	return !c->verify || certificate_accept(store, &c->rule, t->why, sizeof t->why);
}

void tls_put_session(struct tls_context *c, SSL_SESSION *session)
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

	tls_put_session(t->context, SSL_SESSION_dup(session));
	return 0; /* this one stays the library's */
}

SSL_SESSION *tls_last_session(struct tls_context *c)
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
		tls_library_error(e, EX_OSERR, "TLS can't be set up");
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
			return tls_library_error(e, EX_CONFIG, "the system's CAs");
		return 0;
	}
	X509 *first = certificate_read(r->ca, e); /* for better words than the library has */
	if (!first)
		return -1;
	X509_free(first);
	if (SSL_CTX_load_verify_locations(c->ssl, r->ca, NULL) != 1)
		return tls_library_error(e, EX_CONFIG, r->ca);
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
		r = tls_library_error(e, EX_CONFIG, certificate);
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

struct tls_context *tls_context_ref(struct tls_context *c)
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
