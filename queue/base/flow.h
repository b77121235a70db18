/*
 * Stochastic fair queueing: who shares the road with whom. A flow is a user and what he sends under
 * one sender's name, to few or to many; flows that fall on one number share its turn.
 */
#ifndef CENMAIL_FLOW_H
#define CENMAIL_FLOW_H

#include "base/span.h"

#include <sys/types.h>

#define FLOW_COUNT 64

/* 0 to FLOW_COUNT-1, the same for ever: it is stored. The sender without case, digits, and what
 * VERP adds (RFC 5321 has no words for it: bounce+user=example.com@a, list-17-user=example.com@a),
 * so that a mailing with a sender for each recipient is one flow. One message to more than
 * FLOW_MANY is another flow than his messages to few: a newsletter does not delay his password
 * resets. */
#define FLOW_MANY 20
unsigned flow_of(uid_t uid, struct span sender, unsigned recipients);

#endif
