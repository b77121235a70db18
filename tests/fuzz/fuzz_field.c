/*
 * The header parser alone, on octets that nobody has normalised: field_next, and over it
 * header_next and header_survey (RFC 5322 section 2.2). Nothing is lost or read twice, a field is
 * whole lines with their folds, and a name is a name.
 */
#include "fuzz.h"

#include "base/field.h"
#include "sendmail/header.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_within(struct span part, struct span whole)
{
	return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* The first line begins the field, every other is folded into it, and the last one ends. */
static void check_lines(struct span raw, struct span rest)
{
	expect(raw.n > 0, "nothing was taken", rest);
	for (size_t i = 0; i + 1 < raw.n; i++)
		expect(raw.p[i] != '\n' || is_blank(raw.p[i + 1]), "two fields in one", raw);
	expect(rest.n == 0 || raw.p[raw.n - 1] == '\n', "a field that does not end", raw);
	expect(rest.n == 0 || !is_blank(rest.p[0]), "a fold is left behind", raw);
}

static void check_name(const struct field *f)
{
	size_t behind = f->name.n;

	expect(is_within(f->name, f->raw) && is_within(f->value, f->raw), "outside", f->raw);
	expect((f->name.n > 0) == field_begins(f->raw), "a field that begins none", f->raw);
	if (f->name.n == 0)
		return;
	expect(f->name.p == f->raw.p && f->name.n <= FIELD_LINE_MAX, "the name's place", f->raw);
	for (size_t i = 0; i < f->name.n; i++)
		expect(f->name.p[i] > ' ' && f->name.p[i] < 127 && f->name.p[i] != ':',
			"the name's octets", f->name);
	while (is_blank(f->raw.p[behind]))
		behind++;
	expect(f->raw.p[behind] == ':', "no colon", f->raw);
	expect(f->value.n == 0 || f->value.p == f->raw.p + behind + 1, "the value's place", f->raw);
	expect(f->value.n + 2 + behind + 1 >= f->raw.n, "the value's end", f->raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size), rest = in, again = in;
	struct header_facts facts;
	struct header_field h;
	struct field f;
	size_t taken = 0;
	unsigned hops = 0;
	bool resent = false;

	while (field_next(&rest, &f)) {
		expect(f.raw.p == in.p + taken, "a gap", in);
		taken += f.raw.n;
		check_lines(f.raw, rest);
		check_name(&f);
		expect(header_next(&again, &h) && again.p == rest.p, "two parsers", in);
		expect(span_eq(h.raw, f.raw) && span_eq(h.value, f.value), "two fields", in);
		expect(f.name.n > 0 || (h.flags == 0 && h.id == HEADER_OTHER),
			"no field, and known", f.raw);
		hops += span_eq_nocase(f.name, span_of("Received"));
		resent = resent || (span_starts_nocase(f.name, "Resent-") && h.flags &&
					   h.id != HEADER_RESENT_BCC);
	}
	expect(taken == in.n && !header_next(&again, &h), "not all of it", in);
	header_survey(in, &facts);
	expect(facts.hops == hops && facts.resent == resent, "another survey", in);
	expect(is_within(facts.message_id, in), "Message-ID outside", in);
	return 0;
}
