/*
 * The filter on a client's header (listen/strip), fed in pieces: however it is cut, the same comes
 * out; no field in it is SES's; all else, and the body, is as it was.
 */
#include "fuzz.h"

#include "base/address.h"
#include "listen/strip.h"

static const struct conf_list none;

/* One octet of `cuts` after the other says how long the next piece is; 0: all of the rest. */
static struct span filter(struct span in, struct span cuts, struct spool *out)
{
	struct strip s;
	struct span ret = in;
	struct err e = { 0 };

	strip_init(&s, &none, &none);
	while (in.n > 0) {
		size_t n = fuzz_octet(&cuts) % 23;
		if (n == 0 || n > in.n)
			n = in.n;
		expect(strip_add(&s, span_make(in.p, n), out, &e) == 0, e.text, in);
		in = span_from(in, n);
	}
	expect(strip_end(&s, out, &e) == 0 && spool_span(out, &ret, &e) == 0, e.text, in);
	return ret;
}

/* Behind the empty line; its n is 0 where there is none. */
static struct span body_of(struct span in)
{
	for (size_t i = 0; i < in.n; i++)
		if ((i == 0 || in.p[i - 1] == '\n') &&
			span_eq(span_make(in.p + i, in.n - i < 2 ? in.n - i : 2), span_of("\r\n")))
			return span_from(in, i + 2);
	return span_from(in, in.n);
}

static void check_fields(struct span header)
{
	for (size_t i = 0; i < header.n; i++)
		if (i == 0 || header.p[i - 1] == '\n')
			expect(!span_starts_nocase(span_from(header, i), "X-SES-"), "SES's",
				header);
}

static bool mentions_ses(struct span in)
{
	for (size_t i = 0; i < in.n; i++)
		if (span_starts_nocase(span_from(in, i), "X-SES-"))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	struct span cuts = span_make(in.p, in.n < 8 ? in.n : 8);
	struct spool out[3];

	in = span_from(in, cuts.n);
	for (unsigned i = 0; i < 3; i++)
		spool_init(&out[i], "/tmp");
	struct span whole = filter(in, span_of(""), &out[0]);
	expect(span_eq(whole, filter(in, cuts, &out[1])), "another result in pieces", in);
	expect(span_eq(whole, filter(whole, cuts, &out[2])), "not the end of it", whole);
	struct span body = body_of(whole);
	check_fields(span_make(whole.p, whole.n - body.n));
	expect(span_eq(body, body_of(in)), "the body", in);
	expect(mentions_ses(in) || span_eq(whole, in), "changed", in);
	for (unsigned i = 0; i < 3; i++)
		spool_done(&out[i]);
	return 0;
}
