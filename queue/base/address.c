/*
 * Mailbox syntax. One pass from the left; nothing is unquoted or rewritten, so that what was
 * given is what goes out, octet for octet.
 */
#include "base/address.h"

#include <arpa/inet.h>

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* atext of RFC 5322 section 3.2.3. NUL is none (strchr would match it). */
static bool is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* How many octets of s, from its start, are one dot-string; 0 when none is. */
static size_t dot_string(struct span s)
{
	size_t i = 0;

	for (;;) {
		size_t atom = i;
		while (i < s.n && is_atext(s.p[i]))
			i++;
		if (i == atom)
			return 0; /* an empty atom: a leading, doubled or trailing dot */
		if (i == s.n || s.p[i] != '.')
			return i;
		i++;
	}
}

/* The same for a quoted-string: DQUOTE *QcontentSMTP DQUOTE. */
static size_t quoted_string(struct span s)
{
	size_t i = 1;

	for (; i < s.n && s.p[i] != '"'; i++) {
		if (s.p[i] == '\\' && ++i == s.n)
			return 0;
		if (s.p[i] < ' ' || s.p[i] > '~')
			return 0;
	}
	return i < s.n ? i + 1 : 0;
}

static size_t local_part(struct span s)
{
	return s.n > 0 && s.p[0] == '"' ? quoted_string(s) : dot_string(s);
}

bool address_is_local_part(struct span s)
{
	return s.n > 0 && s.n <= ADDRESS_LOCAL_MAX && local_part(s) == s.n;
}

/* Letters, digits, hyphens inside; the underscore too, which real hosts have. */
static bool is_label(struct span s)
{
	if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return true;
}

/* [192.0.2.1] or [IPv6:2001:db8::1]; no other tag is registered. */
static bool is_literal(struct span s)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char addr[16];
	int family = AF_INET;

	if (s.n < 2 || s.p[s.n - 1] != ']')
		return false;
	struct span in = span_make(s.p + 1, s.n - 2);
	if (span_starts_nocase(in, "IPv6:")) {
		family = AF_INET6;
		in = span_from(in, 5);
	}
	if (in.n >= sizeof text || span_find(in, '\0') >= 0)
		return false;
	memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	return inet_pton(family, text, addr) == 1;
}

bool address_is_domain(struct span s)
{
	if (s.n == 0 || s.n > ADDRESS_DOMAIN_MAX)
		return false;
	if (s.p[0] == '[')
		return is_literal(s);
	for (;;) {
		long dot = span_find(s, '.');
		if (!is_label(dot < 0 ? s : span_make(s.p, (size_t)dot)))
			return false;
		if (dot < 0)
			return true;
		s = span_from(s, (size_t)dot + 1); /* empty after a last dot: no label */
	}
}

/* Length of a source route `@a,@b:` at the start (RFC 5321 section 4.1.2, A-d-l), 0 for none;
 * -1 for a wrong one. */
static long source_route(struct span s)
{
	size_t at = 0;

	if (s.n == 0 || s.p[0] != '@')
		return 0;
	for (;;) {
		if (at == s.n || s.p[at] != '@')
			return -1;
		size_t begin = ++at;
		bool literal = at < s.n && s.p[at] == '['; /* has colons of its own */
		while (at < s.n && (literal || (s.p[at] != ',' && s.p[at] != ':')))
			if (s.p[at++] == ']')
				literal = false;
		if (at == s.n || !address_is_domain(span_make(s.p + begin, at - begin)))
			return -1;
		if (s.p[at++] == ':')
			return (long)at;
	}
}

static int refuse(struct err *e, struct span s, const char *what)
{
	char shown[80];
	size_t n = s.n < sizeof shown - 1 ? s.n : sizeof shown - 1;

	for (size_t i = 0; i < n; i++)
		shown[i] = s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?';
	shown[n] = '\0';
	return err_set(e, EX_DATAERR, "address <%s%s>: %s", shown, n < s.n ? "..." : "", what);
}

/* Octets that an address can hold nowhere, told apart because people have to find them. */
static const char *forbidden_octet(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] > 127)
			return "has an octet that is not ASCII; a domain can be given in its xn-- "
			       "form";
		if (s.p[i] < ' ' || s.p[i] == 127)
			return "has a control character";
	}
	return NULL;
}

int address_parse(struct span s, struct address *ret, struct err *e)
{
	const char *octet = forbidden_octet(s);
	if (octet)
		return refuse(e, s, octet);

	long route = source_route(s);
	if (route < 0)
		return refuse(e, s, "begins with @, and not with a source route");
	struct span box = span_from(s, (size_t)route);
	if (box.n > ADDRESS_PATH_MAX)
		return refuse(e, s, "is longer than 254 octets");
	size_t local = local_part(box);
	if (local == 0)
		return refuse(e, s, "has a wrong local part (before the @)");
	if (local > ADDRESS_LOCAL_MAX)
		return refuse(e, s, "has a local part (before the @) longer than 64 octets");
	if (local == box.n)
		return refuse(e, s, "has no @domain");
	if (box.p[local] != '@')
		return refuse(e, s, "has a character that needs quotes in the local part");
	if (!address_is_domain(span_from(box, local + 1)))
		return refuse(e, s, "has a wrong domain (after the @)");

	memcpy(ret->text, box.p, box.n);
	ret->text[box.n] = '\0';
	ret->len = box.n;
	ret->at = local;
	return 0;
}

struct span address_local(const struct address *a)
{
	return span_make(a->text, a->at);
}

struct span address_domain(const struct address *a)
{
	return span_make(a->text + a->at + 1, a->len - a->at - 1);
}

bool address_match(const char *pattern, struct span s)
{
	const char *star = NULL; /* after the last '*' seen, and how far it has swallowed */
	size_t i = 0, swallowed = 0;

	while (i < s.n) {
		if (*pattern == '*') {
			star = ++pattern;
			swallowed = i;
		} else if (*pattern != '\0' &&
			   (*pattern == '?' ||
				   span_eq_nocase(span_make(pattern, 1), span_make(s.p + i, 1)))) {
			pattern++;
			i++;
		} else if (star) {
			pattern = star;
			i = ++swallowed;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}
