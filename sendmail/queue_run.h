/*
 * `sendmail -q`: what waits becomes due now, and the flusher sends it.
 */
#ifndef CENMAIL_QUEUE_RUN_H
#define CENMAIL_QUEUE_RUN_H

#include "base/conf.h"
#include "sendmail/options.h"

#include <sys/types.h>

/* For root, for the owner of the queue, and where the program has no set-user-ID bit for whoever
 * may write the queue: anybody else is refused (EX_NOPERM). Called by root it must still be root:
 * the flusher reads the relay's secret as root, and then becomes the queue's owner. The queue is
 * changed by a child that has become its owner for good.
 *
 * Does not come back when the flusher was started: its exit code is the program's. -1 with err. */
int queue_run(const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e);

#endif
