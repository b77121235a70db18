/*
 * Replies out of a stream (RFC 5321 section 4.2.1): "250-first", "250 last". Bounded; a reply
 * that does not parse is an error and never skipped. No I/O.
 */
#ifndef CENMAIL_PARSER_H
#define CENMAIL_PARSER_H

#include "base/buf.h"
#include "base/reply.h"
#include "wire/ehlo.h"

#define PARSER_LINE_MAX  2048 /* octets of one line; RFC 5321 has 512, servers exceed it */
#define PARSER_LINES_MAX 128  /* lines of one reply */

struct parser {
	struct buf line;    /* of the line that is not yet whole */
	struct reply reply; /* so far */
	size_t text_len;
	unsigned lines;
	struct ehlo ehlo; /* lines of the reply read as EHLO's, whatever it answers */
};

enum parser_result { PARSER_MORE, PARSER_REPLY, PARSER_BAD };

void parser_init(struct parser *p);
void parser_done(struct parser *p);
/* Takes octets of `in` up to the end of one reply; *ret_used says how many. PARSER_REPLY: the
 * reply is in p->reply (and p->ehlo) until the next call. PARSER_BAD: e says why; the connection
 * has to end. Cutting the input anywhere gives the same result. A bare LF at a line's end is
 * PARSER_BAD. */
enum parser_result parser_add(
	struct parser *p, struct span in, size_t *ret_used, const char **ret_why);

#endif
