/*
 * What SES refuses in a header, as far as its documentation tells.
 */
#ifndef CENMAIL_SES_H
#define CENMAIL_SES_H

#include "base/span.h"

#define SES_ONCE_MAX 128

/* Fields that may stand once only in a message ("Amazon SES header fields" in its Developer Guide).
 * The number of one, below SES_ONCE_MAX; -1: it may stand as often as it likes. */
int ses_once(struct span name);

#endif
