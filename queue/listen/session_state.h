/*
 * What session.c (the conversation), session_deadline.c and intake.c (what the engine tells) share.
 */
#ifndef CENMAIL_SESSION_STATE_H
#define CENMAIL_SESSION_STATE_H

#include "listen/replies.h"
#include "listen/session.h"
#include "listen/strip.h"
#include "wire/conn.h"
#include "wire/server.h"

#include <netinet/in.h>

struct session {
	struct listener *l;
	struct terms *terms;
	const struct door_client *who; /* of these terms; NULL: no name was said */
	struct visitor *visitor;
	unsigned counted; /* messages under way, as visitors knows them */
	struct conn conn;
	enum listen_tls mode;
	struct server *server;
	struct replies *replies;
	struct sockaddr_storage peer;
	char address[INET6_ADDRSTRLEN];
	char tls[100];    /* tls_describe; "" in the clear */
	char client[300]; /* the journal's key */

	char in[16 * 1024];
	size_t in_len, in_off;
	struct buf out;
	short read_wants, write_wants; /* what poll() has to say first */
	bool ended;                    /* the client sends no more */
	bool gone;                     /* the connection is of no use, or memory is short */

	/* deadlines, monotonic ms; written: when the client last took something, or began to be
	 * waited for. What it sends moves none of them: an octet a minute would keep a session. */
	int64_t began, written, content_since;
	uint64_t content_from; /* conn.in when the content began */

	/* the transaction */
	struct message *message; /* NULL between them */
	struct strip strip;
	bool begun; /* the fields of ours are written */
	bool eightbit;
	char refusal[ANSWER_MAX + 1];

	unsigned messages; /* for the log */
};

/* The events of the engine; their arg is the session. */
extern const struct server_ops intake_ops;

/* --- session.c --- */
/* One turn of the conversation: what is ready is written, what was read is done; else it waits for
 * either, or a deadline. False: it is over. */
bool session_turn(struct session *s);

/* Whether more may be read; the engine is told. *ret_crowded: not this session's own messages are
 * what keeps it from it. */
bool session_may_read(struct session *s, bool *ret_crowded);

/* --- session_deadline.c --- */
/* When the client has been waited for long enough, monotonic ms; INT64_MAX: it is not waited for.
 */
int64_t session_deadline(const struct session *s);

#endif
