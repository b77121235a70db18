/*
 * Listening and accepting.
 */
#include "listen/accept.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "listen/session.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG      1024
#define FIRST_PASSED 3   /* systemd's first descriptor */
#define SHORT_MS     100 /* to wait when descriptors or memory are short */

static const char *const tls_words[] = { [LISTEN_TLS_WRAPPED] = "tls",
	[LISTEN_TLS_STARTTLS] = "starttls",
	[LISTEN_TLS_PLAIN] = "plain" };

static enum listen_tls read_tls(const char *word)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(word, tls_words[i]) == 0)
			return (enum listen_tls)i;
	assert(!"a word that the configuration's check lets through");
	return LISTEN_TLS_WRAPPED;
}

/* "127.0.0.1:3535", "[::1]:3535" */
static void show(const struct sockaddr *sa, socklen_t len, char *out, size_t size)
{
	char host[256], port[16];

	if (getnameinfo(sa, len, host, sizeof host, port, sizeof port,
		    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(out, size, "?");
	else
		snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* A descriptor, or -1 with err and errno. */
static int bind_one(const struct addrinfo *ai, const char *shown, struct err *e)
{
	int one = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	err_sys(e, EX_OSERR, "can't listen on %s", shown);
	if (fd >= 0)
		close(fd);
	errno = why;
	return -1;
}

/* --- sockets that the service manager has bound (sd_listen_fds(3)) --- */

/* How many it passes to this process; 0: none. */
static unsigned passed(void)
{
	const char *pid = secure_getenv("LISTEN_PID"), *fds = secure_getenv("LISTEN_FDS");
	uint64_t n, p;

	if (!pid || !fds || number_parse(span_of(pid), INT32_MAX, &p) < 0 ||
		number_parse(span_of(fds), ACCEPT_SOCKETS, &n) < 0 || (pid_t)p != getpid())
		return 0;
	return (unsigned)n;
}

static bool is_bound_to(int fd, const struct addrinfo *ai)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &n) < 0 || sa.ss_family != ai->ai_family)
		return false;
	const struct sockaddr_in *four = (const void *)&sa, *want4 = (const void *)ai->ai_addr;
	const struct sockaddr_in6 *six = (const void *)&sa, *want6 = (const void *)ai->ai_addr;
	if (sa.ss_family == AF_INET)
		return four->sin_port == want4->sin_port &&
		       four->sin_addr.s_addr == want4->sin_addr.s_addr;
	return sa.ss_family == AF_INET6 && six->sin6_port == want6->sin6_port &&
	       memcmp(&six->sin6_addr, &want6->sin6_addr, sizeof six->sin6_addr) == 0;
}

/* The one for this address among `n`: by what it is bound to, as what is `plain` must never be
 * taken for what is `tls`. */
static int find_passed(unsigned n, const struct addrinfo *ai, const char *shown, struct err *e)
{
	for (int fd = FIRST_PASSED; fd < FIRST_PASSED + (int)n; fd++) {
		int listens = 0;
		socklen_t size = sizeof listens;
		if (!is_bound_to(fd, ai))
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
			return err_set(e, EX_CONFIG,
				"the socket for %s from systemd does not listen (Accept=no is"
				" needed)",
				shown);
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
			return err_sys(e, EX_OSERR, "the socket for %s from systemd", shown);
		return fd;
	}
	return err_set(e, EX_CONFIG,
		"systemd passes sockets, and none for \"listen %s\": cenmail-listen.socket needs"
		" ListenStream=%s",
		shown, shown);
}

/* --- either --- */

/* Whether it stands before `ai` too: /etc/hosts may say a thing twice. */
static bool is_repeated(const struct addrinfo *all, const struct addrinfo *ai)
{
	for (; all != ai; all = all->ai_next)
		if (all->ai_addrlen == ai->ai_addrlen &&
			memcmp(all->ai_addr, ai->ai_addr, ai->ai_addrlen) == 0)
			return true;
	return false;
}

/* The next of a's sockets. 1; 0: a name has this address, and this host does not (::1 where there
 * is no IPv6); -1. */
static int open_one(struct accepting *a, const struct addrinfo *ai, enum listen_tls tls, unsigned n,
	struct err *e)
{
	char shown[320];

	show(ai->ai_addr, ai->ai_addrlen, shown, sizeof shown);
	if (a->n == ACCEPT_SOCKETS)
		return err_set(e, EX_CONFIG, "listen: more than %d addresses", ACCEPT_SOCKETS);
	int fd = n > 0 ? find_passed(n, ai, shown, e) : bind_one(ai, shown, e);
	if (fd < 0)
		return n == 0 && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) ? 0 : -1;
	a->tls[a->n] = tls;
	a->fd[a->n++] = fd;
	return 1;
}

