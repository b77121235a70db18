/*
 * SHA-256, HMAC-SHA-256, constant-time comparison and base64. The one file that uses OpenSSL's
 * hashing; `sendmail` does not link it.
 */
#ifndef CENMAIL_DIGEST_H
#define CENMAIL_DIGEST_H

#include "base/buf.h"

#define DIGEST_SHA256 32

/* 0, or -1 when the library refuses. */
int digest_sha256(struct span in, unsigned char out[DIGEST_SHA256]);
int digest_hmac_sha256(struct span key, struct span in, unsigned char out[DIGEST_SHA256]);
/* Time depends on n alone. */
bool digest_equal(const void *a, const void *b, size_t n);
/* Appends to `out` (no line breaks). */
void digest_base64(struct span in, struct buf *out);
/* Strict: length a multiple of four, padding at the end only, no other octet. Appends to `out`.
 * 0, or -1 with what was decoded so far left in `out`. */
int digest_unbase64(struct span in, struct buf *out);

#endif
