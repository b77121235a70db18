/*
 * struct pool: messages that wait for a worker, and the workers that wait for a message.
 *
 * Clients take turns, by recipients: one with a long queue does not keep another waiting. What one
 * client brings is first come, first served.
 *
 * The worker that was busy last is called first: its connection to SES is open. So a quiet listener
 * keeps one connection in use, and not all of them half asleep. A worker without a connection is
 * called only while there are fewer of them than SES allows.
 */
#ifndef CENMAIL_POOL_H
#define CENMAIL_POOL_H

#include "listen/message.h"

#include <pthread.h>

struct pool;

struct seat { /* a worker's place; embedded by it */
	pthread_cond_t called;
	bool waiting;
	bool engaged; /* has a connection, or may make one */
	struct seat *prev, *next;
};

/* The ceilings are on what was put and not yet given back. NULL: no memory. */
struct pool *pool_new(unsigned messages_max, uint64_t octets_max, unsigned connections_max);
void pool_free(struct pool *p);

/* Whether a session may go on reading; beyond the ceilings it waits, nothing is refused. */
bool pool_room(struct pool *p);
/* Takes a reference on the message. */
void pool_put(struct pool *p, struct message *m);

void seat_init(struct seat *s);
void seat_done(struct seat *s);
/* The next message, whose reference is the caller's until pool_give_back. NULL: the deadline
 * (monotonic ms) passed, or the pool is closed and empty. warm: the caller's connection is open.
 */
struct message *pool_take(struct pool *p, struct seat *s, bool warm, int64_t deadline_ms);
void pool_give_back(struct pool *p, struct message *m);
/* It could not be worked on: it is its client's next one again. */
void pool_unget(struct pool *p, struct message *m);

/* SES lets in no more connections: from now on there are only as many as there are beside the
 * caller's; after a minute one more is tried, and so on. False: there are no others. */
bool pool_crowded(struct pool *p, int64_t now_ms);

/* No message will be put any more: workers finish what is there. */
void pool_close(struct pool *p);
bool pool_closed(struct pool *p);

#endif
