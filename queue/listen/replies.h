/*
 * struct replies: what a session owes its client, in order: lines that are ready, and messages
 * whose answers are still to come from a worker. The session puts and takes; any thread may bring
 * an answer, at any time, also after the session has gone. Reference counted.
 */
#ifndef CENMAIL_REPLIES_H
#define CENMAIL_REPLIES_H

#include "base/buf.h"

#include <stdint.h>

struct replies;
struct message;

/* NULL: no memory, or no descriptor. */
struct replies *replies_new(void);
void replies_ref(struct replies *r);
void replies_unref(struct replies *r); /* NULL is fine */

/* --- for the session --- */
/* 0, or -1 for want of memory: the order can't be kept, and the session has to end. */
int replies_add(struct replies *r, struct span text);
/* Takes a reference on the message; its answers come at this place. 0 or -1. */
int replies_owe(struct replies *r, struct message *m);
/* Moves what is ready, up to the first message that is not, to the end of `out`. */
void replies_take(struct replies *r, struct buf *out);
/* Messages, and octets of their content, whose answers have not been taken. */
void replies_flying(struct replies *r, unsigned *ret_messages, uint64_t *ret_octets);
/* Nothing is owed and nothing is ready. */
bool replies_empty(struct replies *r);
/* Readable when an answer came since it was last drained by replies_woken. */
int replies_fd(const struct replies *r);
void replies_woken(struct replies *r);
/* The session has gone: nothing is kept for it any more. */
void replies_abandon(struct replies *r);

/* --- for whoever answers --- */
/* All answers of the message are in it. */
void replies_done(struct replies *r, struct message *m);

#endif
