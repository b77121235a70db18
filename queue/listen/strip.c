/*
 * The filter on the header. A line begins undecided: its octets are kept until its name is known.
 *
 *     NAME --name known--> PASS or DROP --LF--> NAME, or the same for a folded line
 *     NAME --empty line--> BODY
 */
#include "listen/strip.h"

#include "base/address.h"

void strip_init(struct strip *s, const struct conf_list *allowed, const struct conf_list *ours)
{
	*s = (struct strip) { .allowed = allowed, .ours = ours, .state = STRIP_NAME };
}

static bool has(const struct conf_list *l, struct span name, bool pattern)
{
	for (unsigned i = 0; i < l->n; i++)
		if (pattern ? address_match(l->v[i].first, name)
			    : span_eq_nocase(name, span_of(l->v[i].first)))
			return true;
	return false;
}

/* What steers SES is not for everybody to say; and what we say is said once. */
static bool passes(struct strip *s)
{
	struct span name = span_make(s->name, s->name_len);
	long colon = span_find(name, ':');

	if (colon < 0) /* no field; but who unfolds first may take it for one */
		return !span_starts_nocase(name, "X-SES-");
	name = span_trim(span_make(name.p, (size_t)colon));
	if (span_eq_nocase(name, span_of("Received")))
		s->received++;
	if (!span_starts_nocase(name, "X-SES-"))
		return true;
	return has(s->allowed, name, true) && !has(s->ours, name, false);
}

static int decide(struct strip *s, struct spool *out, struct err *e)
{
	int r = 0;

	s->state = passes(s) ? STRIP_PASS : STRIP_DROP;
	if (s->state == STRIP_PASS)
		r = spool_add(out, s->name, s->name_len, e);
	s->name_len = 0;
	return r;
}

/* Octets of a name, one by one. Answers how many were taken; *ret_r as strip_add. */
static size_t take_name(struct strip *s, struct span in, struct spool *out, int *r, struct err *e)
{
	size_t n = 0;

	while (n < in.n && s->state == STRIP_NAME && *r == 0) {
		char c = in.p[n++];
		s->name[s->name_len++] = c;
		if (c == ':' || c == '\n' || s->name_len == STRIP_NAME_MAX) {
			bool empty = s->name_len == 2 && s->name[0] == '\r' && c == '\n';
			*r = decide(s, out, e);
			if (empty)
				s->state = STRIP_BODY;
			else if (c == '\n')
				s->line_begins = true;
		}
	}
	return n;
}

static size_t take_rest(struct strip *s, struct span in, struct spool *out, int *r, struct err *e)
{
	const char *lf = memchr(in.p, '\n', in.n);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;

	if (s->state == STRIP_PASS)
		*r = spool_add(out, in.p, n, e);
	s->line_begins = lf;
	return n;
}

int strip_add(struct strip *s, struct span in, struct spool *out, struct err *e)
{
	int r = 0;

	if (!s->any && in.n > 0)
		s->begins_folded = in.p[0] == ' ' || in.p[0] == '\t';
	s->any = s->any || in.n > 0;
	while (in.n > 0 && r == 0 && s->state != STRIP_BODY) {
		/* A folded line shares the fate of the one before. */
		if (s->line_begins && in.p[0] != ' ' && in.p[0] != '\t')
			s->state = STRIP_NAME;
		s->line_begins = false;
		size_t n = s->state == STRIP_NAME ? take_name(s, in, out, &r, e)
						  : take_rest(s, in, out, &r, e);
		in = span_from(in, n);
	}
	if (in.n > 0 && r == 0)
		r = spool_add(out, in.p, in.n, e);
	return r;
}

int strip_end(struct strip *s, struct spool *out, struct err *e)
{
	return s->name_len > 0 ? decide(s, out, e) : 0;
}
