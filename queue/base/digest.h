/*
 * SHA-256, HMAC-SHA-256 and constant-time comparison. The one file that uses OpenSSL's
 * hashing; `sendmail` does not link it.
 */
#ifndef CENMAIL_DIGEST_H
#define CENMAIL_DIGEST_H

#include "base/span.h"

#define DIGEST_SHA256 32

/* 0, or -1 when the library refuses. */
int digest_sha256(struct span in, unsigned char out[DIGEST_SHA256]);
int digest_hmac_sha256(struct span key, struct span in, unsigned char out[DIGEST_SHA256]);
/* Time depends on n alone. */
bool digest_equal(const void *a, const void *b, size_t n);

#endif
