/*
 * X.509 certificates, by OpenSSL's libcrypto: reading them, their pins and dates, and words for a
 * person when one is refused. For tls.c only.
 */
#ifndef CENMAIL_CERTIFICATE_H
#define CENMAIL_CERTIFICATE_H

#include "base/err.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#define CERTIFICATE_PIN 32 /* octets of a pin: SHA-256 */

/* The first certificate in a PEM file; never asks for a passphrase. NULL: e says (EX_CONFIG). */
X509 *certificate_read(const char *path, struct err *e);
/* The key in a PEM file, which others than owner and group must not be able to read. */
EVP_PKEY *certificate_read_key(const char *path, struct err *e);

/* Whether SHA-256 of the certificate, or of its public key (SPKI), is one of the n pins. */
bool certificate_is_pinned(X509 *x, const unsigned char (*pin)[CERTIFICATE_PIN], unsigned n);
/* The public key's pin in hexadecimal; hex needs 65 bytes. 0 or -1. */
int certificate_key_pin(X509 *x, char hex[2 * CERTIFICATE_PIN + 1]);
/* X509_V_OK, X509_V_ERR_CERT_NOT_YET_VALID or X509_V_ERR_CERT_HAS_EXPIRED, by clock.h. */
int certificate_check_dates(X509 *x);
/* 0 or -1. */
int certificate_expires(X509 *x, int64_t *ret_wall_ms);

struct certificate_fault {
	int code;   /* X509_V_ERR_… */
	X509 *leaf; /* the peer's own */
	X509 *at;   /* in which certificate of the chain the fault is */
	bool pinned;
	const char *host; /* whom it should have been for */
};
/* What is wrong, what to do, and the pin that was seen. */
void certificate_explain(const struct certificate_fault *f, char *out, size_t size);

#endif
