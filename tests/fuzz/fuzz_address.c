/*
 * address_parse and address_match (RFC 5321): what is taken is taken octet for octet, comes back
 * from every form that a header or a command gives it, and holds nothing that could end a line.
 */
#include "base/address.h"

#include "base/address_list.h"
#include "fuzz.h"

static int same(void *arg, const struct mailbox *m, struct err *e)
{
	struct span *want = arg;

	expect(span_eq(m->addr, *want), "an address list gives another address", *want);
	expect(!m->bare, "an address list calls it bare", *want);
	want->p = NULL;
	return 0;
}

static void through_list(struct span list, struct span want)
{
	struct span left = want;

	expect(address_list_parse(list, same, &left, NULL) == 0, "no address list", list);
	expect(left.p == NULL, "an address list without it", list);
}

static void check_taken(const struct address *a, struct span in)
{
	char angle[ADDRESS_PATH_MAX + 8];
	struct span text = span_make(a->text, a->len);
	struct address again;
	struct err e;

	expect(a->len == strlen(a->text) && a->len <= ADDRESS_PATH_MAX, "length", text);
	expect(in.n >= a->len && memcmp(in.p + in.n - a->len, a->text, a->len) == 0,
		"not what was given", text);
	expect(in.n == a->len || in.p[0] == '@', "cut, and no source route", in);
	for (size_t i = 0; i < text.n; i++)
		expect(text.p[i] >= ' ' && text.p[i] <= '~', "an octet outside ASCII", text);
	expect(text.p[a->at] == '@', "at", text);
	expect(address_is_local_part(address_local(a)), "local part", text);
	expect(address_is_domain(address_domain(a)), "domain", text);
	expect(address_parse(text, &again, &e) == 0 && again.at == a->at, "not itself", text);
	expect(address_match("*", text) && address_match("*@*", text), "pattern *", text);
	through_list(text, text);
	snprintf(angle, sizeof(angle), "x <%s>", a->text);
	through_list(span_of(angle), text);
}

/* The obvious way, exponential at worst. */
static bool match(const char *p, struct span s)
{
	if (*p == '\0')
		return s.n == 0;
	if (*p == '*')
		return match(p + 1, s) || (s.n > 0 && match(p, span_from(s, 1)));
	return s.n > 0 && (*p == '?' || span_eq_nocase(span_make(p, 1), span_make(s.p, 1))) &&
	       match(p + 1, span_from(s, 1));
}

/* The input as pattern, NUL, text. */
static void check_match(struct span in)
{
	long nul = span_find(in, '\0');

	if (nul < 0 || in.n > 24)
		return;
	expect(address_match(in.p, span_from(in, (size_t)nul + 1)) ==
			match(in.p, span_from(in, (size_t)nul + 1)),
		"pattern", in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make((const char *)data, size);
	struct address a = { .len = 12345 };
	struct err e = { 0 };

	check_match(in);
	if (address_parse(in, &a, &e) == 0) {
		check_taken(&a, in);
		return 0;
	}
	expect(e.code == EX_DATAERR && e.text[0], "refused without words", in);
	expect(a.len == 12345, "refused, and written", in);
	for (const char *p = e.text; *p; p++)
		expect(*p >= ' ' && *p <= '~', "words that are not printable", in);
	return 0;
}
