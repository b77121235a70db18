/*
 * The client side of SMTP (RFC 5321) and LMTP (RFC 2033), without I/O: octets in, octets out, a
 * FIFO of the replies that are expected. link.h joins it with a socket. It knows no policy: what
 * an outcome means is for verdict.h.
 *
 * How much is in flight depends on the peer:
 *   XONCE                       a window of whole messages: MAIL, RCPT…, BDAT LAST, one after the
 *                               other, no waiting
 *   PIPELINING (and CHUNKING)   one unanswered content; behind it, in the same group, RSET and the
 *                               next message's MAIL, RCPT… and DATA; its content waits
 *   neither                     lock step
 *
 * A reply that nothing expects, or that does not parse, ends the connection, never is skipped.
 */
#ifndef CENMAIL_CLIENT_H
#define CENMAIL_CLIENT_H

#include "base/err.h"
#include "base/relay.h"
#include "base/verdict.h"
#include "wire/ehlo.h"

#include <stdint.h>

#define CLIENT_ONCE_HEX 32 /* an XONCE token: 128 bits in lower-case hexadecimal */

/* One recipient of a transaction. The strings are borrowed. */
struct client_rcpt {
	const char *address;            /* a parsed address, without brackets */
	char once[CLIENT_ONCE_HEX + 1]; /* "": none */
	const char *notify, *orcpt;     /* RFC 3461, see base/dsn.h; NULL: none */
	struct outcome outcome;         /* filled by the client */
};

/* One message to a batch of recipients, at most client_rcptmax() of them. Owned by the caller and
 * untouched by it from client_submit until client_done gives it back. */
struct transaction {
	const char *sender; /* "" is the null sender */
	struct client_rcpt *rcpt;
	unsigned rcpts;
	struct span content;     /* lines end in CRLF, no dot-stuffing; borrowed */
	bool eightbit;           /* some octet of the content is above 127 */
	const char *ret, *envid; /* RFC 3461; NULL: none */
	bool gated;              /* DATA only: stop before the content (client_gate) */
	void *owner;

	/* filled by the client; monotonic microseconds, 0: it never came to it */
	int64_t began, content_sent, ended;

	/* the client's own: how far it is */
	struct transaction *next;
	unsigned char phase, mode;
	bool refused;                   /* its MAIL or its DATA was */
	bool go_ahead;                  /* 354 came */
	unsigned said, heard, accepted; /* RCPTs written, answered, answered well */
	unsigned settled, turn;         /* LMTP: replies to the content, whose comes next */
};

enum client_state {
	CLIENT_OPENING, /* greeting, EHLO, STARTTLS, AUTH under way */
	CLIENT_TLS,   /* 220 came to STARTTLS: the owner runs the handshake, then client_tls_done */
	CLIENT_READY, /* transactions are taken */
	CLIENT_QUITTING,
	CLIENT_DEAD /* over: client_fault says why; every transaction has been given back */
};

struct client_options {
	const struct relay *relay; /* borrowed: lmtp, tls, user, password, host */
	const char *helo;          /* borrowed: our name in EHLO or LHLO */
	bool in_clear;             /* RELAY_TLS_MAY alone: STARTTLS is not said, though offered */
	unsigned window;           /* messages in flight on an XONCE peer, at least 1 */
	size_t window_bytes;       /* and their octets; one message may exceed it alone */
	int64_t total_ms;          /* from a transaction's first octet, or the end of the one
				      before it, to its last reply; it grows by a minute a
				      megabyte of content. 0: none */
	int64_t opening_ms;        /* from client_new to CLIENT_READY; 0: none */
	int64_t reply_ms;          /* 0: RFC 5321 section 4.5.3.2's for each step; else, for
				      tests, this for every reply and for a write's progress */
};

struct client;

struct client *client_new(const struct client_options *o, int64_t now_ms); /* NULL: no memory */
void client_free(struct client *c);

/* Octets from the peer. After it, look at client_state, client_output and client_done. */
void client_input(struct client *c, struct span in, int64_t now_ms);
/* The octets that are to be written next, at most some 32 KB at a time; empty: nothing now. They
 * stay valid until the next call of any client function. */
struct span client_output(struct client *c, int64_t now_ms);
void client_written(struct client *c, size_t n, int64_t now_ms);

/* `wrapped` connections call it before the greeting, STARTTLS ones in CLIENT_TLS. AUTH is said
 * only when verified. */
void client_tls_done(struct client *c, bool verified, int64_t now_ms);

/* The connection broke, or its deadline passed: all that is unanswered is given back as lost,
 * with `why`; maybe_sent where the whole content had been written. */
void client_cut(struct client *c, enum step step, const char *why, int64_t now_ms);

enum client_state client_state(const struct client *c);
/* Why it is dead, as an outcome about the road (step, lost or the reply). */
const struct outcome *client_fault(const struct client *c);
const struct ehlo *client_ehlo(const struct client *c);
/* The most recipients a transaction may have: the peer's RCPTMAX, at most 50 when it names none
 * and speaks XONCE, else 100. */
unsigned client_rcptmax(const struct client *c);
/* When client_cut is due for want of progress: a reply's deadline, or a write's. INT64_MAX: none.
 * *ret_step says which reply is waited for. */
int64_t client_deadline(const struct client *c, enum step *ret_step);

/* Whether one more of this many octets may be submitted now. Where the peer takes a window of them,
 * not before most of what was submitted has been written. */
bool client_room(const struct client *c, size_t content_octets);
/* Takes it; only in CLIENT_READY. SIZE that the peer's limit forbids is answered here, as the
 * peer would (552), and so is an address that would break a command line (501). */
void client_submit(struct client *c, struct transaction *t, int64_t now_ms);
/* The next transaction that is over, or NULL. Every recipient's outcome is filled. */
struct transaction *client_done(struct client *c);
/* Whether client_done would give one. */
bool client_has_done(const struct client *c);
/* Submitted and not yet given back by client_done. */
unsigned client_flying(const struct client *c);

/* Gives back what is in flight behind the first and has no content yet: that one is not answered,
 * and they can go another way. Nothing is charged to them (they are lost at STEP_CONNECT). Where
 * their commands have been said, the connection ends when the first is answered. Not with XONCE. */
void client_withdraw(struct client *c, int64_t now_ms);
/* Whether the content of the first in flight has been written whole. */
bool client_content_out(const struct client *c);

/* The gated transaction whose content may be written now, or NULL; and its release. */
struct transaction *client_gate(struct client *c);
/* The same, earlier: its DATA is written and its RCPTs are answered, some of them well. What has to
 * be done before the gate is opened can begin. */
struct transaction *client_near_gate(struct client *c);
void client_open_gate(struct client *c, struct transaction *t, int64_t now_ms);

/* QUIT as soon as nothing is in flight; nothing more is taken. The client does so by itself when
 * the peer's MAILMAX (RFC 9422) is reached. */
void client_quit(struct client *c, int64_t now_ms);

#endif
