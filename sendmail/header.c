/*
 * Fields of a header, and the table of those that this program knows.
 */
#include "sendmail/header.h"

static const struct known {
	const char *name;
	unsigned flags;
	enum header_id id;
} known[] = {
	{ "From", HEADER_ADDRESSES, HEADER_FROM },
	{ "Sender", HEADER_ADDRESSES, HEADER_OTHER },
	{ "Reply-To", HEADER_ADDRESSES, HEADER_OTHER },
	{ "To", HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Cc", HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Bcc", HEADER_REMOVED | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Date", 0, HEADER_DATE },
	{ "Message-ID", 0, HEADER_MESSAGE_ID },
	{ "Received", 0, HEADER_RECEIVED },
	{ "Return-Path", HEADER_REMOVED, HEADER_OTHER },
	{ "Resent-From", HEADER_RESENT | HEADER_ADDRESSES, HEADER_RESENT_FROM },
	{ "Resent-Sender", HEADER_RESENT | HEADER_ADDRESSES, HEADER_OTHER },
	{ "Resent-Reply-To", HEADER_RESENT | HEADER_ADDRESSES, HEADER_OTHER },
	{ "Resent-To", HEADER_RESENT | HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Resent-Cc", HEADER_RESENT | HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Resent-Bcc", HEADER_RESENT | HEADER_REMOVED | HEADER_RECIPIENTS, HEADER_RESENT_BCC },
	{ "Resent-Date", HEADER_RESENT, HEADER_RESENT_DATE },
	{ "Resent-Message-ID", HEADER_RESENT, HEADER_OTHER },
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Where the name ends and where the colon stands. False: this is no field. */
static bool split_name(struct span line, size_t *ret_name, size_t *ret_colon)
{
	size_t i = 0;

	while (i < line.n && line.p[i] > ' ' && line.p[i] < 127 && line.p[i] != ':')
		i++;
	*ret_name = i;
	while (i < line.n && is_blank(line.p[i]))
		i++;
	*ret_colon = i;
	return *ret_name > 0 && i < line.n && line.p[i] == ':';
}

bool header_is_field(struct span line)
{
	size_t name, colon;
	return split_name(line, &name, &colon);
}

/* The length of the first line of s with its line end. */
static size_t line_length(struct span s)
{
	long nl = span_find(s, '\n');
	return nl < 0 ? s.n : (size_t)nl + 1;
}

bool header_next(struct span *rest, struct header_field *ret)
{
	size_t n, name, colon;

	if (rest->n == 0)
		return false;
	n = line_length(*rest);
	while (n < rest->n && is_blank(rest->p[n]))
		n += line_length(span_from(*rest, n));

	*ret = (struct header_field) { .raw = span_make(rest->p, n) };
	*rest = span_from(*rest, n);
	if (!split_name(ret->raw, &name, &colon))
		return true;
	ret->value = span_from(ret->raw, colon + 1);
	if (ret->value.n >= 2)
		ret->value.n -= 2;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!span_eq_nocase(span_make(ret->raw.p, name), span_of(known[i].name)))
			continue;
		ret->flags = known[i].flags;
		ret->id = known[i].id;
	}
	return true;
}

void header_survey(struct span header, struct header_facts *ret)
{
	struct header_field f;

	*ret = (struct header_facts) { .message_id = span_make("", 0) };
	while (header_next(&header, &f)) {
		ret->seen[f.id] = 1;
		if (f.id == HEADER_RECEIVED)
			ret->hops++;
		if (f.id == HEADER_MESSAGE_ID && ret->message_id.n == 0)
			ret->message_id = span_trim(f.value);
		if (f.flags & HEADER_RESENT && f.id != HEADER_RESENT_BCC)
			ret->resent = true;
	}
}
