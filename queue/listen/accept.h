/*
 * The listening sockets, and the loop of the main thread: accept, ask the door, start a session;
 * until a signal says to stop.
 */
#ifndef CENMAIL_ACCEPT_H
#define CENMAIL_ACCEPT_H

#include "listen/listener.h"

#define ACCEPT_SOCKETS 16 /* as many as `listen` may be repeated, and in all */

struct accepting {
	unsigned n;
	int fd[ACCEPT_SOCKETS];
	enum listen_tls tls[ACCEPT_SOCKETS];
};

/* Binds what the configuration says, or takes the sockets that systemd has bound (LISTEN_FDS),
 * in the order of the `listen` lines; of a name all addresses. 0 or -1. */
int accept_open(struct accepting *a, const struct conf_listen *c, struct err *e);
void accept_close(struct accepting *a);
/* One log line for each: "listening on 127.0.0.1:3535 (tls)". */
void accept_log(const struct accepting *a);
/* Until signal_fd (a signalfd) brings a signal; answers its number. */
int accept_loop(struct accepting *a, struct listener *l, int signal_fd);

#endif
