/*
 * TLS connections by OpenSSL; their contexts are in tls_context.c.
 */
#include "wire/tls_state.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/x509v3.h>

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
		t->context = tls_context_ref(c);
		t->ssl = SSL_new(c->ssl);
	}
	if (!t || !t->ssl || SSL_set_fd(t->ssl, fd) != 1 || SSL_set_app_data(t->ssl, t) != 1 ||
		(!c->server && !expect_peer(t))) {
		tls_library_error(e, EX_OSERR, "no TLS connection");
		tls_free(t);
		return NULL;
	}
	if (c->server) {
		SSL_set_accept_state(t->ssl);
		return t;
	}
	SSL_set_connect_state(t->ssl);
	SSL_SESSION *session = tls_last_session(c);
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
		tls_library_error(e, EX_PROTOCOL, what);
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
			tls_put_session(t->context, NULL);
		return io;
	}
	if (t->context->verify && SSL_session_reused(t->ssl) && !is_still_valid(t)) {
		tls_put_session(t->context, NULL);
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
