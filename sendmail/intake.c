/*
 * The way of an octet of standard input: normalise, then header (kept until it is whole) or body
 * (into the spool at once).
 */
#include "sendmail/intake.h"

#include "base/field.h"
#include "sendmail/header.h"

#include <inttypes.h>

#define PIECE (64 * 1024)

void intake_init(struct intake *in, bool dot_ends)
{
	*in = (struct intake) { .in_header = true };
	normalise_init(&in->normalise, dot_ends);
	longline_init(&in->longline);
	buf_init(&in->piece, 2 * PIECE + 2);
	buf_init(&in->body, 3 * PIECE);
	buf_init(&in->header, INTAKE_HEADER_MAX + 2);
}

void intake_done(struct intake *in)
{
	buf_done(&in->piece);
	buf_done(&in->body);
	buf_done(&in->header);
}

static bool has_eightbit(struct span s)
{
	unsigned char all = 0;
	for (size_t i = 0; i < s.n; i++)
		all |= (unsigned char)s.p[i];
	return all & 0x80;
}

static int check_buf(const struct buf *b, struct err *e)
{
	return b->failed ? err_set(e, EX_TEMPFAIL, "out of memory") : 0;
}

/* s without NULs, at most 2*PIECE octets at a time (a cut header line may be longer). */
static int add_body(struct intake *in, struct span s, struct err *e)
{
	while (s.n > 0 && !in->refused) {
		struct span part = span_make(s.p, s.n < 2 * PIECE ? s.n : 2 * PIECE);
		s = span_from(s, part.n);
		buf_clear(&in->body);
		while (part.n > 0) {
			long nul = span_find(part, '\0');
			size_t n = nul < 0 ? part.n : (size_t)nul;
			longline_add(&in->longline, span_make(part.p, n), &in->body);
			part = span_from(part, n + (nul < 0 ? 0 : 1));
		}
		if (check_buf(&in->body, e) != 0 ||
			spool_add(in->to, in->body.data, in->body.len, e) != 0)
			return -1;
	}
	return 0;
}

/* The header is what stands before in->line; `cut` is the line that ended it, or "". */
static int end_header(struct intake *in, struct span cut, struct err *e)
{
	struct intake_header h = { span_make(in->header.data, in->line), cut };

	in->in_header = false;
	if (in->on_header(in->arg, &h, in->to, &in->why) != 0) {
		in->refused = true;
		return 0;
	}
	return add_body(in, cut, e);
}

static bool is_empty_line(struct span line)
{
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] != '\0' && line.p[i] != '\r' && line.p[i] != '\n')
			return false;
	return true;
}

static bool is_header_line(const struct intake *in, struct span line)
{
	return field_begins(line) || (in->any_field && (line.p[0] == ' ' || line.p[0] == '\t'));
}

/* The line that mailbox files begin a message with; ">From " where one was quoted on its way.
 * There may be several, as each hand that the message went through added its own. */
static bool is_from_line(struct span line)
{
	if (field_begins(line)) /* "From : a@example.com" */
		return false;
	while (line.n > 0 && line.p[0] == '>')
		line = span_from(line, 1);
	return line.n >= 5 && memcmp(line.p, "From ", 5) == 0;
}

/* A whole line of the header has come. */
static int take_line(struct intake *in, struct err *e)
{
	struct span line = span_from(buf_span(&in->header), in->line);

	if (is_empty_line(line))
		return end_header(in, span_make("", 0), e);
	if (!in->any_field && is_from_line(line)) {
		buf_clear(&in->header);
		return 0;
	}
	if (!is_header_line(in, line))
		return end_header(in, line, e);
	in->any_field = true;
	in->line = in->header.len;
	return 0;
}

static int over_header(struct err *e)
{
	return err_set(e, EX_DATAERR,
		"the header is over %d octets: put long content into the body", INTAKE_HEADER_MAX);
}

/* The line under way is too long for a header. One that is no header's is the body's, where a line
 * may be of any length. */
static int overflow(struct intake *in, struct span s, struct err *e)
{
	struct span line = span_from(buf_span(&in->header), in->line);
	struct span start = line.n > 0 ? line : s;

	if (is_empty_line(start) || is_header_line(in, start))
		return over_header(e);
	return end_header(in, line, e) != 0 ? -1 : add_body(in, s, e);
}

/* At most one line, or a part of one. The buffer has room for the empty line beyond the ceiling. */
static int add_header(struct intake *in, struct span s, struct err *e)
{
	if (s.n > in->header.max - in->header.len)
		return overflow(in, s, e);
	buf_add_span(&in->header, s);
	if (check_buf(&in->header, e) != 0)
		return -1;
	if (s.n == 0 || s.p[s.n - 1] != '\n')
		return 0;
	if (take_line(in, e) != 0)
		return -1;
	return in->line > INTAKE_HEADER_MAX ? over_header(e) : 0;
}

static size_t count_nuls(struct span s)
{
	size_t n = 0;

	for (long at; (at = span_find(s, '\0')) >= 0; n++)
		s = span_from(s, (size_t)at + 1);
	return n;
}

/* What the normaliser has given out. */
static int add_piece(struct intake *in, struct err *e)
{
	struct span s = buf_span(&in->piece);

	if (check_buf(&in->piece, e) != 0)
		return -1;
	in->size += s.n - count_nuls(s);
	if (in->size > in->size_max)
		return err_set(e, EX_DATAERR,
			"the message is over %" PRIu64
			" octets (message_size in the configuration)",
			in->size_max);
	in->eightbit = in->eightbit || has_eightbit(s);
	return in->in_header ? add_header(in, s, e) : add_body(in, s, e);
}

/* Header lines are given to the normaliser one by one: whether NULs are kept, and where the octets
 * go, changes with the line that ends the header. */
static size_t next_piece(const struct intake *in, struct span s)
{
	size_t n = s.n < PIECE ? s.n : PIECE;

	for (size_t i = 0; in->in_header && i < n; i++)
		if (s.p[i] == '\n' || s.p[i] == '\r')
			return i + 1;
	return n;
}

int intake_add(struct intake *in, struct span s, struct err *e)
{
	while (s.n > 0 && !in->ended) {
		size_t n = next_piece(in, s);
		buf_clear(&in->piece);
		in->normalise.keep_nuls = in->in_header;
		normalise_add(&in->normalise, span_make(s.p, n), &in->piece);
		if (add_piece(in, e) != 0)
			return -1;
		in->ended = in->normalise.ended;
		s = span_from(s, n);
	}
	return 0;
}

int intake_end(struct intake *in, struct err *e)
{
	buf_clear(&in->piece);
	normalise_end(&in->normalise, &in->piece);
	if (add_piece(in, e) != 0)
		return -1;
	if (in->in_header && end_header(in, span_make("", 0), e) != 0)
		return -1;
	if (in->refused)
		return err_set(e, in->why.code, "%s", in->why.text);
	return 0;
}
