/*
 * struct buf: owned bytes with a ceiling and a sticky error, so that a writer checks once at the
 * end. May hold NUL; data is always followed by one NUL that is not counted, when anything was
 * ever added.
 */
#ifndef CENMAIL_BUF_H
#define CENMAIL_BUF_H

#include "base/span.h"

#include <stdarg.h>

struct buf {
	char *data;
	size_t len, cap;
	size_t max;  /* ceiling on len, in bytes, set at buf_init; 0: no byte can be added */
	bool failed; /* sticky: the ceiling was met, or memory ran out; nothing is added any more */
	bool starved; /* it failed for want of memory */
	bool secret;  /* wiped before memory is given back, at growth too */
};

void buf_init(struct buf *b, size_t max);
void buf_init_secret(struct buf *b, size_t max);
/* Frees the bytes (wiped when secret) and leaves an empty buf with the same ceiling. NULL is fine.
 */
void buf_done(struct buf *b);
/* Empties it and clears the error; keeps the memory. */
void buf_clear(struct buf *b);

/* All of these do nothing once b->failed, and set it when they can't do all they should. */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Makes room for n more bytes and returns where to write them, or NULL (b->failed is set). The
 * writer then says buf_added(b, how many). */
char *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
/* Drops the first n bytes (at most len). Costs a memmove of the rest. */
void buf_drop(struct buf *b, size_t n);

static inline struct span buf_span(const struct buf *b)
{
	return span_make(b->data, b->len);
}

/* The bytes as a C string, "" when empty. Only for bytes already known to hold no NUL. */
const char *buf_str(struct buf *b);
/* Hands the memory over to the caller (free it); the buf is empty after. NULL when nothing was
 * added or it failed. */
char *buf_take(struct buf *b);

/* Overwrites memory in a way that the compiler does not drop. */
void wipe(void *p, size_t n);

#endif
