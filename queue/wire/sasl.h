/*
 * SASL (RFC 4422, 4954) by Cyrus libsasl2, and the only file that uses it.
 */
#ifndef CENMAIL_SASL_H
#define CENMAIL_SASL_H

#include "base/buf.h"
#include "base/err.h"

/* Once in a process, before threads; sets the library's mutexes to pthread's. Either or both
 * sides. 0 or -1 (EX_OSERR). */
int sasl_start(bool client, bool server, struct err *e);

/* --- client: one exchange --- */
struct sasl_login;

/* mechanism is "PLAIN" or "LOGIN". The strings are copied, and wiped at the end. NULL on failure;
 * a plug-in that is not installed is named with its package (EX_CONFIG). */
struct sasl_login *sasl_login_new(const char *mechanism, const char *host, const char *user,
	const char *password, struct err *e);
void sasl_login_free(struct sasl_login *s);
/* The initial response, base64, ready for "AUTH PLAIN <out>" ("=" when it is empty). LOGIN has
 * none: out stays empty. */
int sasl_login_first(struct sasl_login *s, struct buf *out, struct err *e);
/* Answers a 334 challenge (base64 text; SES's `334 Ok` that is not base64 is an error). */
int sasl_login_step(struct sasl_login *s, struct span challenge, struct buf *out, struct err *e);

/* --- server: one AUTH PLAIN --- */
/* Decides about a name and its password; constant time in the password; called by sasl_check. */
typedef bool (*sasl_verify)(void *arg, const char *name, struct span password);

enum sasl_checked { SASL_GOOD, SASL_WRONG, SASL_MALFORMED, SASL_BROKEN };
/* A fresh handle for each AUTH. response is the decoded PLAIN message (authzid NUL authcid NUL
 * password); an authzid that is set and differs from authcid is SASL_WRONG. name gets the
 * authenticated name. */
enum sasl_checked sasl_check_plain(struct span response, sasl_verify verify, void *arg, char *name,
	size_t name_size, struct err *e);

#endif
