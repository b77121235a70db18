/*
 * CRC-32C (Castagnoli) of message content, stored beside it and verified before sending, as
 * SQLite has no page checksums. Not a defence against people.
 */
#ifndef CENMAIL_CRC_H
#define CENMAIL_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues from `crc`; begin with 0. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same, without the processor's help: what crc32c falls back on. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t n);

#endif
