/*
 * Fields out of a header.
 */
#include "base/field.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Where the name ends and where the colon stands. False: this is no field. */
static bool split_name(struct span line, size_t *ret_name, size_t *ret_colon)
{
	size_t i = 0;

	if (line.n > FIELD_LINE_MAX)
		line.n = FIELD_LINE_MAX;
	while (i < line.n && line.p[i] > ' ' && line.p[i] < 127 && line.p[i] != ':')
		i++;
	*ret_name = i;
	while (i < line.n && is_blank(line.p[i]))
		i++;
	*ret_colon = i;
	return *ret_name > 0 && i < line.n && line.p[i] == ':';
}

bool field_begins(struct span line)
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

bool field_next(struct span *rest, struct field *ret)
{
	size_t n, name, colon;

	if (rest->n == 0)
		return false;
	n = line_length(*rest);
	while (n < rest->n && is_blank(rest->p[n]))
		n += line_length(span_from(*rest, n));

	*ret = (struct field) {
		.raw = span_make(rest->p, n), .name = span_of(""), .value = span_of("")
	};
	*rest = span_from(*rest, n);
	if (!split_name(ret->raw, &name, &colon))
		return true;
	ret->name = span_make(ret->raw.p, name);
	ret->value = span_from(ret->raw, colon + 1);
	if (ret->value.n >= 2)
		ret->value.n -= 2;
	return true;
}
