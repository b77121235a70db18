/*
 * `sendmail -bv`: what would become of a message. Nothing is stored or sent.
 */
#ifndef CENMAIL_VERIFY_H
#define CENMAIL_VERIFY_H

#include "base/conf.h"
#include "sendmail/options.h"

#include <sys/types.h>

struct verify {
	const struct options *options;
	const struct conf_mail *conf;
	uid_t caller;
	int fd; /* the message; read with -t only */
	FILE *to;
};

/* Shows the sender, each recipient with the way it would go, and what would be refused here or, as
 * far as that can be told, by SES. 0: all of it would go. -1: EX_DATAERR or EX_NOUSER (only unknown
 * local names), EX_CONFIG (no relay, aliases that can't be read). */
int verify_run(const struct verify *v, struct err *e);

#endif
