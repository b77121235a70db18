/*
 * A relay's URL as the configuration has it:
 *   SCHEME://HOST[:PORT] [pin=sha256:HEX[,sha256:HEX…]] [ca=FILE] [secret=FILE]
 *     [rate=N/s] [connections=N]
 * HOST is a name, an IPv4 address or an IPv6 address in brackets. Default ports: lmtps and
 * lmtp forms 3535, smtps 465, smtp forms 587 (smtp+starttls) and 25 (smtp).
 */
#ifndef CENMAIL_RELAY_H
#define CENMAIL_RELAY_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define RELAY_PINS        4
#define RELAY_RATE_MAX    1000000000 /* recipients a second, times 1000 */
#define RELAY_CONNECTIONS 100

enum relay_tls {
	RELAY_TLS_MAY,      /* STARTTLS when offered, unverified; no password is said */
	RELAY_TLS_STARTTLS, /* STARTTLS required, verified */
	RELAY_TLS_WRAPPED,  /* TLS from the first byte, verified */
};

struct relay {
	bool lmtp;
	enum relay_tls tls;
	char host[256]; /* without brackets */
	char port[6];
	unsigned char pin[RELAY_PINS]
			 [32]; /* SHA-256 of the certificate or of its public key (SPKI) */
	unsigned pins;
	char ca[256];       /* "": the system's CAs, when there is no pin */
	char secret[256];   /* "": no AUTH */
	char user[256];     /* read from the secret file by relay_read_secret */
	char password[256]; /* the same; wiped by relay_done */
	uint64_t rate;      /* recipients a second, times 1000; 0: no limit; where has_rate */
	bool has_rate;
	unsigned connections; /* 0: not said */
	char text[320];       /* scheme://host:port, for people and for attempts */
};

/* 0, or -1 with what is wrong (EX_CONFIG). */
int relay_parse(struct span s, struct relay *ret, struct err *e);
/* Reads user and password from r->secret, a file of one line: `user:password`, or
 * `iam REGION KEY-ID:SECRET`, from which SES's password is derived (relay_secret.c). Refused when
 * it is readable or writable by others than its owner and group, or is no regular file. 0 when
 * there is no secret to read. EX_CONFIG. */
int relay_read_secret(struct relay *r, struct err *e);
void relay_done(struct relay *r);

#endif
