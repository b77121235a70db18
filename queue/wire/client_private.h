/*
 * What the files of the client share, and nobody else:
 *
 *   client.c        life, octets in and out, deadlines, the end
 *   client_flight.c transactions in and out
 *   client_fifo.c   the replies that are expected
 *   client_open.c   from the greeting to CLIENT_READY
 *   client_send.c   the send plan: what may be written next
 *   client_reply.c  what a reply means: a table of (step, class of reply)
 *   client_mail.c   the replies to a transaction's own commands
 */
#ifndef CENMAIL_CLIENT_PRIVATE_H
#define CENMAIL_CLIENT_PRIVATE_H

#include "wire/client.h"
#include "wire/line.h"
#include "wire/parser.h"
#include "wire/sasl.h"

/* What of a transaction is to be written next. */
enum phase {
	PHASE_RSET, /* and whether it is needed at all */
	PHASE_MAIL,
	PHASE_RCPT,
	PHASE_DATA, /* or BDAT n LAST */
	PHASE_GO,   /* 354 is awaited */
	PHASE_GATE, /* the content waits for client_open_gate */
	PHASE_BODY,
	PHASE_DOT,
	PHASE_OVER
};

/* What a transaction waits for before its commands are written. */
enum mode {
	MODE_WINDOW, /* for nothing */
	MODE_GROUP,  /* before the content, for all replies that are owed */
	MODE_STEP    /* before each command */
};

struct expect {
	enum step step;
	struct transaction *t; /* NULL: none; RSET has the one that follows it */
	unsigned rcpt;         /* STEP_RCPT: which */
	/* Where in all that is written the command begins (STEP_CONTENT: BDAT or the first octet)
	 * and where it ends. A reply before the end answers something else. */
	uint64_t begin, end;
};
#define EXPECT_OPEN UINT64_MAX /* as end: not all of it is staged yet */

struct client {
	struct client_options o;
	enum client_state state;
	int64_t born_ms, now_ms;
	struct parser parser;
	struct ehlo ehlo;
	struct outcome fault;
	bool tls, verified;
	bool said_helo; /* EHLO was refused */
	bool quit_wanted;
	bool doomed; /* it ends without a word when nothing is in flight */
	struct sasl_login *login;

	/* Staged for the transport: out.data from out_off on. */
	struct buf out;
	size_t out_off;
	uint64_t written; /* all octets handed over so far */
	bool writing;     /* some wait, since: */
	int64_t write_since_ms;

	/* The FIFO: a ring of cap expected replies. */
	struct expect *fifo;
	size_t fifo_cap, fifo_first, fifo_len;
	size_t fifo_written;   /* how many of them have their command written, from the first on */
	int64_t head_since_ms; /* when the first became both first and written */

	/* In flight, in order; `sending` is the one the plan is at, NULL when all is written. */
	struct transaction *first, *last, *sending;
	int64_t first_since_ms;
	unsigned flying, mails;
	size_t flying_octets;
	struct transaction *done_first, *done_last;
	unsigned done;

	bool needs_rset; /* before the next MAIL */
	size_t body_off; /* of the content being staged */
	struct stuff stuff;
};

/* client_fifo.c */
/* Expects a reply to the command that was just staged from `begin` on. Out of memory kills. */
void client_expect(
	struct client *c, enum step step, struct transaction *t, unsigned rcpt, uint64_t begin);
struct expect *client_head(struct client *c); /* NULL: nothing is expected */
void client_pop(struct client *c);
/* The content is staged to its end: its reply may come once that is written. */
void client_close_content(struct client *c);
/* Takes note of what has been written up to c->written. */
void client_note_written(struct client *c);
/* The step whose answer the transaction waits for; STEP_CONNECT: nothing of it has been said. */
enum step client_waits_for(const struct client *c, const struct transaction *t);

/* client_open.c */
void client_say_ehlo(struct client *c);
void client_on_greeting(struct client *c, const struct expect *x, const struct reply *r);
void client_on_ehlo(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_ehlo(struct client *c, const struct expect *x, const struct reply *r);
void client_on_starttls(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_starttls(struct client *c, const struct expect *x, const struct reply *r);
void client_on_challenge(struct client *c, const struct expect *x, const struct reply *r);
void client_on_auth(struct client *c, const struct expect *x, const struct reply *r);

/* client_send.c */
/* How many octets have ever been staged. */
uint64_t client_staged(const struct client *c);
size_t client_unsent(const struct client *c);
enum mode client_mode(const struct client *c);
/* Stages as much as may be written now, up to some 32 KB. */
void client_plan(struct client *c);
/* QUIT, when it is wanted and nothing is in flight or owed. */
void client_say_quit(struct client *c);

/* client_reply.c */
void client_take_reply(struct client *c, const struct reply *r);

/* client_mail.c */
void client_on_mail(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_mail(struct client *c, const struct expect *x, const struct reply *r);
void client_on_rcpt(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_rcpt(struct client *c, const struct expect *x, const struct reply *r);
void client_on_go_ahead(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_data(struct client *c, const struct expect *x, const struct reply *r);
void client_on_content(struct client *c, const struct expect *x, const struct reply *r);
void client_on_no_content(struct client *c, const struct expect *x, const struct reply *r);
/* A refusal that came before the content was written whole: the last word on this connection. Under
 * LMTP it is one recipient's; what the others would have been told is not known. */
void client_on_early_refusal(struct client *c, const struct expect *x, const struct reply *r);
/* Whether the content is owed more replies (LMTP: one for each accepted recipient). */
bool client_content_owes(const struct client *c, const struct transaction *t);
/* Every recipient that has no outcome yet gets this reply at this step. */
void client_settle(struct transaction *t, enum step step, const struct reply *r);
bool client_decided(const struct outcome *o);
/* Whether, once no reply is owed, nothing more of it needs to be said. */
bool client_is_hopeless(const struct transaction *t);

/* client_flight.c */
/* The transaction, which is the first in flight, is over. */
void client_finish(struct client *c, struct transaction *t);
/* The same at the end of the connection: its undecided recipients are lost, or, where it is the
 * culprit, unexpected. */
void client_give_up(struct client *c, struct transaction *t, bool culprit);

/* client.c */
/* The end. All in flight are given back: their undecided recipients as lost, the culprit's as
 * unexpected where the fault is that. */
void client_die(struct client *c, const struct outcome *fault, struct transaction *culprit);
void client_die_lost(struct client *c, enum step step, const char *why);
void client_die_refused(struct client *c, enum step step, const struct reply *r);
/* r or why, the other NULL. */
void client_die_unexpected(
	struct client *c, const struct expect *x, const struct reply *r, const char *why);

#endif
