/*
 * Address lists (RFC 5322) and what is done with them: recipients, and the qualifying of bare
 * names in a header. First octet: how recipients are resolved.
 */
#include "fuzz.h"

#include "base/address.h"
#include "base/address_list.h"
#include "base/buf.h"
#include "base/recipients.h"

#define MAX 20 /* recipients */

struct seen {
	struct span list;
	struct buf joined, qualified;
	size_t end, done;
	unsigned count, good;
};

static int on_mailbox(void *arg, const struct mailbox *m, struct err *e)
{
	struct seen *s = arg;
	struct address a;

	expect(m->end <= s->list.n && m->end >= s->end, "end", s->list);
	expect(m->begin <= m->end && m->begin >= s->end, "begin", s->list);
	s->end = m->end;
	s->count++;
	expect(!m->bare || m->addr.n > 0, "bare, and empty", s->list);
	if (m->bare && address_is_local_part(m->addr)) {
		buf_add(&s->qualified, s->list.p + s->done, m->end - s->done);
		buf_add_str(&s->qualified, "@example.com");
		s->done = m->end;
	} else if (!m->bare && address_parse(m->addr, &a, NULL) == 0) {
		s->good++;
		buf_printf(&s->joined, "%s,\r\n ", a.text);
	}
	return 0;
}

static void seen_init(struct seen *s, struct span list)
{
	*s = (struct seen) { .list = list };
	buf_init(&s->joined, 1 << 20);
	buf_init(&s->qualified, 1 << 20);
}

static void seen_done(struct seen *s)
{
	buf_done(&s->joined);
	buf_done(&s->qualified);
}

static int parse(struct seen *s, struct span list)
{
	struct err e = { 0 };
	int r;

	seen_init(s, list);
	r = address_list_parse(list, on_mailbox, s, &e);
	expect(r == 0 || (r == -1 && e.code == EX_DATAERR && e.text[0]), "no words", list);
	if (r == 0)
		buf_add_span(&s->qualified, span_from(list, s->done));
	assert(!s->joined.failed && !s->qualified.failed);
	return r;
}

/* The addresses found, written as a folded list, are found again. */
static void check_joined(const struct seen *first)
{
	struct seen again;

	expect(parse(&again, buf_span(&first->joined)) == 0, "joined", buf_span(&first->joined));
	expect(again.good == first->good && again.count == first->good, "lost", first->list);
	expect(span_eq(buf_span(&again.joined), buf_span(&first->joined)), "changed", first->list);
	seen_done(&again);
}

/* Bare names that got their domain are addresses now, and nothing else has changed. */
static void check_qualified(const struct seen *first)
{
	struct seen again;
	struct span text = buf_span(&first->qualified);

	expect(parse(&again, text) == 0, "qualified", text);
	expect(again.count == first->count, "qualified, and other mailboxes", text);
	expect(span_eq(buf_span(&again.qualified), text), "qualified twice", text);
	seen_done(&again);
}

static void check_recipients(struct span list, uint8_t how)
{
	const struct recipients_rules rules = { .domain = how & 1 ? "example.com" : "",
		.postmaster = how & 2 ? "postmaster@example.com" : "",
		.max = MAX };
	struct recipients *r = recipients_new(&rules);
	struct err e = { 0 };

	assert(r);
	if (recipients_add(r, list, &e) != 0)
		expect(e.code == EX_DATAERR || e.code == EX_NOUSER, "code", list);
	expect(recipients_count(r) <= MAX, "too many", list);
	for (unsigned i = 0; i < recipients_count(r); i++) {
		struct address a;
		expect(address_parse(span_of(recipients_at(r, i)), &a, NULL) == 0, "recipient",
			list);
		for (unsigned k = 0; k < i; k++)
			expect(strcmp(recipients_at(r, i), recipients_at(r, k)) != 0, "doubled",
				list);
	}
	recipients_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	uint8_t how = fuzz_octet(&in);
	struct seen seen;

	if (parse(&seen, in) == 0)
		check_qualified(&seen);
	check_joined(&seen);
	seen_done(&seen);
	check_recipients(in, how);
	return 0;
}
