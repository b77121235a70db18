/*
 * struct tally: what happened, by client, until the journal has written it down. For one thread at
 * a time.
 */
#ifndef CENMAIL_TALLY_H
#define CENMAIL_TALLY_H

#include <stdbool.h>
#include <stdint.h>

enum tally_what {
	TALLY_SENT,       /* recipients that SES took */
	TALLY_FAILED,     /* and that it refused, now or for good */
	TALLY_REPEATED,   /* answered again from the journal */
	TALLY_THROTTLED,  /* refused by SES for its rate or quota, each time */
	TALLY_UNANSWERED, /* given to SES, and no answer came: in doubt from then on */
	TALLY_RESENT,     /* sent in spite of doubt */
	TALLY_KINDS
};

#define TALLY_CLIENTS    32 /* at a time; those beyond them are counted as "others" */
#define TALLY_CLIENT_MAX 300

struct tally_row {
	char client[TALLY_CLIENT_MAX];
	uint64_t n[TALLY_KINDS];
};

struct tally {
	struct tally_row row[TALLY_CLIENTS + 1];
	unsigned rows;
};

void tally_add(struct tally *t, const char *client, enum tally_what what, uint64_t n);
/* Adds all of `from` to t. */
void tally_join(struct tally *t, const struct tally *from);

#endif
