/*
 * X.509 certificates, by OpenSSL's libcrypto: reading them, their pins and dates, and words for a
 * person when one is refused. For tls.c only.
 */
#ifndef CENMAIL_CERTIFICATE_H
#define CENMAIL_CERTIFICATE_H

#include "base/err.h"
#include "base/relay.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

/* What a peer's certificate has to be: one of the pins, when there are any, else for the host and
 * from a CA that is known. Valid today in either case. */
struct certificate_rule {
	char host[256];
	unsigned char pin[RELAY_PINS][32]; /* SHA-256 of the certificate or of its key (SPKI) */
	unsigned pins;
};

/* In a handshake. On a refusal `why` gets the peer's pin, what is wrong and what to do, and the
 * fault is set in the store's context. */
bool certificate_accept(
	X509_STORE_CTX *store, const struct certificate_rule *rule, char *why, size_t size);
/* For a session that goes on, whose chain was checked when it began: pins and dates. */
bool certificate_accept_again(X509 *x, const struct certificate_rule *rule, char *why, size_t size);

/* The first certificate in a PEM file; never asks for a passphrase. NULL: e says (EX_CONFIG). */
X509 *certificate_read(const char *path, struct err *e);
/* The key in a PEM file, which others than owner and group must not be able to read. */
EVP_PKEY *certificate_read_key(const char *path, struct err *e);

#endif
