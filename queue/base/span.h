/*
 * struct span: borrowed bytes, not terminated, may hold NUL. Whoever lends them keeps them alive.
 */
#ifndef CENMAIL_SPAN_H
#define CENMAIL_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
	const char *p;
	size_t n;
};

/* The bytes of a C string, terminator not counted. NULL gives the empty span. */
static inline struct span span_of(const char *s)
{
	return (struct span) { s ? s : "", s ? strlen(s) : 0 };
}

static inline struct span span_make(const char *p, size_t n)
{
	return (struct span) { p ? p : "", p ? n : 0 };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* From `from` on; empty when there are fewer bytes than that. */
static inline struct span span_from(struct span s, size_t from)
{
	return from >= s.n ? (struct span) { s.p + s.n, 0 }
			   : (struct span) { s.p + from, s.n - from };
}

/* ASCII case folding only, whatever the locale. */
bool span_eq_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span s, const char *prefix);
/* Without blanks (space, tab) at both ends. */
struct span span_trim(struct span s);
/* Cuts the first word off *rest, and the blanks around it; both are empty when there is none. */
struct span span_word(struct span *rest);
/* The first occurrence of c, or -1. Does not find the end (strchr does match NUL). */
long span_find(struct span s, char c);
/* Whether the bytes hold a NUL, CR or LF: what must never enter a protocol line. */
bool span_has_break(struct span s);
/* As a C string. False, with nothing written: it does not fit, or holds a NUL. */
bool span_copy(struct span s, char *to, size_t size);

#endif
