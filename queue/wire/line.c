/*
 * Lines and dot-stuffing. Only CRLF ends a line, and only CRLF . CRLF ends content: a receiver that
 * takes less for an end lets a sender smuggle a second message past a stricter one.
 */
#include "wire/line.h"

enum line_result line_next(struct span in, size_t max, struct span *ret, size_t *ret_used)
{
	size_t seen = in.n < max ? in.n : max;
	const char *lf = seen > 0 ? memchr(in.p, '\n', seen) : NULL;

	if (!lf) {
		*ret_used = in.n < max ? 0 : max;
		return in.n < max ? LINE_MORE : LINE_TOO_LONG;
	}
	size_t n = (size_t)(lf - in.p);
	bool whole = n > 0 && in.p[n - 1] == '\r';
	*ret_used = n + 1;
	*ret = span_make(in.p, whole ? n - 1 : n);
	return whole && !span_has_break(*ret) ? LINE_OK : LINE_BAD;
}

/*
 * What stands before the next octet, for both directions:
 *
 *   AT_START   the start of the content or a CRLF
 *   WITHIN     anything else
 *   AFTER_CR   a CR, which may become a CRLF
 *   AFTER_DOT  (receiving) a dot at the start of a line, not yet passed on
 *   AFTER_DOT_CR  (receiving) that dot and a CR, not yet passed on
 */
enum { AT_START, WITHIN, AFTER_CR, AFTER_DOT, AFTER_DOT_CR };

void stuff_init(struct stuff *s)
{
	s->state = AT_START;
}

void stuff_add(struct stuff *s, struct span in, struct buf *out)
{
	while (in.n > 0) {
		const char *lf = memchr(in.p, '\n', in.n);
		size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;
		bool cr = n > 1 ? in.p[n - 2] == '\r' : s->state == AFTER_CR;

		if (s->state == AT_START && in.p[0] == '.')
			buf_add_char(out, '.');
		buf_add(out, in.p, n);
		if (lf)
			s->state = cr ? AT_START : WITHIN;
		else
			s->state = in.p[n - 1] == '\r' ? AFTER_CR : WITHIN;
		in = span_from(in, n);
	}
}

void stuff_end(struct stuff *s, struct buf *out)
{
	if (s->state == AFTER_CR)
		buf_add_char(out, '\n');
	else if (s->state != AT_START)
		buf_add_str(out, "\r\n");
	s->state = AT_START;
}

void unstuff_init(struct unstuff *u)
{
	*u = (struct unstuff) { .state = AT_START };
}

static void pass(struct buf *out, const char *p, size_t n)
{
	if (out)
		buf_add(out, p, n);
}

/* Takes the octets up to the next LF, or all: no end can be among them. A CR is good only right
 * before the LF. */
static size_t take_run(struct unstuff *u, struct span in, struct buf *out)
{
	const char *lf = memchr(in.p, '\n', in.n);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;
	bool after_cr = u->state == AFTER_CR;
	bool crlf = lf && (n > 1 ? in.p[n - 2] == '\r' : after_cr);
	bool open_cr = !lf && in.p[n - 1] == '\r';
	size_t plain = n - (lf ? 1 : 0) - (open_cr || (crlf && n > 1) ? 1 : 0);

	if ((after_cr && !(lf && n == 1)) || (lf && !crlf))
		u->bad = true;
	if (plain > 0 && (memchr(in.p, '\r', plain) || memchr(in.p, '\0', plain)))
		u->bad = true;
	u->state = crlf ? AT_START : open_cr ? AFTER_CR : WITHIN;
	pass(out, in.p, n);
	return n;
}

enum unstuff_result unstuff_add(
	struct unstuff *u, struct span in, struct buf *out, size_t *ret_used)
{
	size_t i = 0;

	while (i < in.n) {
		char c = in.p[i];
		if (u->state == AT_START && c == '.') {
			u->state = AFTER_DOT;
			i++;
		} else if (u->state == AFTER_DOT && c == '\r') {
			u->state = AFTER_DOT_CR;
			i++;
		} else if (u->state == AFTER_DOT_CR && c == '\n') {
			*ret_used = i + 1;
			u->state = AT_START;
			return UNSTUFF_END;
		} else {
			if (u->state == AFTER_DOT_CR) {
				pass(out, "\r", 1);
				u->state = AFTER_CR;
			} else if (u->state == AFTER_DOT) {
				u->state = WITHIN;
			}
			i += take_run(u, span_from(in, i), out);
		}
	}
	*ret_used = in.n;
	return UNSTUFF_MORE;
}
