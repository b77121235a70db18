/*
 * Mail addresses as RFC 5321 section 4.1.2 has them: Mailbox = Local-part "@" ( Domain /
 * address-literal ), with quoted local parts. 7-bit only: SES has no SMTPUTF8.
 */
#ifndef CENMAIL_ADDRESS_H
#define CENMAIL_ADDRESS_H

#include "base/err.h"
#include "base/span.h"

/* Ceilings of RFC 5321 section 4.5.3.1, in octets. */
#define ADDRESS_LOCAL_MAX  64
#define ADDRESS_DOMAIN_MAX 255
#define ADDRESS_PATH_MAX   254 /* a path is 256 with its angle brackets */

struct address {
	char text[ADDRESS_PATH_MAX + 1]; /* terminated; source route stripped; otherwise as given */
	size_t len;                      /* of text, terminator not counted */
	size_t at;                       /* where the last '@' stands */
};

/* A full mailbox, local part and domain; a source route (`@a,@b:`) is stripped. No angle brackets.
 * Refuses, with err->code EX_DATAERR and words that name the place: control and 8-bit octets,
 * blanks outside quotes, an empty local part or domain, a domain label that is empty or over 63,
 * and anything over the ceilings. */
int address_parse(struct span s, struct address *ret, struct err *e);
/* A local part alone (dot-string or quoted-string), as a bare name before it is qualified. */
bool address_is_local_part(struct span s);
/* A domain name or address literal. */
bool address_is_domain(struct span s);
/* The two halves of a parsed address. */
struct span address_local(const struct address *a);
struct span address_domain(const struct address *a);

/* Whether the address matches a pattern of the configuration: shell wildcards `*` and `?`, no
 * case in either. Linear in the product of the two lengths at worst, no recursion. */
bool address_match(const char *pattern, struct span address);

#endif
