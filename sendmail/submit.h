/*
 * One submission: standard input to one queued message.
 */
#ifndef CENMAIL_SUBMIT_H
#define CENMAIL_SUBMIT_H

#include "base/address.h"
#include "base/conf.h"
#include "sendmail/options.h"

#include <sys/types.h>

struct submit {
	const struct options *options;
	const struct conf_mail *conf;
	uid_t caller;
	int fd; /* the message */
};

struct submitted { /* what there is to log */
	int64_t id;
	char sender[ADDRESS_PATH_MAX + 1];
	char message_id[300];
	uint64_t size; /* octets stored */
	unsigned recipients;
	uint64_t nuls; /* octets dropped */
	char *notes;   /* one line each, owned; NULL or "" if none */
};

/* 0: it is durable. -1: it is not stored; err has the code to end with. */
int submit_run(const struct submit *s, struct submitted *ret, struct err *e);
void submitted_done(struct submitted *s);

#endif
