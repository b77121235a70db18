/*
 * The aliases file, in the usual form: `name: item, item`, continuation lines that begin with a
 * blank, `#` for comments. Only names and addresses are followed: items that name a program, a
 * file or a list of addresses in a file are told apart, for the caller to refuse.
 */
#ifndef CENMAIL_ALIASES_H
#define CENMAIL_ALIASES_H

#include "base/buf.h"
#include "base/err.h"

#define ALIASES_MAX       (4 * 1024 * 1024) /* octets of the file */
#define ALIASES_DEPTH_MAX 16                /* aliases within aliases */

/* The expander's, see recipients.c. Dead: nothing usable came of it. */
enum alias_state { ALIAS_UNUSED, ALIAS_OPEN, ALIAS_USED, ALIAS_DEAD };

struct alias {
	struct span name, value;
	unsigned line;
	enum alias_state state;
	unsigned depth; /* aliases below it and itself, see aliases_check.c */
};

struct aliases;

/* A file that is not there holds no alias. 0, or -1 (EX_CONFIG: it can't be read, is no regular
 * file, or is over the ceiling). Lines that can't be used are skipped and noted in problems. */
int aliases_read(const char *path, struct aliases **ret, struct err *e);
void aliases_free(struct aliases *a);
/* No case; quotes around the name are not part of it. NULL: there is none. */
struct alias *aliases_find(struct aliases *a, struct span name);
/* All of them are unused again. */
void aliases_reset(struct aliases *a);
size_t aliases_count(const struct aliases *a);
/* In the order of names. */
struct alias *aliases_at(struct aliases *a, size_t i);
/* The lines that can't be used, `FILE:LINE: what is wrong` each; "" when all is well. What their
 * values lead to is not looked at: see aliases_check. */
const char *aliases_problems(struct aliases *a);

/* Adds a line to `out`: `FILE:LINE: alias NAME: what there is to say of it`. */
__attribute__((format(printf, 4, 5))) void alias_note(
	struct buf *out, const char *path, const struct alias *a, const char *fmt, ...);

enum alias_kind { ALIAS_ADDRESS, ALIAS_PROGRAM, ALIAS_FILE, ALIAS_INCLUDE };
/* Takes the next item off a value. False at its end. */
bool alias_next(struct span *rest, struct span *ret, enum alias_kind *ret_kind);
const char *alias_kind_name(enum alias_kind k);

#endif
