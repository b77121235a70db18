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

/* Reads c->clients, lines of NAME:SHA-256 in hexadecimal; '#' begins a comment line. Refused when
 * others may write to it. 0 or -1 (EX_CONFIG, with file and line). */
int door_open(struct door **ret, const struct conf_listen *c, struct err *e);
void door_close(struct door *d);

bool door_allows(const struct door *d, const struct sockaddr *sa);
bool door_wants_names(const struct door *d);
/* Constant time in the password; a name that is not known takes as long as one that is. */
bool door_knows(const struct door *d, const char *name, struct span password);

#endif
