/*
 * Line ends made CRLF, once, at the door: everything behind it knows no other.
 */
#include "sendmail/normalise.h"

void normalise_init(struct normalise *n, bool dot_ends)
{
	*n = (struct normalise) { .dot_ends = dot_ends, .line_start = true };
}

static bool is_plain(char c)
{
	return c != '\r' && c != '\n' && c != '\0';
}

/* CR, LF or NUL. */
static void add_special(struct normalise *n, char c, struct buf *out)
{
	if (c == '\0') {
		n->nuls++;
		if (n->keep_nuls && !n->dot)
			buf_add_char(out, c);
		return; /* as if it were not there: CR NUL LF is one line end */
	}
	if (c == '\n' && n->after_cr) {
		n->after_cr = false;
		return;
	}
	n->after_cr = c == '\r';
	if (n->dot) {
		n->ended = true;
		return;
	}
	buf_add(out, "\r\n", 2);
	n->line_start = true;
}

void normalise_add(struct normalise *n, struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.n && !n->ended;) {
		if (!is_plain(in.p[i])) {
			add_special(n, in.p[i++], out);
			continue;
		}
		n->after_cr = false;
		if (n->dot_ends && n->line_start && !n->dot && in.p[i] == '.') {
			n->dot = true;
			i++;
			continue;
		}
		if (n->dot)
			buf_add_char(out, '.');
		n->dot = n->line_start = false;
		size_t from = i;
		while (i < in.n && is_plain(in.p[i]))
			i++;
		buf_add(out, in.p + from, i - from);
	}
}

void normalise_end(struct normalise *n, struct buf *out)
{
	if (n->dot)
		n->ended = true; /* the last line is a dot without its line end */
	if (!n->ended && !n->line_start)
		buf_add(out, "\r\n", 2);
	n->line_start = true;
}
