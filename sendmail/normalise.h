/*
 * Octets as a Unix program writes them, to mail's: LF, CRLF and a bare CR each become one CRLF,
 * NUL octets are dropped and counted, and where dots end a message, a line of one dot does. In
 * pieces of any size: where the input is cut makes no difference.
 */
#ifndef CENMAIL_NORMALISE_H
#define CENMAIL_NORMALISE_H

#include "base/buf.h"

#include <stdint.h>

struct normalise {
	bool dot_ends;   /* a lone dot ends the message: sendmail without -i */
	bool keep_nuls;  /* copied (and counted all the same): may be changed between calls */
	bool ended;      /* the lone dot has come: nothing is taken any more */
	bool line_start; /* nothing of the line under way has been given out */
	bool dot;        /* a dot at the start of a line is held back */
	bool after_cr;   /* a LF here belongs to the line end before it */
	uint64_t nuls;
};

void normalise_init(struct normalise *n, bool dot_ends);
/* Appends at most 2*in.n+1 octets to out. */
void normalise_add(struct normalise *n, struct span in, struct buf *out);
/* The input is at its end: appends the CRLF that a last line lacks. */
void normalise_end(struct normalise *n, struct buf *out);

#endif
