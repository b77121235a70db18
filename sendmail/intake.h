/*
 * A message as it comes in, in pieces of any size, to content as it is stored: line ends made
 * CRLF, the header taken apart from the body, long body lines broken, a ceiling on all of it. No
 * I/O but the spool's.
 */
#ifndef CENMAIL_INTAKE_H
#define CENMAIL_INTAKE_H

#include "base/err.h"
#include "base/spool.h"
#include "sendmail/longline.h"
#include "sendmail/normalise.h"

#define INTAKE_HEADER_MAX (1024 * 1024) /* octets of a header */

/* The header has come to its end: fields in CRLF lines, the "From " line gone, no empty line. NUL
 * octets are still in it, so that an address with one can be refused. */
struct intake_header {
	struct span fields;
	struct span cut_by; /* the line that is no field and so ended it; "" for an empty line */
};

/* Adds the header as it is stored, and its empty line, to the spool. 0; -1: the message is not
 * taken, and the rest of it is read and thrown away. */
typedef int (*intake_on_header)(
	void *arg, const struct intake_header *h, struct spool *to, struct err *e);

struct intake {
	intake_on_header on_header;
	void *arg;
	struct spool *to;
	uint64_t size_max;

	uint64_t size; /* octets with CRLF line ends, NULs not counted, so far */
	bool eightbit;
	bool ended; /* by a lone dot */

	/* internal */
	struct normalise normalise;
	struct longline longline;
	struct buf piece, body, header;
	size_t line; /* in header: where the line under way begins */
	bool in_header, any_field, refused;
	struct err why;
};

void intake_init(struct intake *in, bool dot_ends);
void intake_done(struct intake *in);
/* 0, or -1 when no more is to be read: over a limit (EX_DATAERR, which names it), no space. A
 * refusal by on_header is told by intake_end, so that a caller that writes into a pipe is heard
 * to its end. */
int intake_add(struct intake *in, struct span s, struct err *e);
int intake_end(struct intake *in, struct err *e);

#endif
