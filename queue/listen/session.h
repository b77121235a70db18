/*
 * One client's connection, by a thread of its own: the server engine on a socket, its messages to
 * the pool, and the replies back in order.
 */
#ifndef CENMAIL_SESSION_H
#define CENMAIL_SESSION_H

#include "listen/listener.h"

/* Begins a thread that serves the connection and counts in l->sessions until it ends. Takes fd.
 * 0, or -1 when there is no memory or no thread: the connection is closed. */
int session_start(struct listener *l, int fd, const struct sockaddr_storage *peer,
	enum listen_tls tls, struct err *e);

/* A line for a connection that is not served, where it can be said in the clear; closes fd. Never
 * waits. */
void session_refuse(int fd, enum listen_tls tls, const char *line);

#endif
