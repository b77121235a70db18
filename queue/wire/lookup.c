/*
 * One thread a name. It shares nothing with the rest of the process but the struct, which who lets
 * go last frees.
 */
#include "wire/lookup.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK (512 * 1024)

struct lookup {
	char host[256], port[16];
	int fd; /* eventfd */
	atomic_uint holders;
	atomic_bool over;
	/* by the thread, before `over` */
	int rc, fault;
	struct addrinfo *found;
};

static atomic_uint running;

static void let_go(struct lookup *l)
{
	if (atomic_fetch_sub(&l->holders, 1) > 1)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	close(l->fd);
	free(l);
}

static int ask(const char *host, const char *port, int flags, struct addrinfo **ret)
{
	const struct addrinfo hints = {
		.ai_flags = flags | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	return getaddrinfo(host, port, &hints, ret);
}

static void *run(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo *found = NULL;

	l->rc = ask(l->host, l->port, AI_ADDRCONFIG, &found);
	l->fault = errno;
	l->found = l->rc == 0 ? found : NULL;
	atomic_store(&l->over, true);
	(void)eventfd_write(l->fd, 1); /* can't fail: it is written once */
	let_go(l);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* Signals are for the thread that started us. */
static int start(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	if (pthread_attr_init(&attr) != 0)
		return ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(&thread, &attr, run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

struct lookup *lookup_begin(const char *host, const char *port, struct err *e)
{
	struct lookup *l = calloc(1, sizeof *l);
	int rc;

	if (!l) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		return NULL;
	}
	snprintf(l->host, sizeof l->host, "%s", host);
	snprintf(l->port, sizeof l->port, "%s", port);
	l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->fd < 0) {
		err_sys(e, EX_TEMPFAIL, "eventfd");
		free(l);
		return NULL;
	}
	atomic_store(&l->holders, 2);
	if (atomic_fetch_add(&running, 1) >= LOOKUPS_MAX) {
		err_set(e, EX_TEMPFAIL, "the resolver owes %d answers", LOOKUPS_MAX);
		goto fail;
	}
	rc = start(l);
	if (rc == 0)
		return l;
	errno = rc;
	err_sys(e, EX_TEMPFAIL, "a thread");
fail:
	atomic_fetch_sub(&running, 1);
	close(l->fd);
	free(l);
	return NULL;
}

int lookup_fd(const struct lookup *l)
{
	return l->fd;
}

int lookup_end(struct lookup *l, struct addrinfo **ret_found, struct err *e)
{
	if (!atomic_load(&l->over))
		return 0;
	if (l->rc == 0) {
		assert(l->found);
		*ret_found = l->found;
		l->found = NULL;
		return 1;
	}
	errno = l->fault;
	return l->rc == EAI_SYSTEM ? err_sys(e, EX_TEMPFAIL, "can't resolve %s", l->host)
				   : err_set(e, EX_TEMPFAIL, "can't resolve %s: %s", l->host,
					     gai_strerror(l->rc));
}

void lookup_free(struct lookup *l)
{
	if (l)
		let_go(l);
}

int lookup_literal(const char *host, const char *port, struct addrinfo **ret_found)
{
	return ask(host, port, AI_NUMERICHOST, ret_found) == 0;
}
