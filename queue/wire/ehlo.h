/*
 * What a server offers in its EHLO or LHLO reply (RFC 5321 section 4.1.1.1). Forgotten and read
 * anew at each EHLO, as RFC 9422 asks.
 */
#ifndef CENMAIL_EHLO_H
#define CENMAIL_EHLO_H

#include "base/span.h"

#include <stdint.h>

struct ehlo {
	bool pipelining;   /* RFC 2920 */
	bool chunking;     /* RFC 3030 */
	bool eightbit;     /* RFC 6152 */
	bool starttls;     /* RFC 3207 */
	bool enhanced;     /* RFC 2034 */
	bool dsn;          /* RFC 3461 */
	bool size;         /* RFC 1870 */
	uint64_t size_max; /* octets; 0: no limit named */
	bool auth_plain, auth_login;
	unsigned rcptmax, mailmax; /* RFC 9422; 0: none named */
	bool xonce;
	char xonce_journal[65]; /* printable, no spaces */
	int64_t xonce_keep_ms;
};

/* Reads one line of the reply after its code, `first` for the greeting line (domain, ignored).
 * A keyword that is malformed or unknown is ignored. */
void ehlo_line(struct ehlo *e, struct span line, bool first);

#endif
