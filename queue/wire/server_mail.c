/*
 * The arguments of MAIL and RCPT (RFC 5321 section 4.1.2): a path in angle brackets and
 * parameters, each known, well-formed and said once; else the command is refused.
 */
#include "wire/server_state.h"

#include "base/dsn.h"
#include "base/number.h"

#include <assert.h>

/* `FROM:<path> rest`. The path without its brackets, and what is behind it. 0 or -1. */
static int split_path(struct span args, const char *word, struct span *ret_path, struct span *rest)
{
	if (!span_starts_nocase(args, word))
		return -1;
	struct span s = span_trim(span_from(args, strlen(word)));
	bool quoted = false;

	if (s.n < 2 || s.p[0] != '<')
		return -1;
	size_t i = 1;
	for (; i < s.n && (quoted || s.p[i] != '>'); i++) {
		if (s.p[i] == '"')
			quoted = !quoted;
		else if (quoted && s.p[i] == '\\')
			i++;
	}
	if (i >= s.n || (i + 1 < s.n && s.p[i + 1] != ' '))
		return -1;
	*ret_path = span_make(s.p + 1, i - 1);
	*rest = span_trim(span_from(s, i + 1));
	return 0;
}

struct parameter {
	struct span name, value;
	bool has_value;
};

/* The next one, taken off *rest; false: none is left. */
static bool next_parameter(struct span *rest, struct parameter *ret)
{
	if (rest->n == 0)
		return false;
	long blank = span_find(*rest, ' ');
	struct span word = span_make(rest->p, blank < 0 ? rest->n : (size_t)blank);
	*rest = span_trim(span_from(*rest, word.n));
	long equals = span_find(word, '=');
	ret->has_value = equals >= 0;
	ret->name = span_make(word.p, equals < 0 ? word.n : (size_t)equals);
	ret->value = equals < 0 ? span_make("", 0) : span_from(word, (size_t)equals + 1);
	return true;
}

/* Words, in one spelling only. */
static bool copy_upper(struct span words, char *out, size_t size)
{
	if (!span_copy(words, out, size))
		return false;
	for (char *p = out; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 32);
	return true;
}

static bool read_size(struct span v, void *out)
{
	struct server_mail *m = out;

	return v.n <= 20 && number_parse(v, UINT64_MAX, &m->size) == 0;
}

static bool read_body(struct span v, void *out)
{
	struct server_mail *m = out;

	m->eightbit = span_eq_nocase(v, span_of("8BITMIME"));
	return m->eightbit || span_eq_nocase(v, span_of("7BIT"));
}

static bool read_ret(struct span v, void *out)
{
	struct server_mail *m = out;

	return dsn_is_ret(v) && copy_upper(v, m->ret, sizeof m->ret);
}

static bool read_envid(struct span v, void *out)
{
	struct server_mail *m = out;

	return dsn_is_envid(v) && span_copy(v, m->envid, sizeof m->envid);
}

/* RFC 4954 section 5: who is said to have sent it; of no use here, as the client answers for it. */
static bool read_auth(struct span v, void *out)
{
	(void)out;
	return span_eq(v, span_of("<>")) || dsn_is_xtext(v);
}

static bool read_notify(struct span v, void *out)
{
	struct server_rcpt *r = out;

	return dsn_is_notify(v) && copy_upper(v, r->notify, sizeof r->notify);
}

static bool read_orcpt(struct span v, void *out)
{
	struct server_rcpt *r = out;

	return dsn_is_orcpt(v) && span_copy(v, r->orcpt, sizeof r->orcpt);
}

static bool read_once(struct span v, void *out)
{
	struct server_rcpt *r = out;
	unsigned char token[16];

	if (hex_decode(v, token, sizeof token) < 0)
		return false;
	hex_encode(token, sizeof token, r->once); /* one spelling here too */
	return true;
}

enum offered { ALWAYS, WITH_DSN, WITH_AUTH, WITH_XONCE };

