/*
 * The header as it is sent. First octet: whether From is kept in Reply-To. What has to hold: the
 * size is exact, the body and every field but From, Sender and the one Reply-To come out as they
 * went in, and a second time nothing is left to do.
 */
#include "fuzz.h"

#include "base/field.h"
#include "flush/rewrite.h"

static struct conf_pair pairs[] = {
	{ (char *)"root@*", (char *)"ops@example.com" },
	{ (char *)"*@old*", (char *)"\"b b\"@example.net" },
};
static const struct conf_list rules = { pairs, 2 };

static bool is_empty_line(struct span s)
{
	return span_starts_nocase(s, "\r\n");
}

static bool is_named(const struct field *f, const char *name)
{
	return span_eq_nocase(f->name, span_of(name));
}

/* Whether `sent` is `in` with other From and Sender, and at most one Reply-To more. */
static void compare(struct span in, struct span sent)
{
	struct field a, b;
	unsigned added = 0;

	while (!is_empty_line(in) && field_next(&in, &a)) {
		expect(!is_empty_line(sent) && field_next(&sent, &b), "a field is lost", a.raw);
		expect(span_eq(a.name, b.name), "name", a.raw);
		if (!is_named(&a, "From") && !is_named(&a, "Sender")) {
			expect(span_eq(a.raw, b.raw), "octets", a.raw);
			continue;
		}
		struct span rest = sent;
		if (is_named(&a, "From") && !span_eq(a.raw, b.raw) && added == 0 &&
			!is_empty_line(rest) && field_next(&rest, &b) && is_named(&b, "Reply-To") &&
			span_eq(a.value, b.value)) {
			struct span next = in;
			struct field c;
			/* unless it was there */
			if (!is_empty_line(next) && field_next(&next, &c) && span_eq(c.raw, b.raw))
				continue;
			added++;
			sent = rest;
		}
	}
	expect(span_eq(in, sent), "body", in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	struct rewrite w = { &rules, fuzz_octet(&in) & 1, span_of("") };
	struct buf once, again;
	struct err note;

	if (rewrite_content(&w, in, &once, &note) == 1) {
		expect(once.len == once.max, "size", in);
		compare(in, buf_span(&once));
		expect(rewrite_content(&w, buf_span(&once), &again, &note) == 0, "twice", in);
		buf_done(&again);
	} else {
		expect(once.len == 0, "not empty", in);
	}
	buf_done(&once);
	return 0;
}
