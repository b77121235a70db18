/*
 * Who gets a message: addresses gathered from arguments and header fields, bare names resolved,
 * aliases expanded, duplicates merged.
 */
#ifndef CENMAIL_RECIPIENTS_H
#define CENMAIL_RECIPIENTS_H

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"

#include <stdint.h>

struct recipients_rules {
	const char *domain;     /* qualifies a bare name; "": none */
	const char *postmaster; /* gets the mail of system accounts; "": none */
	const char *aliases; /* path of the aliases file, read when a bare name comes; NULL: none */
	uint64_t max;        /* recipients of one message */
};

/* As the configuration has them; the strings are borrowed of it. */
struct recipients_rules recipients_rules_of(const struct conf_mail *conf, bool no_aliases);

struct recipients;

/* Never NULL but for want of memory. The rules' strings are borrowed. */
struct recipients *recipients_new(const struct recipients_rules *rules);
void recipients_free(struct recipients *r);

/* Adds an address list (RFC 5322). 0, or -1: EX_DATAERR (syntax, or over the maximum), EX_NOUSER
 * (a bare name that leads nowhere), EX_CONFIG (the aliases file, or postmaster, can't be used):
 * nothing of the list is added then. */
int recipients_add(struct recipients *r, struct span list, struct err *e);
/* The last recipients_add failed because the maximum was met. */
bool recipients_are_full(const struct recipients *r);

unsigned recipients_count(const struct recipients *r);
const char *recipients_at(const struct recipients *r, unsigned i);
/* The bare name, as it was given, that led to it; "" where the address itself was given. */
const char *recipients_name_of(const struct recipients *r, unsigned i);
/* What the operator has to know of the aliases met on the way, one line each; "" if nothing,
 * NULL for want of memory. */
const char *recipients_notes(struct recipients *r);

#endif
