/*
 * One message of which there is something to tell: whether anybody is told, who, and the notice.
 */
#ifndef CENMAIL_NOTICE_CASE_H
#define CENMAIL_NOTICE_CASE_H

#include "base/conf.h"
#include "base/recipients.h"
#include "flush/notice_report.h"

struct notice_case {
	enum notice_kind kind;
	struct untold untold;
	bool *of;              /* which recipients the notice is of */
	struct recipients *to; /* NULL: nobody is told */
	struct store_rcpt *rcpt;
	struct notice_made made;
	struct store_submission notice;
	bool last;
};

/* Takes the untold. Whether somebody is to be told, and who: not where the sender is null, or
 * bounce_sender, or the message is a notice, or by NOTIFY (RFC 3461). 0 or -1. */
int notice_case_begin(struct notice_case *c, const struct conf_mail *conf, enum notice_kind kind,
	struct untold *untold, struct err *e);
/* The address that is told; NULL: nobody. */
const char *notice_case_to(const struct notice_case *c);
/* Nobody is told after all. */
void notice_case_drop(struct notice_case *c);
/* Makes the notice, where somebody is told. 0 or -1. */
int notice_case_compose(
	struct notice_case *c, const struct conf_mail *conf, int64_t now, struct err *e);
void notice_case_done(struct notice_case *c);

#endif
