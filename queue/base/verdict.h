/*
 * struct verdict: what an answer, or the lack of one, means for one recipient. This is the table
 * "What an answer means" of cenmail-internals(7), used by both ends of the hop.
 */
#ifndef CENMAIL_VERDICT_H
#define CENMAIL_VERDICT_H

#include "base/reply.h"

#include <stdint.h>

struct conf_list;

enum verdict_class {
	VERDICT_SENT,  /* settled */
	VERDICT_NEVER, /* failed: the message can't be delivered to this recipient */
	VERDICT_LATER, /* this message backs off */
	VERDICT_ROAD,  /* the route's fault: nothing ages, nothing bounces */
	VERDICT_PACE,  /* the route pauses for retry_ms */
	VERDICT_HELD,  /* an operator has to act on this message (SES does not know its sender) */
	/* The peer's answers don't add up, or none came to a content that it may have taken: the
	 * connection ends, tried again with the same tokens. */
	VERDICT_UNKNOWN,
};
const char *verdict_name(enum verdict_class c); /* "sent", "never", …: as in class=NAME */

/* What happened to one recipient on the wire. */
struct outcome {
	enum step step; /* where it was decided */
	bool lost; /* no reply: the connection ended or a deadline passed; reply.text says how */
	bool unexpected; /* a reply that can't be: content accepted after a refused MAIL, garbage */
	bool maybe_sent; /* the whole content was handed to the transport and no answer came */
	struct reply reply;
};

struct verdict {
	enum verdict_class class;
	int64_t retry_ms; /* PACE: how long to pause. ROAD: as the peer named it, 0: it did not */
	bool maybe_sent;
	bool own_mail; /* ROAD, UNKNOWN: it came after this message's own MAIL, and may be its fault
			*/
	bool throttled;      /* PACE: it takes mail, but not so fast */
	bool crowded;        /* ROAD: it has too many connections of ours; not own_mail */
	bool operator_fault; /* ROAD: SES has something against the account; not own_mail */
	struct reply reply;  /* code 0 when none came: reply.text then says what happened */
};

/* How long PACE pauses when the peer does not say: for the sending rate and for the daily quota;
 * and the longest that a peer is believed. */
#define VERDICT_RATE_MS      ((int64_t)5000)
#define VERDICT_QUOTA_MS     ((int64_t)3600000)
#define VERDICT_RETRY_MAX_MS ((int64_t)86400000)

/* Whose answer it is: in its own answers (`cenmail: …`) the listener says `class=` and is believed;
 * SES's and everybody else's are read by code and text. An operator's own patterns come first: CODE
 * and words of the text, as in cenmail.conf(5). */
struct verdict_rules {
	bool peer_says_class; /* the peer offered XONCE */
	const char *sender;   /* for 554 … not verified: does it name this sender? */
	const char *recipient;
	const struct conf_list *operator_reply; /* or NULL */
};

void verdict_pass(const struct outcome *o, const struct verdict_rules *rules, struct verdict *ret);

#endif
