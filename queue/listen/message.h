/*
 * struct message: one mail on its way through: envelope, content, and what each recipient's
 * answer is. A session fills it and hands it to the pool; from then on workers answer its
 * recipients, each once, in any order and from any thread. Reference counted.
 */
#ifndef CENMAIL_MESSAGE_H
#define CENMAIL_MESSAGE_H

#include "base/address.h"
#include "base/spool.h"
#include "wire/client.h"

#include <stdatomic.h>

#define MESSAGE_RCPTS 50 /* SES's own limit */

struct figures;
struct replies;

struct message_rcpt {
	char address[ADDRESS_PATH_MAX + 1];
	char once[CLIENT_ONCE_HEX + 1]; /* "": none */
	char *answer;                   /* NULL until it is answered, or for want of memory */
};

struct message {
	atomic_uint refs, owed; /* owed: recipients without an answer */
	char id[24];            /* in the log and in Received */
	char client[300];       /* its AUTH name, else its address in brackets: the journal's key */
	char sender[ADDRESS_PATH_MAX + 1];
	struct message_rcpt rcpt[MESSAGE_RCPTS];
	unsigned rcpts;
	bool lmtp; /* an answer for each recipient; else one for all, and all or nothing */
	bool eightbit;
	struct spool content; /* as SES gets it; its bytes are let go when all are answered */
	int64_t whole_us;     /* when all of it was here */
	struct replies *replies;
	struct figures *figures; /* where its answers are counted; NULL: nowhere */
	bool done;               /* all are answered: under the lock of `replies` */
	struct message *next;    /* the pool's */
};

/* Takes a reference on replies. NULL: no memory. */
struct message *message_new(struct replies *replies, const char *client, const char *spool_dir);
void message_ref(struct message *m);
void message_unref(struct message *m); /* NULL is fine */

static inline uint64_t message_octets(const struct message *m)
{
	return m->content.size;
}

/* The answer of recipient i, without CRLF. The last one makes the message done, and its content is
 * let go. */
void message_answer(struct message *m, unsigned i, const char *line);
/* Appends the replies, CRLF included: under LMTP each recipient's, else one: the first that is no
 * success, or the first. */
void message_say(const struct message *m, struct buf *out);

#endif