static const struct known {
	const char *name;
	enum offered when;
	bool (*read)(struct span value, void *out); /* server_mail or server_rcpt */
} of_mail[] = {
	{ "SIZE", ALWAYS, read_size },
	{ "BODY", ALWAYS, read_body },
	{ "RET", WITH_DSN, read_ret },
	{ "ENVID", WITH_DSN, read_envid },
	{ "AUTH", WITH_AUTH, read_auth },
	{ NULL, ALWAYS, NULL },
}, of_rcpt[] = {
	{ "NOTIFY", WITH_DSN, read_notify },
	{ "ORCPT", WITH_DSN, read_orcpt },
	{ "XONCE", WITH_XONCE, read_once },
	{ NULL, ALWAYS, NULL },
};

static bool is_offered(const struct server_options *o, enum offered when)
{
	switch (when) {
	case ALWAYS:
		return true;
	case WITH_DSN:
		return o->offer_dsn;
	case WITH_AUTH:
		return o->offer_auth;
	case WITH_XONCE:
		return o->xonce != NULL;
	}
	assert(!"an extension");
	return false;
}

static int read_parameters(const struct server_options *o, struct span rest,
	const struct known *table, void *out, const char **ret_reply)
{
	struct parameter p;
	unsigned seen = 0;

	while (next_parameter(&rest, &p)) {
		unsigned i = 0;
		while (table[i].name && !span_eq_nocase(p.name, span_of(table[i].name)))
			i++;
		if (!table[i].name || !is_offered(o, table[i].when)) {
			*ret_reply = "555 5.5.4 A parameter that is not known or not offered";
			return -1;
		}
		if ((seen & 1u << i) || !p.has_value || !table[i].read(p.value, out)) {
			*ret_reply = "501 5.5.4 A parameter is wrong, or there twice";
			return -1;
		}
		seen |= 1u << i;
	}
	return 0;
}

/* RFC 5321 section 4.1.1.3 leaves it to a server to refuse a source route: here nothing is
 * forwarded for those who still believe in them. */
static int parse_address(const struct server_options *o, struct span path, struct address *ret,
	const char **ret_reply)
{
	if (path.n > 0 && path.p[0] == '@') {
		*ret_reply = "553 5.1.3 Source routes are not accepted";
		return -1;
	}
	if (o->bare_names && path.n <= ADDRESS_LOCAL_MAX && address_is_local_part(path)) {
		*ret = (struct address) { .len = path.n, .at = path.n };
		memcpy(ret->text, path.p, path.n);
		return 0;
	}
	if (address_parse(path, ret, NULL) < 0) {
		*ret_reply = "501 5.1.3 Not an address";
		return -1;
	}
	return 0;
}

int server_parse_mail(const struct server_options *o, struct span args, struct server_mail *ret,
	const char **ret_reply)
{
	struct span path, rest;
	struct address a;

	*ret = (struct server_mail) { .size = 0 };
	if (split_path(args, "FROM:", &path, &rest) < 0) {
		*ret_reply = "501 5.5.4 Syntax: MAIL FROM:<address>";
		return -1;
	}
	if (path.n > 0) {
		if (parse_address(o, path, &a, ret_reply) < 0)
			return -1;
		memcpy(ret->sender, a.text, a.len + 1);
	}
	return read_parameters(o, rest, of_mail, ret, ret_reply);
}

int server_parse_rcpt(const struct server_options *o, struct span args, struct server_rcpt *ret,
	const char **ret_reply)
{
	struct span path, rest;

	*ret = (struct server_rcpt) { .once = "" };
	if (split_path(args, "TO:", &path, &rest) < 0 || path.n == 0) {
		*ret_reply = "501 5.5.4 Syntax: RCPT TO:<address>";
		return -1;
	}
	if (parse_address(o, path, &ret->address, ret_reply) < 0)
		return -1;
	return read_parameters(o, rest, of_rcpt, ret, ret_reply);
}
