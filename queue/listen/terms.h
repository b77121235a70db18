/*
 * struct terms: on what terms clients are served: the configuration, the door, the certificate.
 * What SIGHUP replaces as a whole, while sessions that hold the old one go on with it until their
 * next message. Fixed once it is made; reference counted.
 */
#ifndef CENMAIL_TERMS_H
#define CENMAIL_TERMS_H

#include "listen/door.h"
#include "wire/tls.h"

#include <pthread.h>
#include <stdatomic.h>

struct terms {
	atomic_uint refs;
	struct conf_listen conf;
	struct door *door;
	struct tls_context *tls; /* NULL where all is in the clear */
};

/* Reads it all. before: the terms in force, whose sockets stay as they are; NULL at the start. 0 or
 * -1. */
int terms_read(struct terms **ret, const char *path, const struct terms *before, struct err *e);
void terms_unref(struct terms *t); /* NULL is fine */

/* Those in force. */
struct terms_now {
	pthread_mutex_t lock;
	struct terms *terms;
};

void terms_now_init(struct terms_now *n);
void terms_now_done(struct terms_now *n);
struct terms *terms_get(struct terms_now *n);         /* a reference that is the caller's */
void terms_put(struct terms_now *n, struct terms *t); /* takes the reference */

#endif
