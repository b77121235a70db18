/*
 * Base64 (RFC 4648 section 4), strict both ways. No OpenSSL.
 */
#ifndef CENMAIL_BASE64_H
#define CENMAIL_BASE64_H

#include "base/buf.h"

/* Appends to `out` (no line breaks). */
void base64_encode(struct span in, struct buf *out);
/* A length that is a multiple of four, padding at the end only, no stray bits, no other octet.
 * Appends to `out`. 0, or -1 with what was decoded so far left in `out`. */
int base64_decode(struct span in, struct buf *out);

#endif
