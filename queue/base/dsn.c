/*
 * Values of RET, ENVID, NOTIFY and ORCPT.
 */
#include "base/dsn.h"

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* That stands for itself in xtext. */
static bool is_plain(char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

bool dsn_is_xtext(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '+') {
			if (s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
				return false;
			i += 2;
		} else if (!is_plain(s.p[i])) {
			return false;
		}
	}
	return s.n > 0;
}

void dsn_add_xtext(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_plain(s.p[i]))
			buf_add_char(out, s.p[i]);
		else
			buf_printf(out, "+%02X", (unsigned char)s.p[i]);
	}
}

bool dsn_is_ret(struct span s)
{
	return span_eq_nocase(s, span_of("FULL")) || span_eq_nocase(s, span_of("HDRS"));
}

bool dsn_is_envid(struct span s)
{
	return s.n <= DSN_ENVID_MAX && dsn_is_xtext(s);
}

bool dsn_is_notify(struct span s)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };
	unsigned seen = 0, word;
	long comma;

	if (span_eq_nocase(s, span_of("NEVER")))
		return true;
	do {
		comma = span_find(s, ',');
		struct span one = span_make(s.p, comma < 0 ? s.n : (size_t)comma);
		for (word = 0; word < 3 && !span_eq_nocase(one, span_of(words[word])); word++)
			;
		if (word == 3 || (seen & 1u << word))
			return false;
		seen |= 1u << word;
		s = span_from(s, (size_t)(comma + 1));
	} while (comma >= 0);
	return true;
}

/* RFC 3461 section 4.2: addr-type is an atom. */
static bool is_type(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			c != '-')
			return false;
	}
	return s.n > 0;
}

bool dsn_is_orcpt(struct span s)
{
	long semicolon = span_find(s, ';');

	return semicolon > 0 && s.n <= DSN_ORCPT_MAX &&
	       is_type(span_make(s.p, (size_t)semicolon)) &&
	       dsn_is_xtext(span_from(s, (size_t)semicolon + 1));
}
