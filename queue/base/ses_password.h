/*
 * The SMTP password that AWS derives from the secret of an IAM key, by region
 * (https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html). The key needs the permission
 * ses:SendRawEmail; its id is the user name.
 */
#ifndef CENMAIL_SES_PASSWORD_H
#define CENMAIL_SES_PASSWORD_H

#include "base/err.h"
#include "base/span.h"

#define SES_PASSWORD_SIZE 45

/* 0, or -1 (EX_CONFIG): no region, no secret, or too long a one. The caller wipes `out`. */
int ses_password(
	struct span region, struct span secret, char out[SES_PASSWORD_SIZE], struct err *e);

#endif
