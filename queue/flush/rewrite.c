/*
 * The header editor. A first pass finds what gives way to what: a list of cuts, in order. A second
 * one copies what lies between them.
 */
#include "flush/rewrite.h"

#include "base/address_list.h"
#include "base/field.h"

#define CUTS_MAX (REWRITE_ADDRESSES_MAX + 2)

struct cut {
	size_t at, n;    /* n octets of the content, from `at` on … */
	struct span put; /* … give way to these */
};

struct edit {
	const struct rewrite *w;
	struct span content;
	struct cut cut[CUTS_MAX];
	unsigned cuts, addresses;
	size_t value; /* where in the content the value under way begins */
};

/* The fields before the empty line. */
static struct span header_of(struct span content)
{
	struct span rest = content;
	struct field f;

	while (!span_starts_nocase(rest, "\r\n") && field_next(&rest, &f))
		;
	return span_make(content.p, content.n - rest.n);
}

static bool is_named(const struct field *f, const char *name)
{
	return span_eq_nocase(f->name, span_of(name));
}

static bool has_field(struct span header, const char *name)
{
	struct field f;

	while (field_next(&header, &f))
		if (is_named(&f, name))
			return true;
	return false;
}

static void cut(struct edit *x, size_t at, size_t n, struct span put)
{
	x->cut[x->cuts++] = (struct cut) { at, n, put };
}

static int cut_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct edit *x = arg;

	if (x->addresses == REWRITE_ADDRESSES_MAX)
		return err_set(e, EX_DATAERR, "over %d addresses in From and Sender",
			REWRITE_ADDRESSES_MAX);
	x->addresses++;
	const struct conf_pair *to = m->addr.n > 0 ? conf_list_match(x->w->senders, m->addr) : NULL;
	if (to)
		cut(x, x->value + m->begin, m->end - m->begin, span_of(to->rest));
	return 0;
}

/* How long the line has become at the end of s, of which `column` octets came before. */
static size_t add_column(size_t column, struct span s, size_t *widest)
{
	for (long lf; (lf = span_find(s, '\n')) >= 0; s = span_from(s, (size_t)lf + 1)) {
		column += (size_t)lf; /* with its CR */
		if (column > *widest + 1)
			*widest = column - 1;
		column = 0;
	}
	return column + s.n;
}

/* The longest line of the field with its cuts, those from `first` on, made. */
static size_t widest_line(const struct edit *x, const struct field *f, unsigned first)
{
	size_t at = (size_t)(f->raw.p - x->content.p), end = at + f->raw.n, column = 0, widest = 0;

	for (unsigned i = first; i < x->cuts; i++) {
		const struct cut *c = &x->cut[i];
		column = add_column(column, span_make(x->content.p + at, c->at - at), &widest);
		column = add_column(column, c->put, &widest);
		at = c->at + c->n;
	}
	column = add_column(column, span_make(x->content.p + at, end - at), &widest);
	return column > widest ? column : widest;
}

/* Finds the cuts of a From or Sender; none where it has to stay as it is. 0 or -1 with e. */
static int cut_field(struct edit *x, const struct field *f, struct err *e)
{
	unsigned first = x->cuts;

	x->value = (size_t)(f->value.p - x->content.p);
	if (address_list_parse(f->value, cut_mailbox, x, e) == 0) {
		if (x->cuts == first || widest_line(x, f, first) <= FIELD_LINE_MAX)
			return 0;
		err_set(e, EX_DATAERR, "a line would be over %d octets", FIELD_LINE_MAX);
	}
	x->cuts = first;
	return err_prefix(
		e, "%.*s is sent as it is: ", (int)f->name.n, f->name.p); /* "From", "Sender" */
}

/* What From was, behind the field that it is now; but for a line that the longer name makes too
 * long. */
static void keep_in_reply_to(struct edit *x, const struct field *f)
{
	static const char name[] = "Reply-To:";
	size_t end = (size_t)(f->raw.p - x->content.p) + f->raw.n;
	struct span was = span_from(f->raw, (size_t)(f->value.p - f->raw.p));

	if (widest_line(x, f, x->cuts) + strlen(name) > FIELD_LINE_MAX)
		return;
	cut(x, end, 0, span_of(name));
	cut(x, end, 0, was);
}

static void find_cuts(struct edit *x, struct span header, struct err *note)
{
	bool reply_to = x->w->reply_to && !has_field(header, "Reply-To");
	struct field f;

	while (field_next(&header, &f)) {
		unsigned first = x->cuts;
		struct err e = { 0 };
		if (!is_named(&f, "From") && !is_named(&f, "Sender"))
			continue;
		if (f.raw.p[f.raw.n - 1] != '\n') /* the content ends in the middle of it */
			continue;
		if (cut_field(x, &f, &e) < 0) {
			if (note->code == 0)
				*note = e;
		} else if (x->cuts > first && reply_to && is_named(&f, "From")) {
			keep_in_reply_to(x, &f);
			reply_to = false;
		}
	}
}

static size_t new_size(const struct edit *x)
{
	size_t n = x->w->fields.n + x->content.n;

	for (unsigned i = 0; i < x->cuts; i++)
		n += x->cut[i].put.n - x->cut[i].n; /* may wrap, and back */
	return n;
}

static void write_content(const struct edit *x, struct buf *out)
{
	size_t at = 0;

	buf_add_span(out, x->w->fields);
	for (unsigned i = 0; i < x->cuts; i++) {
		const struct cut *c = &x->cut[i];
		buf_add(out, x->content.p + at, c->at - at);
		buf_add_span(out, c->put);
		at = c->at + c->n;
	}
	buf_add_span(out, span_from(x->content, at));
}

int rewrite_content(const struct rewrite *w, struct span content, struct buf *out, struct err *note)
{
	struct edit x = { .w = w, .content = content };

	*note = (struct err) { 0 };
	if (w->senders->n > 0)
		find_cuts(&x, header_of(content), note);
	buf_init(out, new_size(&x));
	if (x.cuts == 0 && w->fields.n == 0)
		return 0;
	/* All of it at once: a buffer that grows would hold a big message twice. */
	if (buf_room(out, new_size(&x)))
		write_content(&x, out);
	return out->failed ? -1 : 1;
}
