/*
 * The command line. One table has every option of sendmail 8, the LSB and Postfix's sendmail:
 * honoured, accepted without effect, or refused with words. The table also makes --help.
 */
#ifndef CENMAIL_OPTIONS_H
#define CENMAIL_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>

#define OPTIONS_ARGS_MAX  16384 /* arguments */
#define OPTIONS_VALUE_MAX 4096  /* octets of argv[0] and of an option's value */
#define OPTIONS_NAME_MAX  256   /* octets of -F */

enum options_mode {
	OPTIONS_SUBMIT,
	OPTIONS_LIST,    /* mailq, -bp */
	OPTIONS_ALIASES, /* newaliases, -bi, -I */
	OPTIONS_HELP,
	OPTIONS_VERSION
};

struct options { /* the strings borrow from argv */
	enum options_mode mode;
	bool from_header;      /* -t */
	bool ignore_dots;      /* -i, -oi */
	bool no_aliases;       /* -n */
	bool verbose;          /* -v */
	bool eightbit;         /* -B 8BITMIME */
	const char *sender;    /* -f, -r; NULL: not given */
	const char *full_name; /* -F; NULL: not given */
	char notify[24];       /* -N as RFC 3461 has it, "" without */
	const char *ret;       /* -R: "FULL" or "HDRS"; NULL: not given */
	const char *envid;     /* -V, xtext; NULL: not given */
	char **rcpt;
	unsigned rcpts;
};

/* 0, or -1 (EX_USAGE). Options end at the first operand or at `--`, as in sendmail and Postfix.
 * Nothing is read but the arguments. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);

void options_help(FILE *to);

#endif