/* The sockets of one `listen`: of a name with several addresses one for each. 0 or -1. */
static int open_each(struct accepting *a, const struct conf_pair *line, unsigned n, struct err *e)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *all;
	const unsigned before = a->n;
	char host[256], port[6];
	int r = 1;

	if (conf_split_hostport(span_of(line->first), host, sizeof host, port, e) < 0)
		return -1;
	int rc = getaddrinfo(host, port, &hints, &all);
	if (rc != 0)
		return err_set(e, EX_CONFIG, "listen %s: %s", line->first, gai_strerror(rc));
	for (const struct addrinfo *ai = all; ai && r >= 0; ai = ai->ai_next) {
		r = is_repeated(all, ai) ? 1 : open_one(a, ai, read_tls(line->rest), n, e);
		if (r == 0 && all->ai_next)
			log_line(LOG_WARNING, "listen", "warning: listen %s: %s", line->first,
				e->text);
	}
	freeaddrinfo(all);
	return r < 0 || a->n == before ? -1 : 0;
}

int accept_open(struct accepting *a, const struct conf_listen *c, struct err *e)
{
	unsigned n = passed();
	int r = 0;

	*a = (struct accepting) { .n = 0 };
	assert(c->listen.n <= ACCEPT_SOCKETS);
	for (unsigned i = 0; i < c->listen.n && r == 0; i++)
		r = open_each(a, &c->listen.v[i], n, e);
	if (r == 0 && n > 0 && n != a->n)
		r = err_set(e, EX_CONFIG,
			"systemd passes %u sockets, and the configuration has %u to \"listen\" on",
			n, a->n);
	if (r < 0)
		accept_close(a);
	return r;
}

void accept_close(struct accepting *a)
{
	for (unsigned i = 0; i < a->n; i++)
		close(a->fd[i]);
	a->n = 0;
}

void accept_log(const struct accepting *a)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof sa;
		char shown[320];
		if (getsockname(a->fd[i], (struct sockaddr *)&sa, &len) < 0)
			continue;
		show((struct sockaddr *)&sa, len, shown, sizeof shown);
		log_line(LOG_INFO, "listen", "listening on %s (%s)", shown, tls_words[a->tls[i]]);
	}
}

static void log_refused(const struct sockaddr *sa, socklen_t len, const char *why)
{
	char host[256];

	if (getnameinfo(sa, len, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(host, sizeof host, "unknown");
	log_line(LOG_INFO, "listen", "refused connection from [%s]: %s", host, why);
}

/* 0; -1: descriptors or memory are short, and the loop has to let some time pass. */
static int accept_one(struct accepting *a, unsigned i, struct listener *l)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;
	struct err e = { 0 };
	int fd = accept4(a->fd[i], (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM
			       ? -1
			       : 0;
	struct terms *t = terms_get(&l->terms);
	bool allowed = door_allows(t->door, (struct sockaddr *)&sa);
	unsigned alive = atomic_load(&l->sessions);
	bool room = alive < t->conf.sessions_max && alive < l->sessions_room;
	terms_unref(t);
	if (!allowed) {
		figures_one(&l->figures.away[AWAY_ALLOW]);
		log_refused((struct sockaddr *)&sa, len, "not in allow");
		session_refuse(fd, a->tls[i], "554 5.7.1 cenmail: access denied class=road");
	} else if (!room) {
		figures_one(&l->figures.away[AWAY_SESSIONS]);
		log_refused((struct sockaddr *)&sa, len, "sessions_max");
		session_refuse(
			fd, a->tls[i], "421 4.3.2 cenmail: too many sessions class=road retry=30");
	} else if (session_start(l, fd, &sa, a->tls[i], &e) < 0) {
		log_line(LOG_ERR, "listen", "%s", e.text);
		return -1;
	}
	return 0;
}

int accept_loop(struct accepting *a, struct listener *l, int signal_fd)
{
	struct pollfd p[ACCEPT_SOCKETS + 1];
	struct signalfd_siginfo info;
	bool is_short = false;

	for (;;) {
		for (unsigned i = 0; i < a->n; i++)
			p[i] = (struct pollfd) { is_short ? -1 : a->fd[i], POLLIN, 0 };
		p[a->n] = (struct pollfd) { signal_fd, POLLIN, 0 };
		int n = poll(p, a->n + 1, is_short ? SHORT_MS : -1);
		is_short = false;
		if (n <= 0)
			continue;
		if ((p[a->n].revents & POLLIN) &&
			read(signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
			return (int)info.ssi_signo;
		for (unsigned i = 0; i < a->n; i++)
			if (p[i].revents && accept_one(a, i, l) < 0)
				is_short = true;
	}
}
