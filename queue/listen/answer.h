/*
 * What a client is told about a recipient: SES's own answer with the times it took, or an answer
 * of ours, which names itself and its class, so that the flusher never has to guess.
 */
#ifndef CENMAIL_ANSWER_H
#define CENMAIL_ANSWER_H

#include "base/reply.h"
#include "base/verdict.h"

#include <stdint.h>

#define ANSWER_MAX 500 /* octets of a line without CRLF: with it within RFC 5321's 512 */

/* "250 2.0.0 Ok 0106… wait=0.002 ses=0.183". A missing enhanced code is the class's general one.
 */
void answer_ses(const struct reply *r, int64_t wait_us, int64_t ses_us, char out[ANSWER_MAX + 1]);

/* An answer of our own: `code` is "451 4.4.1". retry_s 0: not said. The text may hold a peer's
 * words: it is made printable and cut, the class never is. */
struct answer_own {
	const char *code;
	enum verdict_class class;
	int64_t retry_s;
};
void answer_own(const struct answer_own *a, char out[ANSWER_MAX + 1], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
