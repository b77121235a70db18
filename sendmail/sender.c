/*
 * The sender. The caller may name any: whom SES lets send is decided at sending time, by
 * rewrite_sender and by SES.
 */
#include "sendmail/sender.h"

#include "base/address_list.h"
#include "base/user.h"

struct choice {
	struct sender *s;
	unsigned count;
};

static int qualify(struct sender *s, struct span name, struct err *e)
{
	char text[ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX + 1];
	struct address a;
	int n;

	if (!address_is_local_part(name))
		return err_set(e, EX_DATAERR, "it is no address and no name");
	n = snprintf(text, sizeof(text), "%.*s@%s", (int)name.n, name.p, s->rules.domain);
	if (n < 0 || (size_t)n >= sizeof(text) || address_parse(span_of(text), &a, e) != 0)
		return err_set(e, EX_DATAERR, "%.*s can't be given the domain %s", (int)name.n,
			name.p, s->rules.domain);
	memcpy(s->address, a.text, a.len + 1);
	return 0;
}

static int choose(void *arg, const struct mailbox *m, struct err *e)
{
	struct choice *c = arg;
	struct address a;

	if (++c->count > 1)
		return err_set(e, EX_DATAERR, "it is more than one address");
	if (m->addr.n == 0)
		return 0;
	if (m->bare)
		return qualify(c->s, m->addr, e);
	if (address_parse(m->addr, &a, e) != 0)
		return -1;
	memcpy(c->s->address, a.text, a.len + 1);
	return 0;
}

static int take_given(struct sender *s, struct err *e)
{
	struct span given = span_trim(span_of(s->rules.given));
	struct choice c = { s, 0 };

	if (span_has_break(given))
		return err_set(e, EX_DATAERR, "the sender (-f): it holds a line end");
	if (address_list_parse(given, choose, &c, e) != 0)
		return err_prefix(e, "the sender (-f): ");
	if (c.count == 0 && given.n > 0)
		return err_set(e, EX_DATAERR, "the sender (-f): it is no address");
	return 0;
}

static int take_login(struct sender *s, struct err *e)
{
	struct user user;
	char number[24];
	int found = user_by_uid(s->rules.uid, &user, e);

	if (found < 0)
		return -1;
	if (found && address_is_local_part(span_of(user.name)))
		return qualify(s, span_of(user.name), e);
	snprintf(number, sizeof(number), "uid%u", (unsigned)s->rules.uid);
	return qualify(s, span_of(number), e);
}

int sender_settle(const struct sender_rules *rules, struct sender *ret, struct err *e)
{
	struct sender s = { .rules = *rules };

	for (const char *p = rules->full_name; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			return err_set(
				e, EX_DATAERR, "the full name (-F) holds a control character");
	if ((rules->given ? take_given(&s, e) : take_login(&s, e)) != 0)
		return -1;
	*ret = s;
	return 0;
}

void sender_add_gecos(const char *gecos, const char *login, struct buf *out)
{
	for (const char *p = gecos; *p && *p != ','; p++) {
		if (*p == '&' && login[0]) {
			char c = login[0];
			buf_add_char(out, c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
			buf_add_str(out, login + 1);
		} else if ((unsigned char)*p >= ' ' && *p != 127) {
			buf_add_char(out, *p);
		}
	}
}

static void add_own_name(uid_t uid, struct buf *out)
{
	struct user user;
	int found = user_by_uid(uid, &user, NULL);

	if (found > 0)
		sender_add_gecos(user.gecos, user.name, out);
	if (found < 0)
		out->failed = out->starved = true;
}

/* Words of letters, digits and the like need no quotes (RFC 5322 section 3.2.5). */
static bool needs_quotes(struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if (c < 128 && c != ' ' && (c < '0' || c > '9') &&
			((c | 32) < 'a' || (c | 32) > 'z') && c != '-' && c != '_' && c != '\'')
			return true;
	}
	return false;
}

static bool is_ascii(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return false;
	return true;
}

static void add_quoted(struct span name, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.p[i]);
	}
	buf_add_char(out, '"');
}

/* The length of the UTF-8 character that s begins with; 0: it begins with none. */
static size_t utf8_length(struct span s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;

	if (n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xC0) != 0x80)
			return 0;
	return n;
}

static bool is_utf8(struct span s)
{
	while (s.n > 0) {
		size_t n = utf8_length(s);
		if (n == 0)
			return false;
		s = span_from(s, n);
	}
	return true;
}

static void add_encoded_octets(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
			buf_add_char(out, (char)c);
		else
			buf_printf(out, "=%02X", c);
	}
}

/* Encoded words (RFC 2047) of at most 75 octets; a character is not cut in two. What is not UTF-8
 * is of a character set that nobody told us (RFC 1428). */
static void add_encoded(struct span name, struct buf *out)
{
	const bool known = is_utf8(name);
	const char *begin = known ? "=?utf-8?q?" : "=?unknown-8bit?q?";
	size_t word = out->len;

	buf_add_str(out, begin);
	while (name.n > 0) {
		size_t n = known ? utf8_length(name) : 1;
		if (out->len - word + 3 * n + 2 > 75) {
			buf_add_str(out, "?= ");
			word = out->len;
			buf_add_str(out, begin);
		}
		add_encoded_octets(span_make(name.p, n), out);
		name = span_from(name, n);
	}
	buf_add_str(out, "?=");
}

void sender_add_from(const struct sender *s, struct buf *out)
{
	struct buf gecos;
	struct span name = span_of(s->rules.full_name);

	if (s->address[0] == '\0') {
		buf_printf(out, "MAILER-DAEMON@%s", s->rules.domain);
		return;
	}
	buf_init(&gecos, 1024);
	if (!s->rules.full_name && !s->rules.given) {
		add_own_name(s->rules.uid, &gecos);
		if (gecos.starved)
			out->failed = out->starved = true;
		if (!gecos.failed)
			name = buf_span(&gecos);
	}
	name = span_trim(name);
	if (name.n == 0)
		buf_add_str(out, s->address);
	else {
		if (!is_ascii(name))
			add_encoded(name, out);
		else if (needs_quotes(name))
			add_quoted(name, out);
		else
			buf_add_span(out, name);
		buf_printf(out, " <%s>", s->address);
	}
	buf_done(&gecos);
}
