/*
 * Looking into borrowed bytes. ASCII only, whatever the locale.
 */
#include "base/span.h"

static unsigned char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : (unsigned char)c;
}

static bool same_nocase(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool span_eq_nocase(struct span a, struct span b)
{
	return a.n == b.n && same_nocase(a.p, b.p, a.n);
}

bool span_starts_nocase(struct span s, const char *prefix)
{
	size_t n = strlen(prefix);
	return s.n >= n && same_nocase(s.p, prefix, n);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct span span_word(struct span *rest)
{
	struct span s = span_trim(*rest);
	size_t n = 0;

	while (n < s.n && !is_blank(s.p[n]))
		n++;
	*rest = span_trim(span_from(s, n));
	return span_make(s.p, n);
}

long span_find(struct span s, char c)
{
	const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

bool span_has_break(struct span s)
{
	return span_find(s, '\0') >= 0 || span_find(s, '\r') >= 0 || span_find(s, '\n') >= 0;
}

bool span_copy(struct span s, char *to, size_t size)
{
	if (s.n >= size || span_find(s, '\0') >= 0)
		return false;
	memcpy(to, s.p, s.n);
	to[s.n] = '\0';
	return true;
}
