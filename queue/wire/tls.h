/*
 * TLS, and all that uses OpenSSL's libssl. TLS 1.2 and later, no renegotiation, no
 * compression, session resumption on the client's side. Works on non-blocking descriptors that it
 * borrows.
 */
#ifndef CENMAIL_TLS_H
#define CENMAIL_TLS_H

#include "base/err.h"
#include "base/relay.h"

#include <sys/types.h>

struct tls_context; /* keys, CAs, settings; shared by connections and threads; reference counted */
struct tls;         /* one connection */

enum tls_io { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_FAILED };

/* For a relay: verifies by r's pins when there are any (and then the name and the issuer don't
 * count, but the dates do), else by r->ca or the system's CAs and the name (or address) r->host.
 * RELAY_TLS_MAY: no verification. NULL on failure (EX_CONFIG: a CA file that can't be read). */
struct tls_context *tls_client_context(const struct relay *r, struct err *e);
/* For a listener: PEM files. Refuses a key that does not fit, or that others may read (EX_CONFIG).
 */
struct tls_context *tls_server_context(const char *certificate, const char *key, struct err *e);
void tls_context_unref(struct tls_context *c);

/* NULL on failure (EX_OSERR). */
struct tls *tls_new(struct tls_context *c, int fd, struct err *e);
void tls_free(struct tls *t);

/* Goes on with the handshake; TLS_OK when it is done and the peer is who it should be. TLS_FAILED
 * with words that name the reason: expired on DATE, name mismatch, pin mismatch with the pin seen,
 * self-signed, protocol version. EX_PROTOCOL / EX_NOPERM. */
enum tls_io tls_handshake(struct tls *t, struct err *e);
/* TLS_OK: *ret_n octets were read or taken. TLS_EOF only after the peer's close_notify: a bare end
 * of the connection is TLS_FAILED ("cut"). A write that wants must be repeated with the same bytes
 * or more (partial writes and moving buffers are on). */
enum tls_io tls_read(struct tls *t, void *p, size_t n, size_t *ret_n, struct err *e);
enum tls_io tls_write(struct tls *t, const void *p, size_t n, size_t *ret_n, struct err *e);
/* Sends close_notify once; does not wait. */
void tls_shutdown(struct tls *t);
/* Whether decrypted octets wait inside the library (poll() would not show them). */
bool tls_pending(const struct tls *t);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", for the Received line and the log. */
const char *tls_describe(const struct tls *t);
bool tls_verified(const struct tls *t);
/* Whether the handshake went on from an earlier session. */
bool tls_resumed(const struct tls *t);

#endif
