/*
 * What newaliases says: each alias followed to its end, before a message has to.
 */
#ifndef CENMAIL_ALIASES_CHECK_H
#define CENMAIL_ALIASES_CHECK_H

#include "base/aliases.h"
#include "base/recipients.h"

/* Reads rules->aliases and appends what is wrong with it, `FILE:LINE: what` each, in the order of
 * lines: lines that can't be read, items that are not used here, addresses and names that lead
 * nowhere, loops, and what is nested too deep. 0; -1: the file can't be read (EX_CONFIG), or memory
 * ran out (EX_TEMPFAIL). */
int aliases_check(const struct recipients_rules *rules, struct buf *out, struct err *e);

#endif
