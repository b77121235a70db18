/*
 * One submission: standard input to one queued message.
 */
#ifndef CENMAIL_SUBMIT_H
#define CENMAIL_SUBMIT_H

#include "sendmail/draft.h"
#include "sendmail/options.h"

struct submit {
	const struct options *options;
	const struct conf_mail *conf;
	uid_t caller;
	int fd; /* the message */
};

/* 0: it is durable. -1: it is not stored; err has the code to end with. */
int submit_run(const struct submit *s, struct submitted *ret, struct err *e);

#endif
