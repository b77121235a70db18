/*
 * An answer of an SMTP or LMTP peer (RFC 5321 section 4.2), and the step of the dialogue that it
 * answered: the facts on which a verdict is passed.
 */
#ifndef CENMAIL_REPLY_H
#define CENMAIL_REPLY_H

#include "base/span.h"

#define REPLY_TEXT_MAX 1024

/* The steps of a dialogue, as they are named in the log and in attempts. */
enum step {
	STEP_CONNECT, /* name resolution and connect(2) */
	STEP_TLS,     /* the handshake and the peer's identity */
	STEP_GREETING,
	STEP_EHLO, /* LHLO too */
	STEP_STARTTLS,
	STEP_AUTH,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,    /* the command; its good answer is 354 */
	STEP_CONTENT, /* the final dot, or BDAT LAST */
	STEP_RSET,
	STEP_QUIT,
};
const char *step_name(enum step s);

struct reply {
	int code;                  /* 200 to 599; 0: none came */
	char enhanced[12];         /* "2.0.0" (RFC 3463), or "" */
	char text[REPLY_TEXT_MAX]; /* all lines joined by a space, printable, enhanced code left out
				    */
};

/* "250 2.0.0 Ok 0106…": the whole of it on one line, cut to size-1. Returns out. */
char *reply_format(const struct reply *r, char *out, size_t size);

#endif
