/*
 * The terms, read from the configuration and the files that it names.
 */
#include "listen/terms.h"

#include <stdlib.h>

/* tls: whether it is wanted in any case, as the sockets of the start speak it. */
static int read_files(struct terms *t, bool tls, struct err *e)
{
	const struct conf_listen *c = &t->conf;

	for (unsigned i = 0; i < c->listen.n; i++) {
		bool plain = strcmp(c->listen.v[i].rest, "plain") == 0;
		tls = tls || !plain;
		if (plain && c->clients[0])
			return err_set(e, EX_CONFIG,
				"listen %s plain: \"clients\" asks for passwords, which are not"
				" taken in the clear; use tls or starttls",
				c->listen.v[i].first);
	}
	if (door_open(&t->door, c, e) < 0)
		return -1;
	if (tls && (!c->certificate[0] || !c->key[0]))
		return err_set(e, EX_CONFIG,
			"\"certificate\" and \"key\" are needed until a restart: what is listened "
			"on"
			" speaks TLS");
	if (tls)
		t->tls = tls_server_context(c->certificate, c->key, e);
	return tls && !t->tls ? -1 : 0;
}

int terms_read(struct terms **ret, const char *path, const struct terms *before, struct err *e)
{
	struct terms *t = calloc(1, sizeof *t);

	if (!t)
		return err_set(e, EX_OSERR, "out of memory");
	atomic_init(&t->refs, 1);
	if (conf_listen_read(path, &t->conf, e) < 0) {
		free(t);
		return -1;
	}
	if (read_files(t, before && before->tls, e) < 0) {
		terms_unref(t);
		return -1;
	}
	*ret = t;
	return 0;
}

void terms_unref(struct terms *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	door_close(t->door);
	tls_context_unref(t->tls);
	conf_listen_done(&t->conf);
	free(t);
}

void terms_now_init(struct terms_now *n)
{
	*n = (struct terms_now) { .terms = NULL };
	pthread_mutex_init(&n->lock, NULL);
}

void terms_now_done(struct terms_now *n)
{
	terms_unref(n->terms);
	pthread_mutex_destroy(&n->lock);
}

struct terms *terms_get(struct terms_now *n)
{
	pthread_mutex_lock(&n->lock);
	struct terms *t = n->terms;
	atomic_fetch_add(&t->refs, 1);
	pthread_mutex_unlock(&n->lock);
	return t;
}

void terms_put(struct terms_now *n, struct terms *t)
{
	pthread_mutex_lock(&n->lock);
	struct terms *old = n->terms;
	n->terms = t;
	pthread_mutex_unlock(&n->lock);
	terms_unref(old);
}
