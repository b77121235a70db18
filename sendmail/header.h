/*
 * The header of a message (RFC 5322 section 2.2): normalised octets to fields. No I/O, no
 * allocation; the header is known to have CRLF line ends and no empty line.
 */
#ifndef CENMAIL_HEADER_H
#define CENMAIL_HEADER_H

#include "base/span.h"

enum header_flag {
	HEADER_RECIPIENTS = 1, /* -t takes recipients from it */
	HEADER_REMOVED = 2,    /* never on the wire */
	HEADER_ADDRESSES = 4,  /* bare names in it are qualified */
	HEADER_RESENT = 8,     /* one of the Resent- fields (RFC 5322 section 3.6.6) */
};
enum header_id {
	HEADER_OTHER,
	HEADER_FROM,
	HEADER_DATE,
	HEADER_MESSAGE_ID,
	HEADER_RECEIVED,
	HEADER_RESENT_FROM,
	HEADER_RESENT_DATE,
	HEADER_RESENT_MESSAGE_ID,
	HEADER_RESENT_BCC,
	HEADER_IDS /* how many */
};

struct header_field {
	struct span raw;   /* all its lines, the last CRLF too */
	struct span value; /* behind the colon, folds and all, without the last CRLF */
	unsigned flags;
	enum header_id id;
};

/* Takes the first field off *rest. False when nothing is left. */
bool header_next(struct span *rest, struct header_field *ret);

/* What a pass over all fields tells. */
struct header_facts {
	unsigned hops; /* Received fields */
	bool resent;   /* Resent- fields beside Resent-Bcc: only they name recipients */
	unsigned char seen[HEADER_IDS]; /* by enum header_id */
	struct span message_id;         /* the value of Message-ID, trimmed; "" without */
};
void header_survey(struct span header, struct header_facts *ret);

#endif
