/*
 * The listing of `mailq` and `-bp`, in Postfix's layout.
 */
#ifndef CENMAIL_MAILQ_H
#define CENMAIL_MAILQ_H

#include "base/conf.h"
#include "sendmail/options.h"

#include <sys/types.h>

/* root and the queue's owner see everything, others their own; of that, what -qI, -qS and -qR
 * choose. What lies in incoming/ is listed too, also when the queue can't be had. 0 or -1. */
int mailq_print(const struct options *o, const struct conf_mail *conf, uid_t caller, FILE *to,
	struct err *e);

#endif
