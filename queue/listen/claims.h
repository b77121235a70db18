/*
 * struct claims: the tokens that are on their way in this process, and who waits for each.
 */
#ifndef CENMAIL_CLAIMS_H
#define CENMAIL_CLAIMS_H

#include "listen/message.h"

struct claims;

struct claims *claims_new(void); /* NULL: no memory */
void claims_free(struct claims *c);

enum claimed { CLAIM_MADE, CLAIM_TWIN, CLAIM_NO_MEMORY };
/* CLAIM_TWIN: another has it, and recipient i of m will be answered when that one is. A claim
 * borrows m until it is let go; a twin is referenced. */
enum claimed claims_make(struct claims *c, struct message *m, unsigned i);
/* Ends it and gives `answer` to its twins. */
void claims_end(struct claims *c, const struct message *m, unsigned i, const char *answer);

#endif
