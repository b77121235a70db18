/*
 * struct err: what went wrong, in words for a person: what, where, and what to do. Owned by the
 * caller, filled by whoever fails; every function that takes one accepts NULL. The code is the
 * sysexits.h value that a program would end with if it ended for this.
 */
#ifndef CENMAIL_ERR_H
#define CENMAIL_ERR_H

#include <stdarg.h>
#include <sysexits.h>

struct err {
	int code; /* EX_USAGE and so on; 0 when nothing went wrong */
	char text[512];
};

/* Both return -1, so that a failing function can end with `return err_set(…)`. They keep errno. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same, followed by ": " and the text of errno. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts words in front of the text that is there already ("file:line: "). Returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
