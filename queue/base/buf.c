/*
 * Owned bytes with a ceiling. Memory doubles, never beyond the ceiling and its one NUL.
 */
#include "base/buf.h"

#include <assert.h>
#include <stdint.h>

#define BUF_FIRST 64 /* the least that is allocated, bytes */

void wipe(void *p, size_t n)
{
	if (n > 0)
		explicit_bzero(p, n);
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf) { .max = max };
}

void buf_init_secret(struct buf *b, size_t max)
{
	*b = (struct buf) { .max = max, .secret = true };
}

static void give_back(struct buf *b)
{
	if (b->secret)
		wipe(b->data, b->cap);
	free(b->data);
}

void buf_done(struct buf *b)
{
	if (!b)
		return;
	give_back(b);
	*b = (struct buf) { .max = b->max, .secret = b->secret };
}

void buf_clear(struct buf *b)
{
	if (b->secret)
		wipe(b->data, b->cap);
	b->len = 0;
	b->failed = b->starved = false;
	if (b->data)
		b->data[0] = '\0';
}

/* Like realloc to `cap` bytes; a secret's old bytes must not stay behind in the heap. */
static bool resize(struct buf *b, size_t cap)
{
	char *p;

	if (!b->secret) {
		p = realloc(b->data, cap);
		if (!p)
			return false;
	} else {
		p = malloc(cap);
		if (!p)
			return false;
		if (b->len > 0)
			memcpy(p, b->data, b->len);
		give_back(b);
	}
	b->data = p;
	b->cap = cap;
	return true;
}

char *buf_room(struct buf *b, size_t n)
{
	if (b->failed)
		return NULL;
	if (n > b->max - b->len || b->len + n == SIZE_MAX) {
		b->failed = true;
		return NULL;
	}
	size_t need = b->len + n + 1; /* and the NUL */
	if (need > b->cap) {
		size_t cap = b->cap > SIZE_MAX / 2 ? need : b->cap * 2;
		if (cap < BUF_FIRST)
			cap = BUF_FIRST;
		if (cap > b->max)
			cap = b->max;
		if (cap < need)
			cap = need;
		if (!resize(b, cap)) {
			b->failed = b->starved = true;
			return NULL;
		}
		b->data[b->len] = '\0';
	}
	return b->data + b->len;
}

void buf_added(struct buf *b, size_t n)
{
	assert(n < b->cap - b->len);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	char *to = buf_room(b, n);
	if (!to)
		return;
	memcpy(to, p, n);
	buf_added(b, n);
}

void buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.n);
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;

	if (b->failed)
		return;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	char *to = buf_room(b, (size_t)n);
	if (!to)
		return;
	if (vsnprintf(to, (size_t)n + 1, fmt, ap) != n) {
		b->failed = true;
		b->data[b->len] = '\0';
		return;
	}
	buf_added(b, (size_t)n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (n == 0)
		return;
	size_t left = b->len - n;
	memmove(b->data, b->data + n, left);
	if (b->secret)
		wipe(b->data + left, n);
	b->len = left;
	b->data[left] = '\0';
}

const char *buf_str(struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	if (b->failed || !b->data) {
		buf_done(b);
		return NULL;
	}
	char *p = b->data;
	*b = (struct buf) { .max = b->max, .secret = b->secret };
	return p;
}
