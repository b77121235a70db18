/*
 * Replies out of a stream. Lines are only looked at when they are whole, so that the result does
 * not depend on where the input was cut.
 */
#include "wire/parser.h"

#include "wire/line.h"

void parser_init(struct parser *p)
{
	*p = (struct parser) { 0 };
	buf_init(&p->line, PARSER_LINE_MAX);
}

void parser_done(struct parser *p)
{
	if (p)
		buf_done(&p->line);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* How long the enhanced status code (RFC 3463) is that the text begins with, or 0. It must be of
 * the class of the reply's own code. */
static size_t enhanced_length(struct span s, int code)
{
	size_t i = 1;

	if (s.n == 0 || s.p[0] != '0' + code / 100 || code / 100 == 3)
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;
		if (i >= s.n || s.p[i++] != '.')
			return 0;
		for (; i < s.n && is_digit(s.p[i]); i++)
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	return i == s.n || s.p[i] == ' ' ? i : 0;
}

/* The text of a line, in a form that may be logged and stored. */
static void add_text(struct parser *p, struct span s)
{
	struct reply *r = &p->reply;

	s = span_trim(s);
	if (s.n > 0 && p->text_len > 0 && p->text_len < REPLY_TEXT_MAX - 1)
		r->text[p->text_len++] = ' ';
	for (size_t i = 0; i < s.n && p->text_len < REPLY_TEXT_MAX - 1; i++)
		r->text[p->text_len++] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
	r->text[p->text_len] = '\0';
}

static void begin_reply(struct parser *p, int code)
{
	p->reply.code = code;
	p->reply.enhanced[0] = '\0';
	p->reply.text[0] = '\0';
	p->text_len = 0;
	p->ehlo = (struct ehlo) { 0 };
}

/* One line without its CRLF. */
static enum parser_result take_line(struct parser *p, struct span line, const char **ret_why)
{
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) ||
		!is_digit(line.p[2]) || (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
		*ret_why = "a line that is no reply";
		return PARSER_BAD;
	}
	int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
	bool last = line.n == 3 || line.p[3] == ' ';
	struct span text = span_from(line, 4);

	if (p->lines == 0) {
		begin_reply(p, code);
	} else if (code != p->reply.code) {
		*ret_why = "a reply whose lines have different codes";
		return PARSER_BAD;
	}
	if (++p->lines > PARSER_LINES_MAX) {
		*ret_why = "a reply of too many lines";
		return PARSER_BAD;
	}
	ehlo_line(&p->ehlo, text, p->lines == 1);
	size_t n = enhanced_length(text, code);
	if (n > 0 && p->reply.enhanced[0] == '\0') {
		memcpy(p->reply.enhanced, text.p, n);
		p->reply.enhanced[n] = '\0';
	}
	add_text(p, span_from(text, n));
	if (!last)
		return PARSER_MORE;
	p->lines = 0;
	return PARSER_REPLY;
}

/* The next line of all that came, that is p->line followed by `in`. */
static enum line_result next_line(
	struct parser *p, struct span in, struct span *ret, size_t *ret_used)
{
	size_t kept = p->line.len;
	enum line_result r;

	if (kept == 0) {
		r = line_next(in, PARSER_LINE_MAX, ret, ret_used);
		if (r == LINE_MORE) {
			buf_add_span(&p->line, in);
			*ret_used = in.n;
		}
		return r;
	}
	size_t room = PARSER_LINE_MAX - kept;
	const char *lf = memchr(in.p, '\n', in.n < room ? in.n : room);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n < room ? in.n : room;
	buf_add(&p->line, in.p, n);
	r = line_next(buf_span(&p->line), PARSER_LINE_MAX, ret, ret_used);
	*ret_used = n;
	return r;
}

enum parser_result parser_add(
	struct parser *p, struct span in, size_t *ret_used, const char **ret_why)
{
	size_t used = 0, n;
	enum parser_result r = PARSER_MORE;

	while (used < in.n && r == PARSER_MORE) {
		struct span line;
		switch (next_line(p, span_from(in, used), &line, &n)) {
		case LINE_MORE:
			break;
		case LINE_OK:
			r = take_line(p, line, ret_why);
			buf_clear(&p->line);
			break;
		case LINE_BAD:
			*ret_why = "a reply line with NUL, bare CR or bare LF";
			r = PARSER_BAD;
			break;
		case LINE_TOO_LONG:
			*ret_why = "a reply line that is too long";
			r = PARSER_BAD;
			break;
		}
		used += n;
	}
	if (p->line.failed) {
		*ret_why = "out of memory";
		r = PARSER_BAD;
	}
	*ret_used = used;
	return r;
}
