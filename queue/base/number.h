/*
 * Numbers, durations and sizes from text: digits only, no sign, no space, overflow refused.
 */
#ifndef CENMAIL_NUMBER_H
#define CENMAIL_NUMBER_H

#include "base/span.h"

#include <stdint.h>

/* Decimal digits, all of the span, at most `max`. 0, or -1 with *ret untouched. */
int number_parse(struct span s, uint64_t max, uint64_t *ret);
/* `30s` `5m` `4h` `5d`, a bare 0; the result in milliseconds. */
int number_parse_duration(struct span s, int64_t *ret_ms);
/* `512` `64K` `40M` `2G` (x 1024); the result in bytes. */
int number_parse_size(struct span s, uint64_t *ret);
/* `14/s` `0.5/s` `30/m` (three decimals at most), a bare 0 for none; a second, times 1000, rounded
 * down, but never to none. */
int number_parse_rate(struct span s, uint64_t *ret);
/* Lower-case or upper-case hexadecimal, exactly 2*n digits. */
int hex_decode(struct span s, unsigned char *out, size_t n);
/* Lower-case; out needs 2*n+1 bytes. */
void hex_encode(const unsigned char *in, size_t n, char *out);

#endif
