/*
 * The format of a file in incoming/: lines of text, the content, a checksum over all of it.
 *
 *     cenmail incoming 1
 *     key 5b0f…                    32 hexadecimal digits
 *     submitted 1800000000000      milliseconds since 1970, UTC
 *     uid 1000
 *     sender a@example.com         nothing after the blank: the null sender
 *     message-id <…>               or nothing
 *     eightbit 0
 *     ret FULL                     only when there is one, as are envid, notify and orcpt
 *     envid …
 *     recipient b@example.com      and, for this one,
 *     notify SUCCESS,FAILURE
 *     orcpt rfc822;b@example.com
 *     size 1234                    octets of the content
 *
 *     the content, lines ending in CRLF
 *     crc32c 1a2b3c4d              of every octet before this line
 */
#ifndef CENMAIL_STORE_INCOMING_FILE_H
#define CENMAIL_STORE_INCOMING_FILE_H

#include "store/store.h"

struct incoming_file {
	struct buf raw;            /* m points into it */
	struct store_rcpt *rcpt;   /* owned */
	struct store_submission m; /* content.p is NULL when only the header was read */
};

/* All that stands before the content; out needs no initialisation, and is the caller's to free. 0,
 * or -1: EX_DATAERR (a value with a line end), EX_TEMPFAIL.
 */
int incoming_file_header(const struct store_submission *m, struct buf *out, struct err *e);
#define INCOMING_TRAILER 16
/* "crc32c %08x\n" */
void incoming_file_trailer(uint32_t crc, char out[INCOMING_TRAILER + 1]);

/* Reads a file of the directory. Regular, ours, of a sane size, every value within the bounds of
 * the queue, and with its checksum, unless only the header is wanted. 0, or -1: EX_DATAERR, it is
 * no such file and never will be; EX_NOINPUT, it is gone; EX_TEMPFAIL. ret needs no initialisation.
 */
int incoming_file_read(
	int dir, const char *name, bool header_only, struct incoming_file *ret, struct err *e);
void incoming_file_done(struct incoming_file *f);

#endif
