/*
 * What the listener puts before a message: one Received field (RFC 5321 section 4.4), and the
 * fields of its configuration.
 */
#ifndef CENMAIL_RECEIVED_H
#define CENMAIL_RECEIVED_H

#include "base/buf.h"
#include "base/conf.h"

struct received {
	const char *helo, *address; /* of the client; printable */
	const char *hostname;       /* ours */
	const char *id;
	const char *tls; /* as tls_describe; "": none */
	bool lmtp, extended, authenticated;
	const char *recipient; /* the only one, or NULL: Bcc must not be told */
	int64_t now;           /* wall ms */
};

/* Appends both. The protocol word is RFC 3848's: ESMTPSA, LMTPS and so on. */
void received_write(const struct received *r, const struct conf_list *headers, struct buf *out);

#endif
