/*
 * The server side of SMTP (RFC 5321) and LMTP (RFC 2033), without I/O and without policy: octets
 * in, events out through struct server_ops. Shared by the listener and `sendmail -bs`; it pulls in
 * neither TLS nor SASL. The commands are a table of verb, states that allow it, flags, handler;
 * one reset function is called on every way out of a transaction.
 *
 * Replies are given to ops->reply in the order of the commands. The end of a message is given to
 * ops->message, which owes its replies (one, or under LMTP one for each accepted recipient) but
 * may give them later; the server goes on reading meanwhile, so the owner keeps the order.
 */
#ifndef CENMAIL_SERVER_H
#define CENMAIL_SERVER_H

#include "base/address.h"
#include "base/buf.h"

#include <stdint.h>

#define SERVER_LINE_MAX   2048 /* octets of a command line with CRLF; AUTH lines: SERVER_AUTH_MAX */
#define SERVER_AUTH_MAX   12288
#define SERVER_ERRORS_MAX 20   /* refused commands until 421 */
#define SERVER_IDLE_MAX   1000 /* commands that move no message on, until 421 */
#define SERVER_EXCESS_MAX                                                                          \
	(64 << 20) /* octets beyond message_size that are thrown away, until the end */

struct server;

struct server_mail {                       /* MAIL FROM, checked */
	char sender[ADDRESS_PATH_MAX + 1]; /* "" is the null sender; see bare_names */
	uint64_t size;                     /* SIZE=; 0: not said */
	bool eightbit;                     /* BODY=8BITMIME */
	char ret[5], envid[101];           /* RFC 3461; RET in capitals */
};
struct server_rcpt {                 /* RCPT TO, checked */
	struct address address;      /* see bare_names */
	char once[33];               /* XONCE=, "" without */
	char notify[32], orcpt[501]; /* NOTIFY in capitals */
};

/* Answers are full lines without CRLF ("250 2.1.0 Ok"); a "" accepts with the server's own words.
 * The strings must live until the next call. */
struct server_ops {
	/* One reply, CRLF included, in order. */
	void (*reply)(void *arg, struct span text);
	/* Before they count: "" to accept, or the refusal. */
	const char *(*mail)(void *arg, const struct server_mail *m);
	const char *(*rcpt)(void *arg, const struct server_rcpt *r);
	/* Content as it comes, unstuffed. NULL: taken; else the refusal to be given when the
	 * content has ended (what follows of it is thrown away). */
	const char *(*content)(void *arg, struct span in);
	/* The content is whole, and all replies before it have been given. lmtp: one reply for each
	 * accepted recipient, in order; else one. */
	void (*message)(void *arg, bool lmtp, bool declared_eightbit);
	/* Every way out of a transaction, also after message. */
	void (*reset)(void *arg);
	/* response: decoded from base64. Fills name and answers "" or the refusal. NULL where AUTH
	 * is not to be had. */
	const char *(*auth_plain)(void *arg, struct span response, char *name, size_t size);
};

struct server_options {
	const char *hostname;  /* in the greeting and in EHLO */
	uint64_t message_size; /* SIZE */
	unsigned rcptmax;      /* 50 under LMTP and SMTP for SES; 452 beyond it */
	bool offer_lmtp;       /* LHLO is known */
	bool offer_starttls;
	bool offer_auth;  /* once under TLS */
	bool require_tls; /* 530 before it */
	bool require_auth;
	bool offer_chunking, offer_limits, offer_dsn;
	const char *xonce; /* "JOURNAL SECONDS", or NULL: not offered */
	/* For a program of this host that speaks to us by pipe, and expects what sendmail does: */
	bool bare_names;    /* MAIL and RCPT take names without a domain; `at` is `len` then */
	bool helo_optional; /* MAIL may come first */
	bool mends_content; /* the owner mends bare CR, bare LF and NUL; else content with them is
			       refused. Neither ends it in any case */
};

enum server_state {
	SERVER_OPEN,
	SERVER_WANTS_TLS, /* the 220 to STARTTLS was given: flush, handshake, server_tls_done.
			     Octets that came after STARTTLS have been thrown away, and the
			     connection is to be ended when there were any: then the state is
			     SERVER_CLOSED */
	SERVER_CLOSED     /* QUIT, 421, or a fault: flush what was given, then close */
};

struct server *server_new(const struct server_options *o, const struct server_ops *ops, void *arg);
void server_free(struct server *s);
void server_greet(struct server *s);
/* Takes input. With *ret_used < in.n when it stops before the end: state is not SERVER_OPEN, or
 * server_pause was called; the owner keeps the rest and brings it again. */
void server_input(struct server *s, struct span in, size_t *ret_used);
enum server_state server_state(const struct server *s);
void server_tls_done(struct server *s, const char *describe);
/* The owner's ceiling on what is in flight: input stops after the command under way. */
void server_pause(struct server *s, bool paused);
/* A line of the owner's (421 for stopping or a deadline, or in place of the greeting), then
 * SERVER_CLOSED. */
void server_end(struct server *s, const char *line);

bool server_in_transaction(const struct server *s); /* between MAIL and the end of the content */
bool server_in_content(const struct server *s);
bool server_is_lmtp(const struct server *s);
bool server_is_extended(const struct server *s);      /* EHLO or LHLO was said, not HELO */
const char *server_helo(const struct server *s);      /* "" before EHLO; printable */
const char *server_auth_name(const struct server *s); /* "" without */

#endif
