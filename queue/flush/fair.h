/*
 * Whose turn it is: what waits on one road, in flows that take turns. Deficit round robin by
 * octets, with what fq_codel (RFC 8290 section 4.2) adds: a flow that had nothing waiting goes
 * before those that had, for one quantum. So a password reset passes a newsletter, and as each flow
 * in turn is served nobody starves. What may be the death of a connection stands apart. No I/O.
 */
#ifndef CENMAIL_FAIR_H
#define CENMAIL_FAIR_H

#include "base/flow.h"

#include <stdbool.h>
#include <stdint.h>

struct batch;

#define FAIR_QUANTUM   16384 /* octets a flow may send in its turn */
#define FAIR_RECIPIENT 2048  /* what a recipient counts for, beside the content: SES counts him */

struct fair_flow {
	struct batch *first, *last;
	unsigned recipients;
	int64_t credit;
	struct fair_flow *next; /* in a list of flows */
	bool listed;
};
struct fair_list {
	struct fair_flow *first, *last;
};
struct fair {
	struct fair_flow flow[FLOW_COUNT];
	struct fair_list fresh, old;
	struct batch *back; /* put back: next in any case */
	struct batch *suspect, *suspect_last;
	unsigned recipients; /* that wait, in all; suspects too */
	unsigned batches;    /* without suspects */
	unsigned suspects;   /* recipients of suspects */
};

/* Behind what waits in its flow, or behind the other suspects. */
void fair_add(struct fair *q, struct batch *b);
/* One recipient has joined a batch that waits. */
void fair_joined(struct fair *q, struct batch *b);
/* The one whose turn it is, which fair_pop will take; NULL: none. */
struct batch *fair_peek(struct fair *q);
struct batch *fair_pop(struct fair *q);
/* The suspect whose turn it is, or NULL. */
struct batch *fair_pop_suspect(struct fair *q);
/* It is next again. */
void fair_put_back(struct fair *q, struct batch *b);

#endif
