/*
 * struct strip: a message's header as it comes by, in pieces of any size: X-SES- fields of clients
 * that are not allowed, or that we set ourselves, are left out with their folded lines; Received
 * fields are counted; all else passes octet for octet.
 */
#ifndef CENMAIL_STRIP_H
#define CENMAIL_STRIP_H

#include "base/conf.h"
#include "base/spool.h"

#define STRIP_NAME_MAX 76 /* octets; a longer name is not one of SES's */
#define STRIP_RECEIVED_MAX                                                                         \
	50 /* RFC 5321 section 6.3 asks for at least 100 or some other care;                       \
	      between flusher and SES there are a handful */

struct strip {
	const struct conf_list *allowed, *ours; /* borrowed */
	enum { STRIP_NAME, STRIP_PASS, STRIP_DROP, STRIP_BODY } state;
	bool line_begins;
	/* The first line goes on with what stands before it, which is a field of ours: its client
	 * could change what we say. */
	bool begins_folded;
	bool any;
	char name[STRIP_NAME_MAX + 1]; /* octets of the line whose fate is not decided */
	size_t name_len;
	unsigned received;
};

void strip_init(struct strip *s, const struct conf_list *allowed, const struct conf_list *ours);
/* Adds to `out` what passes. 0, or -1 as spool_add. */
int strip_add(struct strip *s, struct span in, struct spool *out, struct err *e);
/* The content has ended: what was held back goes out. */
int strip_end(struct strip *s, struct spool *out, struct err *e);

static inline bool strip_loops(const struct strip *s)
{
	return s->received >= STRIP_RECEIVED_MAX;
}

#endif
