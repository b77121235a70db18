/*
 * Lines and content on the wire: CRLF-ended lines out of a stream, and RFC 5321 transparency
 * (section 4.5.2) both ways. Shared by the client, the listener and `sendmail -bs`. No I/O.
 */
#ifndef CENMAIL_LINE_H
#define CENMAIL_LINE_H

#include "base/buf.h"

enum line_result {
	LINE_MORE,    /* no whole line yet */
	LINE_OK,      /* *ret is the line without its CRLF */
	LINE_BAD,     /* the line holds NUL, bare CR or bare LF; it is consumed all the same */
	LINE_TOO_LONG /* more than max octets and no end: fatal for the connection, or the caller
			 drops input up to the end of that line. *ret_used is max: none of those
			 octets ends it */
};

/* Looks for one line in `in`; *ret_used says how many octets it took with its CRLF. max counts
 * the CRLF. The line borrows from `in`. A bare LF ends a line too, as LINE_BAD, so that a peer
 * that sends bare LFs is answered and not waited for. */
enum line_result line_next(struct span in, size_t max, struct span *ret, size_t *ret_used);

/* Dot-stuffing, in pieces of any size. Appends to out; in SMTP the content must end in CRLF
 * before the lone dot, which stuff_end adds when it is missing. */
struct stuff {
	unsigned char state; /* internal: what the last octets were */
};
void stuff_init(struct stuff *s);
/* Encodes all of `in`. Adds at most 2*in.n octets. */
void stuff_add(struct stuff *s, struct span in, struct buf *out);
/* Ends the content: the missing CRLF where there is one. Not the lone dot. */
void stuff_end(struct stuff *s, struct buf *out);

/* The receiving side: takes stuffed content up to CRLF . CRLF, which alone ends it. */
enum unstuff_result {
	UNSTUFF_MORE, /* all of the input was taken, the end has not come */
	UNSTUFF_END,  /* the end came; *ret_used octets were taken */
};
struct unstuff {
	unsigned char state;
	bool bad; /* a bare CR, bare LF or NUL was seen: to be refused when the end has come */
};
void unstuff_init(struct unstuff *u);
/* Appends the content to out (or, when out is NULL, throws it away) and says how much input it
 * took. The CRLF before the lone dot is content. */
enum unstuff_result unstuff_add(
	struct unstuff *u, struct span in, struct buf *out, size_t *ret_used);

#endif
