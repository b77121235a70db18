/*
 * Long lines. The body's side sees a line only in pieces: near the limit it holds a character back
 * until it is known whether the line ends within the limit.
 */
#include "sendmail/longline.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The length that the first octet of a UTF-8 character announces; 1 for any other octet. */
static unsigned announced(char c)
{
	unsigned char u = (unsigned char)c;
	return u >= 0xF0 && u <= 0xF4  ? 4
	       : u >= 0xE0 && u < 0xF0 ? 3
	       : u >= 0xC2 && u < 0xE0 ? 2
				       : 1;
}

void longline_init(struct longline *l)
{
	*l = (struct longline) { 0 };
}

static void break_line(struct longline *l, struct buf *out)
{
	buf_add(out, "\r\n ", 3);
	l->breaks++;
	l->column = 1;
}

static void release(struct longline *l, struct buf *out)
{
	buf_add(out, l->held, l->held_count);
	l->column += l->held_count;
	l->held_count = 0;
}

/* One octet that is no line end. */
static void add_octet(struct longline *l, char c, struct buf *out)
{
	if (l->held_count > 0 && l->column + l->held_count < LONGLINE_MAX) {
		l->held[l->held_count++] = c;
		return;
	}
	if (l->held_count > 0) {
		break_line(l, out);
		release(l, out);
	}
	if (l->column == LONGLINE_MAX)
		break_line(l, out);
	if (l->column + announced(c) > LONGLINE_MAX) {
		l->held[l->held_count++] = c;
		return;
	}
	buf_add_char(out, c);
	l->column++;
}

void longline_add(struct longline *l, struct span in, struct buf *out)
{
	while (in.n > 0) {
		long cr = span_find(in, '\r');
		size_t n = cr < 0 ? in.n : (size_t)cr;
		/* Far from the limit, which is nearly always, a line is copied at once. */
		if (l->held_count == 0 && l->column + n <= LONGLINE_MAX - (cr < 0 ? 4U : 0U)) {
			buf_add(out, in.p, n);
			l->column += (unsigned)n;
		} else {
			for (size_t i = 0; i < n; i++)
				add_octet(l, in.p[i], out);
		}
		in = span_from(in, n);
		if (cr < 0)
			return;
		release(l, out);
		buf_add_char(out, '\r');
		in = span_from(in, 1);
		if (in.n > 0 && in.p[0] == '\n') {
			buf_add_char(out, '\n');
			in = span_from(in, 1);
		}
		l->column = 0;
	}
}

/* Where a header line may be folded: before the last blank within the limit, and behind `from`,
 * that has something else than blanks before it. 0: nowhere. */
static size_t fold_point(struct span line, size_t from, size_t limit)
{
	size_t at = 0;
	bool text = from > 0;

	for (size_t i = from; i <= limit && i < line.n; i++) {
		if (!is_blank(line.p[i]))
			text = true;
		else if (text)
			at = i;
	}
	return at;
}

/* Where it is broken else: at the limit, but before a UTF-8 character that crosses it. */
static size_t hard_point(struct span line, size_t limit)
{
	for (size_t back = 0; back < 4; back++)
		if (((unsigned char)line.p[limit - back] & 0xC0) != 0x80)
			return limit - back;
	return limit;
}

/* Nothing before `from` is broken: a field's name and colon stay in one line. */
static void fold_line(struct span line, size_t from, struct buf *out)
{
	size_t limit = LONGLINE_MAX;

	while (line.n > limit) {
		size_t at = fold_point(line, from, limit);
		bool hard = at == 0;
		if (hard)
			at = hard_point(line, limit);
		buf_add(out, line.p, at);
		buf_add_str(out, hard ? "\r\n " : "\r\n");
		limit = hard ? LONGLINE_MAX - 1 : LONGLINE_MAX;
		line = span_from(line, at);
		from = 0;
	}
	buf_add_span(out, line);
	buf_add(out, "\r\n", 2);
}

void longline_fold(struct span field, struct buf *out)
{
	size_t from = (size_t)(span_find(field, ':') + 1);

	while (field.n > 0) {
		long nl = span_find(field, '\n');
		size_t n = nl < 0 ? field.n : (size_t)nl + 1;
		size_t text = n;
		while (text > 0 && (field.p[text - 1] == '\n' || field.p[text - 1] == '\r'))
			text--;
		fold_line(span_make(field.p, text), from, out);
		from = 0;
		field = span_from(field, n);
	}
}
