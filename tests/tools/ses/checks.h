/*
 * What SES finds wrong with addresses and content, in its words. Pure functions.
 */
#ifndef SES_CHECKS_H
#define SES_CHECKS_H

#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATTERNS_MAX 32

struct patterns {
	const char *v[PATTERNS_MAX];
	unsigned n;
};

static bool patterns_match(const struct patterns *p, const char *address)
{
	for (unsigned i = 0; i < p->n; i++)
		if (fnmatch(p->v[i], address, FNM_CASEFOLD) == 0)
			return true;
	return false;
}

/* Takes `<address>` off the front of s. NULL: there is none; *ret_rest is what follows. */
static const char *path_take(const char *s, char *out, size_t size, const char **ret_rest)
{
	size_t n = 0;
	bool quoted = false;
	while (*s == ' ')
		s++;
	if (*s++ != '<')
		return NULL;
	for (; *s && (quoted || *s != '>'); s++) {
		if (*s == '"')
			quoted = !quoted;
		if (n + 1 == size)
			return NULL;
		out[n++] = *s;
		if (*s == '\\' && quoted && s[1] && n + 1 < size)
			out[n++] = *++s;
	}
	out[n] = '\0';
	if (*s != '>')
		return NULL;
	*ret_rest = s + 1;
	return out;
}

/* local@domain in printable 7-bit octets, no blank outside quotes. */
static bool address_good(const char *a)
{
	const char *at = strrchr(a, '@');
	bool quoted = false;
	if (!at || at == a || !at[1])
		return false;
	for (const char *p = a; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			return false;
		if (!quoted && strchr(" <>,;", *p))
			return false;
	}
	return !quoted && !strstr(at, "..") && at[1] != '.';
}

/* Headers that SES takes once only, beside every Content-*. */
static const char *const once_only[] = { "Date", "From", "Sender", "Message-ID", "Subject",
	"Return-Path", "Reply-To", "To", "Cc", "Bcc", "MIME-Version", "DKIM-Signature",
	"In-Reply-To", "References" };
#define ONCE_ONLY    (sizeof once_only / sizeof *once_only)
#define CONTENT_MAX  16 /* Content-* that are remembered */
#define CONTENT_NAME "Content-"

struct header_facts {
	char twice[64]; /* a header that stands twice, or "" */
	bool has_from;
	char from[512]; /* the address in From, as far as it is to be seen */
};

struct names {
	struct name {
		const char *p;
		size_t n;
	} v[CONTENT_MAX];
	unsigned n;
};

/* Whether this name was there before; it is now. */
static bool names_add(struct names *known, const char *p, size_t n)
{
	for (unsigned i = 0; i < known->n; i++)
		if (known->v[i].n == n && strncasecmp(known->v[i].p, p, n) == 0)
			return true;
	if (known->n < CONTENT_MAX)
		known->v[known->n++] = (struct name) { p, n };
	return false;
}

static void from_address(const char *value, size_t n, char *out, size_t size)
{
	const char *open = memchr(value, '<', n);
	if (open) {
		n -= (size_t)(open + 1 - value);
		value = open + 1;
		const char *close = memchr(value, '>', n);
		if (close)
			n = (size_t)(close - value);
	}
	while (n && (*value == ' ' || *value == '\t')) {
		value++;
		n--;
	}
	snprintf(out, size, "%.*s", (int)n, value);
}

static void header_look(
	const char *p, size_t name, unsigned seen[ONCE_ONLY], struct names *content, char *twice)
{
	bool again = strncasecmp(p, CONTENT_NAME, strlen(CONTENT_NAME)) == 0 &&
		     names_add(content, p, name);
	for (unsigned i = 0; i < ONCE_ONLY; i++)
		if (strlen(once_only[i]) == name && strncasecmp(once_only[i], p, name) == 0)
			again = seen[i]++ > 0;
	if (again)
		snprintf(twice, sizeof((struct header_facts *)0)->twice, "%.*s", (int)name, p);
}

static void headers_look(const char *p, size_t n, struct header_facts *f)
{
	unsigned seen[ONCE_ONLY] = { 0 };
	struct names content = { 0 };
	memset(f, 0, sizeof *f);
	for (const char *end = p + n; p < end;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t len = lf ? (size_t)(lf - p) : (size_t)(end - p);
		if (len && p[len - 1] == '\r')
			len--;
		if (!len)
			return;
		const char *colon = memchr(p, ':', len);
		size_t name = colon ? (size_t)(colon - p) : 0;
		if (name)
			header_look(p, name, seen, &content, f->twice);
		if (name == 4 && strncasecmp(p, "From", 4) == 0) {
			f->has_from = true;
			from_address(colon + 1, len - 5, f->from, sizeof f->from);
		}
		p = lf ? lf + 1 : end;
	}
}

#endif
