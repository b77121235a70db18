/*
 * The table of options, for options.c alone.
 */
#ifndef CENMAIL_OPTION_TABLE_H
#define CENMAIL_OPTION_TABLE_H

#include "sendmail/options.h"

enum option_arg {
	OPTION_NONE,     /* a letter that may stand in a bundle (-ti) */
	OPTION_ATTACHED, /* the rest of the word, if there is one (-q, -qI17) */
	OPTION_VALUE     /* the rest of the word, else the next argument (-fX, -f X) */
};
enum option_effect { OPTION_HONOURED, OPTION_ACCEPTED, OPTION_REFUSED };

/* What may stand behind -b and behind -q. */
struct option_form {
	const char *name; /* its letter, "I"; of a time, an example of it */
	enum option_effect effect;
	enum options_mode mode; /* of -b */
	const char *value;      /* what follows the letter; NULL: nothing may */
	const char *help;       /* what it does, or why it is refused */
};

struct option {
	char letter;
	enum option_arg arg;
	enum option_effect effect;
	int (*apply)(struct options *o, const char *value, struct err *e); /* NULL: not HONOURED */
	const char *value, *help;
	const struct option_form *forms;
	unsigned n_forms;
};

/* In the order of --help. */
extern const struct option option_table[];
extern const unsigned option_table_n;

/* NULL: there is none. */
const struct option *option_find(char letter);
/* The form that a value begins with; NULL: there is none. */
const struct option_form *option_form_find(const struct option *o, const char *value);

#endif
