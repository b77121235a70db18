/*
 * The command line. One table has every option of sendmail 8, the LSB and Postfix's sendmail:
 * honoured, accepted without effect, or refused with words. The table also makes --help.
 */
#ifndef CENMAIL_OPTIONS_H
#define CENMAIL_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_ARGS_MAX    16384 /* arguments */
#define OPTIONS_VALUE_MAX   4096  /* octets of argv[0] and of an option's value */
#define OPTIONS_NAME_MAX    256   /* octets of -F */
#define OPTIONS_CHOICES_MAX 16    /* -qI, -qS, -qR */

enum options_mode {
	OPTIONS_SUBMIT,
	OPTIONS_VERIFY,  /* -bv */
	OPTIONS_SESSION, /* -bs */
	OPTIONS_LIST,    /* mailq, -bp */
	OPTIONS_FLUSH,   /* -q */
	OPTIONS_ALIASES, /* newaliases, -bi, -I */
	OPTIONS_HELP,
	OPTIONS_VERSION
};

struct options_choice { /* -qI17, -q!Sroot */
	char what;      /* 'I' the message's number, 'S' in the sender, 'R' in the recipient */
	bool otherwise; /* '!': those that do not match */
	const char *text;
	uint64_t number; /* of 'I' */
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
	struct options_choice choice[OPTIONS_CHOICES_MAX];
	unsigned choices;
	char **rcpt;
	unsigned rcpts;
};

/* 0, or -1 (EX_USAGE). Options end at the first operand or at `--`, as in sendmail and Postfix.
 * Nothing is read but the arguments. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);

/* Whether a recipient is one of those chosen by -qI, -qS and -qR: of each kind given, one choice at
 * least has to match. True where there is no choice. */
bool options_chosen(
	const struct options *o, int64_t message, const char *sender, const char *recipient);

void options_help(FILE *to);

#endif
