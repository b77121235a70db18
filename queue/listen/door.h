/*
 * Who is let in: addresses by `allow`, names by the file of clients. Fixed once it is open, so
 * that threads need no lock.
 */
#ifndef CENMAIL_DOOR_H
#define CENMAIL_DOOR_H

#include "base/cidr.h"
#include "base/conf.h"

#define DOOR_CLIENTS_MAX 4096

struct door;
struct door_client; /* one that is known; lives as long as its door */

/* Reads c->clients, lines of NAME:SHA-256[:PATTERN,PATTERN…]: the digest in hexadecimal, and the
 * envelope senders that this client may have. '#' begins a comment line. Refused when others may
 * write to it. 0 or -1 (EX_CONFIG, with file and line). */
int door_open(struct door **ret, const struct conf_listen *c, struct err *e);
void door_close(struct door *d);

bool door_allows(const struct door *d, const struct sockaddr *sa);
bool door_wants_names(const struct door *d);
/* Constant time in the password; a name that is not known takes as long as one that is. */
bool door_knows(const struct door *d, const char *name, struct span password);
/* NULL: not known. */
const struct door_client *door_client(const struct door *d, const char *name);
/* Whether both have the same secret: of two doors, whether a login is still good. */
bool door_same_secret(const struct door_client *a, const struct door_client *b);
/* The null sender is "", and stands in the file as <>. */
bool door_may_send(const struct door_client *c, const char *sender);

#endif
