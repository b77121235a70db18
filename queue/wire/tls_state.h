/*
 * What TLS contexts and connections are made of, for tls_context.c and tls.c alone. Every call into
 * the library starts with an empty error queue, because SSL_get_error() looks at what others left
 * there.
 */
#ifndef CENMAIL_TLS_STATE_H
#define CENMAIL_TLS_STATE_H

#include "wire/certificate.h"
#include "wire/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

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

/* The library's own words for its first fault. Returns -1. */
int tls_library_error(struct err *e, int code, const char *what);

struct tls_context *tls_context_ref(struct tls_context *c);
/* The session that the next connection goes on from; NULL: none. Takes it over. */
void tls_put_session(struct tls_context *c, SSL_SESSION *session);
/* A copy for the caller to free, or NULL. */
SSL_SESSION *tls_last_session(struct tls_context *c);

#endif
