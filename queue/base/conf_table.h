/*
 * What a configuration file may hold, as a table, and the one reader, dumper and undertaker that
 * work from such a table. For conf_mail.c and conf_listen.c.
 */
#ifndef CENMAIL_CONF_TABLE_H
#define CENMAIL_CONF_TABLE_H

#include "base/conf.h"

enum conf_type {
	CONF_TEXT,     /* char * */
	CONF_NUMBER,   /* uint64_t */
	CONF_SIZE,     /* uint64_t, bytes */
	CONF_DURATION, /* int64_t, milliseconds */
	CONF_RATE,     /* uint64_t, a second, times 1000 */
	CONF_WORD,     /* an enum (of the size of an int), one of `words` */
	CONF_PAIRS,    /* struct conf_list; repeatable */
};

struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset;     /* in the struct that is filled */
	const char *value; /* the default, as it would stand in the file; NULL: none */
	uint64_t min, max; /* of a number, in the unit of the field; PAIRS: max is how many */
	const char *const *words; /* WORD: by enum value, NULL at the end */
	/* Whether the value, blanks around it removed, is one; TEXT and PAIRS. NULL: any is. */
	int (*check)(struct span value, struct err *e);
	const char *help; /* one line */
};

struct conf_table {
	const struct conf_key *keys;
	unsigned n;
	size_t size;        /* of the struct */
	const char *manual; /* the page that describes it */
};

/* Defaults, then the file. 0, or -1 with err; *ret is then done. */
int conf_table_read(const struct conf_table *t, const char *path, void *ret, struct err *e);
void conf_table_done(const struct conf_table *t, void *c);
void conf_table_dump(const struct conf_table *t, const void *c, FILE *to);

/* One value: from text into its field of the struct c, and so on. */
int conf_value_set(const struct conf_key *k, void *c, struct span value, struct err *e);
int conf_value_default(const struct conf_key *k, void *c, struct err *e);
void conf_value_done(const struct conf_key *k, void *c);
/* "#key" where there is no value. */
void conf_value_dump(const struct conf_key *k, const void *c, FILE *to);

/* Checks that both files use. */
int conf_check_path(struct span value, struct err *e);
int conf_check_domain(struct span value, struct err *e);
int conf_check_relay(struct span value, struct err *e);
int conf_check_header(struct span value, struct err *e);
int conf_check_header_name(struct span name, struct err *e);
/* How many octets of s an error repeats, for "%.*s". */
int conf_shown(struct span s);
/* Puts the host's own name into *name where it is empty. 0 or -1. */
int conf_default_hostname(char **name, struct err *e);

extern const char *const conf_log_words[];

#endif
