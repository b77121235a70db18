/*
 * The log: one line an event, to syslog (facility mail) or to standard error, in the words of
 * Postfix's log. Only mains and thread tops call it. Peer text in a line is made printable and
 * the line is cut at LOG_LINE_MAX. Keeps errno. Thread-safe.
 */
#ifndef CENMAIL_LOG_H
#define CENMAIL_LOG_H

#include "base/span.h"

#include <stdarg.h>
#include <syslog.h>

#define LOG_LINE_MAX 1000

enum log_to { LOG_TO_SYSLOG, LOG_TO_STDERR };

/* Until it is called, lines go to standard error. */
void log_open(enum log_to to);

/* service is the part after "cenmail/" ("smtp", "qmgr", "listen"): the line is
 * `cenmail/SERVICE[PID]: TEXT`. priority is LOG_INFO, LOG_WARNING, LOG_ERR. */
void log_line(int priority, const char *service, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Called before each line that goes to standard error: whoever has something unfinished there, as
 * a terminal's last line, takes it away. NULL: nobody. Before there are threads. */
void log_beside(void (*clear)(void *arg), void *arg);

/* Copies `in` with every octet that is not printable ASCII as '?', cut to size-1 octets. Returns
 * out. */
char *log_printable(struct span in, char *out, size_t size);

#endif
