/*
 * A message as it is sent: senders replaced as the configuration says now, in the envelope and in
 * the header's From and Sender, and fields added. No other octet is touched. No I/O, no log.
 */
#ifndef CENMAIL_REWRITE_H
#define CENMAIL_REWRITE_H

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"

/* Addresses in From and Sender of one message: each is compared with every pattern. */
#define REWRITE_ADDRESSES_MAX 100

struct rewrite {
	const struct conf_list *senders; /* PATTERN ADDRESS; the first match wins */
	bool reply_to;      /* what From was goes into Reply-To, where the message has none */
	struct span fields; /* whole fields, put before all others */
};

/* The content with its header as it is sent, into `out`, which has been initialised by nobody. 1;
 * 0: it goes as it is, and out is empty; -1: no memory. Names, comments, groups and folds around an
 * address stay. A field that can't be read, or would get a line over 998 octets, is left as it is,
 * and `note` says so; its code is 0 when there is nothing to say. */
int rewrite_content(
	const struct rewrite *w, struct span content, struct buf *out, struct err *note);

#endif
