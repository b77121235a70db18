/*
 * The parameters of delivery status notifications (RFC 3461 section 4), as they stand in MAIL and
 * RCPT: whether a value is one. None of these holds a blank or a line break when it is.
 */
#ifndef CENMAIL_DSN_H
#define CENMAIL_DSN_H

#include "base/buf.h"
#include "base/span.h"

/* Octets, as RFC 3461 section 4 allows them (ENVID) and makes room for them (ORCPT). */
#define DSN_ENVID_MAX 100
#define DSN_ORCPT_MAX 500

/* One or more printable octets; '+' and '=' and what is not ASCII as '+' and two digits, upper-case
 * hexadecimal. */
bool dsn_is_xtext(struct span s);
/* Adds s as xtext. */
void dsn_add_xtext(struct buf *out, struct span s);
/* FULL or HDRS, no case. */
bool dsn_is_ret(struct span s);
bool dsn_is_envid(struct span s);
/* NEVER, or SUCCESS, FAILURE and DELAY, each at most once, in any order, no case. */
bool dsn_is_notify(struct span s);
/* "rfc822;" and an address in xtext, or another type of address. */
bool dsn_is_orcpt(struct span s);

#endif
