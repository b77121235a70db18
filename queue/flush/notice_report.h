/*
 * The notice that tells a sender what became of his message: multipart/report (RFC 6522) of a text
 * for people, message/delivery-status (RFC 3464), and the message or its header. No I/O, no log.
 */
#ifndef CENMAIL_NOTICE_REPORT_H
#define CENMAIL_NOTICE_REPORT_H

#include "base/buf.h"
#include "base/err.h"
#include "store/notice.h"

#define NOTICE_MESSAGE_ID_MAX 400
#define NOTICE_MAX            (8 * 1024 * 1024) /* octets: a ceiling that 1000 recipients don't meet */

struct notice_report {
	enum notice_kind kind;
	const char *hostname, *from, *to; /* addresses, as the header has them */
	const struct untold *untold;
	const bool *of; /* which of its recipients */
	int64_t now, lifetime;
	bool last; /* more will fail, and not be told this hour */
};

struct notice_made {
	struct buf content; /* initialised by notice_compose */
	char message_id[NOTICE_MESSAGE_ID_MAX];
	bool eightbit;
};

/* 0 or -1 (EX_TEMPFAIL: no memory). */
int notice_compose(const struct notice_report *n, struct notice_made *ret, struct err *e);

#endif
