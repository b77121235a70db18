/*
 * The fields of a message's header (RFC 5322 section 2.2): normalised octets, lines that end in
 * CRLF. No I/O, no allocation, one pass.
 */
#ifndef CENMAIL_FIELD_H
#define CENMAIL_FIELD_H

#include "base/span.h"

#define FIELD_LINE_MAX 998 /* octets of a line (RFC 5322 section 2.1.1), CRLF not counted */

struct field {
	struct span raw;   /* all its lines, the last CRLF too */
	struct span name;  /* "": these lines are no field */
	struct span value; /* behind the colon, folds and all, without the last CRLF */
};

/* Takes the first field off *rest, with the lines that are folded into it. False when nothing is
 * left. Knows no end of the header: the caller gives no more than that, or looks for the empty line
 * in *rest before each call. */
bool field_next(struct span *rest, struct field *ret);
/* Whether a line begins a field: a name of printable ASCII, blanks, a colon, within the limit of a
 * line, so that it can be folded behind the colon. */
bool field_begins(struct span line);

#endif
