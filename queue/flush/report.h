/*
 * What the log and the queue are told of one try: the delay split, SES's id, and the line in the
 * form of Postfix's log.
 */
#ifndef CENMAIL_REPORT_H
#define CENMAIL_REPORT_H

#include "flush/flusher.h"

struct report {
	struct reply reply;
	char ses_id[128];  /* "" unless sent */
	char journal[65];  /* the journal at which the recipient is in doubt, or "" */
	char peer[320];    /* relay= */
	int64_t queued_ms; /* a: in the queue, and b: in the flusher, up to MAIL */
	int64_t before_ms; /* a alone */
	int64_t connect_ms, hop_ms, ses_ms;
};

void report_init(struct report *p, int64_t submitted, const struct batch *b,
	const struct verdict *v, const char *peer);
/* After the queue has it: the line for the recipient, one more when the message is done with, and
 * the figures of the run. */
void report_settled(const struct report *p, const struct store_settlement *row, bool message_done,
	struct flush_stats *stats);
/* What SES took, as the listener's answer says ("ses=0.183"): milliseconds, or 0. */
int64_t report_ses_ms(const char *text);
/* The road is down. */
void report_road(const char *relay, const struct outcome *fault);

#endif
