/*
 * Standard input to stored content: normaliser, header, composing, long lines. First octet:
 * options; second: where the input is cut; the rest is the message.
 */
#include "fuzz.h"

#include "base/field.h"
#include "base/random.h"
#include "sendmail/compose.h"
#include "sendmail/intake.h"

#define CONTENT_MAX (1 << 22)

/* Instead of the library's: a message must be composed twice alike. */
void random_bytes(void *p, size_t n)
{
	memset(p, 7, n);
}

struct result {
	int r;
	struct err e;
	uint64_t size, nuls;
	bool eightbit;
	struct buf content;
};

static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	static const struct sender sender = { .address = "me@example.com",
		.rules = {
			.given = "me@example.com", .full_name = "Me", .domain = "example.com" } };
	struct compose c = { .sender = &sender,
		.hostname = "host.example",
		.domain = "example.com",
		.uid = 1234,
		.id = "abc",
		.now = 1795497350879 };
	struct header_facts facts;

	header_survey(h->fields, &facts);
	return compose_header(&c, h->fields, &facts, to, e);
}

/* In pieces whose lengths `cut` decides: 0 is all at once. */
static void take(struct span s, bool dot, uint64_t max, uint8_t cut, struct result *res)
{
	struct intake in;
	struct spool spool;
	struct span out;
	uint32_t state = cut;

	*res = (struct result) { 0 };
	buf_init(&res->content, CONTENT_MAX);
	spool_init(&spool, "/tmp");
	intake_init(&in, dot);
	in.on_header = on_header;
	in.to = &spool;
	in.size_max = max;
	while (s.n > 0 && res->r == 0) {
		state = state * 1103515245U + 12345U;
		size_t n = cut == 0 ? s.n : 1 + (state >> 16) % cut;
		n = n < s.n ? n : s.n;
		res->r = intake_add(&in, span_make(s.p, n), &res->e);
		s = span_from(s, n);
	}
	if (res->r == 0)
		res->r = intake_end(&in, &res->e);
	assert(spool_span(&spool, &out, NULL) == 0);
	buf_add_span(&res->content, out);
	assert(!res->content.failed);
	res->size = in.size;
	res->nuls = in.normalise.nuls;
	res->eightbit = in.eightbit;
	intake_done(&in);
	spool_done(&spool);
}

/* CRLF and no other CR or LF, no NUL, no line over the limit. */
static void check_lines(struct span s)
{
	size_t line = 0;

	expect(s.n >= 2 && memcmp(s.p + s.n - 2, "\r\n", 2) == 0, "no line end", s);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r') {
			expect(i + 1 < s.n && s.p[i + 1] == '\n', "a bare CR", s);
			expect(line <= LONGLINE_MAX, "a long line", s);
			line = 0;
			i++;
			continue;
		}
		expect(s.p[i] != '\n' && s.p[i] != '\0', "a bare LF, or a NUL", s);
		line++;
	}
}

/* Up to the first empty line there are fields: what must be there is, what must not is not. */
static void check_header(struct span s)
{
	const char *end = memmem(s.p, s.n, "\r\n\r\n", 4);
	struct header_field f;
	struct header_facts facts;

	expect(end != NULL, "no end of the header", s);
	struct span header = span_make(s.p, (size_t)(end - s.p) + 2), rest = header;
	for (unsigned i = 0; header_next(&rest, &f); i++) {
		expect(field_begins(f.raw), "a line that is no field", f.raw);
		expect(!(f.flags & HEADER_REMOVED), "a field that must not leave", f.raw);
		expect(i > 0 || f.id == HEADER_RECEIVED, "Received is not first", f.raw);
	}
	header_survey(header, &facts);
	expect(facts.seen[HEADER_FROM] && facts.seen[HEADER_DATE] && facts.seen[HEADER_MESSAGE_ID],
		"a field is missing", header);
	expect(!facts.resent || (facts.seen[HEADER_RESENT_FROM] && facts.seen[HEADER_RESENT_DATE] &&
					facts.seen[HEADER_RESENT_MESSAGE_ID]),
		"a Resent- field is missing", header);
}

static bool same(const struct result *a, const struct result *b)
{
	return a->r == b->r && a->e.code == b->e.code &&
	       (a->r != 0 ||
		       (a->size == b->size && a->nuls == b->nuls && a->eightbit == b->eightbit &&
			       span_eq(buf_span(&a->content), buf_span(&b->content))));
}

/* What was stored, submitted again, gets a Received field and is otherwise left alone. */
static void check_again(const struct result *first)
{
	struct result second;
	size_t more;

	take(buf_span(&first->content), false, UINT64_MAX, 0, &second);
	if (second.r != 0) {
		expect(strstr(second.e.text, "loop") != NULL, "refused the second time",
			span_of(second.e.text));
	} else {
		expect(second.content.len > first->content.len, "shorter",
			buf_span(&second.content));
		more = second.content.len - first->content.len;
		expect(span_eq(span_from(buf_span(&second.content), more),
			       buf_span(&first->content)),
			"changed the second time", buf_span(&second.content));
	}
	buf_done(&second.content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	uint8_t how = fuzz_octet(&in), cut = fuzz_octet(&in);
	uint64_t max = how & 2 ? in.n / 2 + (how >> 2) : UINT64_MAX;
	struct result whole, cut_up, octets;

	take(in, how & 1, max, 0, &whole);
	take(in, how & 1, max, cut | 1, &cut_up);
	take(in, how & 1, max, 1, &octets);
	expect(same(&whole, &cut_up) && same(&whole, &octets), "the cuts make a difference", in);
	if (whole.r == 0) {
		expect(whole.size <= max, "over the maximum", in);
		check_lines(buf_span(&whole.content));
		check_header(buf_span(&whole.content));
		check_again(&whole);
	} else {
		expect(whole.e.code == EX_DATAERR && whole.e.text[0], "code", in);
	}
	buf_done(&whole.content);
	buf_done(&cut_up.content);
	buf_done(&octets.content);
	return 0;
}
