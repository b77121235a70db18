/*
 * Lines over 998 octets (RFC 5321 section 4.5.3.1.6), which many servers refuse: a header line is
 * folded at white space, a body line is broken by CRLF SPACE, as Postfix does. A break is not made
 * inside a UTF-8 character. Lines within the limit are never touched.
 */
#ifndef CENMAIL_LONGLINE_H
#define CENMAIL_LONGLINE_H

#include "base/buf.h"
#include "base/field.h"

#include <stdint.h>

#define LONGLINE_MAX FIELD_LINE_MAX

/* The lines of one header field, each with its CRLF; the colon stands within the limit. */
void longline_fold(struct span field, struct buf *out);

/* A body in pieces of any size, with CRLF line ends and no other CR. */
struct longline {
	uint64_t breaks;     /* made so far */
	unsigned column;     /* octets of the line given out */
	unsigned held_count; /* octets held back near the limit: a character that may not fit */
	char held[4];
};
void longline_init(struct longline *l);
void longline_add(struct longline *l, struct span in, struct buf *out);

#endif
