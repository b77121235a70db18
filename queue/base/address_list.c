/*
 * One pass over an address list. The text of an address is gathered without comments and folds;
 * whether it was an address or only the name before one is known at '<', ':' or the separator.
 */
#include "base/address_list.h"

#include "base/log.h"

#define TEXT_MAX 1024 /* an address with its source route; what is longer is no address */
#define WORD_MAX 256  /* an encoded word; RFC 2047 has 75 */

struct scan {
	struct span list;
	size_t i;     /* next octet */
	size_t start; /* of the mailbox under way */
	size_t begin; /* at the first octet of text */
	size_t end;   /* behind the last one */
	char text[TEXT_MAX];
	size_t n;
	bool over;  /* text is full */
	bool gap;   /* two words with nothing but blanks between: no address */
	bool blank; /* blanks since the last octet of text */
	bool at;    /* an '@' outside quotes */
	bool angle; /* inside < > */
	bool had_angle;
	bool group; /* after "name:" until ';' */
};

static int refuse(const struct scan *s, const char *why, struct err *e)
{
	char shown[64];
	struct span near = span_trim(span_from(s->list, s->start));

	log_printable(near, shown, sizeof(shown));
	return err_set(
		e, EX_DATAERR, "%s at \"%s%s\"", why, shown, near.n >= sizeof(shown) ? "..." : "");
}

/* What may stand between blanks without making two words of one address. */
static bool joins(char c)
{
	return c == '.' || c == '@' || c == ':' || c == ',';
}

/* The next octet is text. */
static void keep(struct scan *s)
{
	char c = s->list.p[s->i];

	if (s->n == 0)
		s->begin = s->i;
	if (s->blank && s->n > 0 && !joins(c) && !joins(s->text[s->n - 1]))
		s->gap = true;
	s->blank = false;
	if (s->n < TEXT_MAX)
		s->text[s->n++] = c;
	else
		s->over = true;
	s->end = ++s->i;
}

static void forget_text(struct scan *s)
{
	s->n = 0;
	s->over = s->gap = s->blank = s->at = false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Whether the comment that ended here stands within a word: "$(id)@a" would become "$@a". That is
 * lawful, but no person means it, and mail must not go to an address that was not given. */
static bool within_word(const struct scan *s, size_t from)
{
	char next = s->i < s->list.n ? s->list.p[s->i] : ' ';
	return s->n > 0 && s->end == from && !is_blank(next) && next != ',' && next != ';' &&
	       next != '>' && next != '<';
}

static int skip_comment(struct scan *s, struct err *e)
{
	size_t depth = 0, from = s->i;

	for (; s->i < s->list.n; s->i++) {
		char c = s->list.p[s->i];
		if (c == '\\')
			s->i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0) {
			s->i++;
			if (within_word(s, from))
				s->gap = true;
			s->blank = true;
			return 0;
		}
	}
	return refuse(s, "a comment that does not end", e);
}

/* A quoted string or a domain literal, kept as given but for the line ends of a fold. */
static int take_enclosed(struct scan *s, char close, struct err *e)
{
	keep(s);
	while (s->i < s->list.n) {
		char c = s->list.p[s->i];
		if (c == '\r' || c == '\n') {
			s->i++;
			continue;
		}
		s->blank = false;
		keep(s);
		if (c == close)
			return 0;
		if (c == '\\' && s->i < s->list.n)
			keep(s);
	}
	return refuse(
		s, close == '"' ? "a quoted string that does not end" : "a [ without its ]", e);
}

/* An encoded word may hold what would end a mailbox; it is part of a name. 0: this is none. */
static size_t encoded_word(struct span s)
{
	unsigned marks = 0;

	if (s.n < 2 || s.p[0] != '=' || s.p[1] != '?')
		return 0;
	for (size_t i = 2; i < s.n && i < WORD_MAX; i++) {
		if (s.p[i] <= ' ' || s.p[i] == '"')
			return 0;
		if (s.p[i] != '?')
			continue;
		if (++marks == 3)
			return i + 1 < s.n && s.p[i + 1] == '=' ? i + 2 : 0;
	}
	return 0;
}

/* At a separator, or the end. */
static int finish(struct scan *s, int (*fn)(void *, const struct mailbox *, struct err *),
	void *arg, struct err *e)
{
	int r = 0;

	if (s->angle)
		return refuse(s, "a < without its >", e);
	if (s->over)
		return refuse(s, "an address that is too long", e);
	if (s->n > 0 && s->gap)
		return refuse(s, "no address, or two without a comma between them,", e);
	if (s->n > 0 || s->had_angle) {
		struct mailbox m = { span_make(s->text, s->n), !s->at && s->n > 0, s->begin,
			s->end };
		r = fn(arg, &m, e);
	}
	forget_text(s);
	s->had_angle = false;
	s->start = s->i + 1;
	return r;
}

static int open_angle(struct scan *s, struct err *e)
{
	if (s->had_angle)
		return refuse(s, "a second < in one address", e);
	forget_text(s);
	s->angle = s->had_angle = true;
	s->begin = s->end = ++s->i;
	return 0;
}

/* What follows '>' up to the separator can only be blanks and comments. */
static int close_angle(struct scan *s, struct err *e)
{
	s->angle = false;
	s->i++;
	while (s->i < s->list.n) {
		char c = s->list.p[s->i];
		if (c == ',' || c == ';')
			break;
		if (c == '(') {
			if (skip_comment(s, e) != 0)
				return -1;
		} else if (is_blank(c)) {
			s->i++;
		} else {
			return refuse(s, "words behind the > of an address", e);
		}
	}
	return 0;
}

static int open_group(struct scan *s, struct err *e)
{
	if (s->group)
		return refuse(s, "a group within a group", e);
	if (s->at)
		return refuse(s, "a : in an address", e);
	s->group = true;
	forget_text(s);
	s->start = ++s->i;
	return 0;
}

/* One octet, or all of what it opens, inside or outside < >. */
static int take(struct scan *s, struct err *e)
{
	char c = s->list.p[s->i];
	size_t word;

	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		s->blank = true;
		s->i++;
		return 0;
	case '(':
		return skip_comment(s, e);
	case '"':
		return take_enclosed(s, '"', e);
	case '[':
		return take_enclosed(s, ']', e);
	case ')':
		return refuse(s, "a ) without its (", e);
	case '@':
		s->at = true;
		break;
	case '=':
		word = s->angle ? 0 : encoded_word(span_from(s->list, s->i));
		while (word-- > 1)
			keep(s);
		break;
	}
	keep(s);
	return 0;
}

int address_list_parse(struct span list,
	int (*fn)(void *arg, const struct mailbox *m, struct err *e), void *arg, struct err *e)
{
	struct scan s = { .list = list };

	while (s.i < list.n) {
		char c = list.p[s.i];
		int r;
		if (s.angle && c == '>')
			r = close_angle(&s, e);
		else if (!s.angle && (c == ',' || c == ';')) {
			r = finish(&s, fn, arg, e);
			s.group = s.group && c != ';';
			s.i++;
		} else if (c == '<')
			r = open_angle(&s, e);
		else if (!s.angle && c == '>')
			r = refuse(&s, "a > without its <", e);
		else if (!s.angle && c == ':')
			r = open_group(&s, e);
		else
			r = take(&s, e);
		if (r != 0)
			return r;
	}
	return finish(&s, fn, arg, e);
}
