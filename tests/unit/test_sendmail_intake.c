/*
 * Standard input to content: line ends, dots, NULs, the header's end, ceilings; each case is fed
 * cut at every place and octet by octet, and must give the same.
 */
#include "sendmail/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct seen {
	struct buf fields, cut;
	unsigned calls;
	bool refuse;
};

/* The header as it came, then an empty line. */
static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	struct seen *s = arg;

	s->calls++;
	buf_add_span(&s->fields, h->fields);
	buf_add_span(&s->cut, h->cut_by);
	if (s->refuse)
		return err_set(e, EX_NOUSER, "refused by the test");
	assert_int_equal(spool_add(to, h->fields.p, h->fields.n, e), 0);
	return spool_add(to, "\r\n", 2, e);
}

struct result {
	int r;
	struct err e;
	struct seen seen;
	struct buf content;
	uint64_t size, nuls;
	bool eightbit;
};

/* Feeds s in pieces: cut[0] octets, cut[1] octets, the rest. With each > 0: that many at a time. */
static void feed(
	struct span s, bool dot, uint64_t max, const size_t cut[2], size_t each, struct result *res)
{
	struct intake in;
	struct spool spool;
	struct span out;
	size_t step = 0;
	bool refuse = res->seen.refuse;

	*res = (struct result) { .seen.refuse = refuse };
	buf_init(&res->seen.fields, 1 << 22);
	buf_init(&res->seen.cut, 1 << 22);
	buf_init(&res->content, 1 << 22);
	spool_init(&spool, "/tmp");
	intake_init(&in, dot);
	in.on_header = on_header;
	in.arg = &res->seen;
	in.to = &spool;
	in.size_max = max;
	while (s.n > 0 && res->r == 0) {
		size_t n = each ? each : step < 2 ? cut[step++] : s.n;
		n = n < s.n ? n : s.n;
		res->r = intake_add(&in, span_make(s.p, n), &res->e);
		s = span_from(s, n);
	}
	if (res->r == 0)
		res->r = intake_end(&in, &res->e);
	if (spool_span(&spool, &out, NULL) == 0)
		buf_add_span(&res->content, out);
	res->size = in.size;
	res->nuls = in.normalise.nuls;
	res->eightbit = in.eightbit;
	intake_done(&in);
	spool_done(&spool);
}

static void result_done(struct result *r)
{
	buf_done(&r->seen.fields);
	buf_done(&r->seen.cut);
	buf_done(&r->content);
}

static const struct {
	const char *in;
	size_t n; /* 0: strlen */
	bool dot;
	const char *want; /* content: fields, empty line, body */
	const char *cut;
} cases[] = {
	{ "A: b\n\nbody\n", 0, true, "A: b\r\n\r\nbody\r\n", "" },
	{ "A: b\r\n\r\nbody\r\n", 0, true, "A: b\r\n\r\nbody\r\n", "" },
	{ "A: b\r\rbody\r", 0, true, "A: b\r\n\r\nbody\r\n", "" },
	{ "A: b\n\nno end", 0, true, "A: b\r\n\r\nno end\r\n", "" },
	{ "A: b", 0, true, "A: b\r\n\r\n", "" },
	{ "A: b\n", 0, true, "A: b\r\n\r\n", "" },
	{ "A: b\n\n", 0, true, "A: b\r\n\r\n", "" },
	{ "", 0, true, "\r\n", "" },
	{ "\n", 0, true, "\r\n", "" },
	{ "\n\n", 0, true, "\r\n\r\n", "" },
	{ ".", 0, true, "\r\n", "" },
	{ ".\n", 0, true, "\r\n", "" },
	{ ".", 0, false, "\r\n.\r\n", ".\r\n" },
	{ "A: b\n\nx\n.\ny\n", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ "A: b\n\nx\r\n.\r\ny\n", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ "A: b\n\nx\n.", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ "A: b\n\nx\n.\ny\n", 0, false, "A: b\r\n\r\nx\r\n.\r\ny\r\n", "" },
	{ "A: b\n\n..\n.x\n. \n", 0, true, "A: b\r\n\r\n..\r\n.x\r\n. \r\n", "" },
	{ "A: b\n\n..\n.", 0, false, "A: b\r\n\r\n..\r\n.\r\n", "" },
	{ "A: b\n.\nC: d\n", 0, true, "A: b\r\n\r\n", "" },
	{ "A: b\n\n1%\r2%\r3%\n", 0, true, "A: b\r\n\r\n1%\r\n2%\r\n3%\r\n", "" },
	{ "A: b\n\nx\n\ry\r\r\nz\n", 0, true, "A: b\r\n\r\nx\r\n\r\ny\r\n\r\nz\r\n", "" },
	{ "A: b\n\nx\0y\r\0\nz\0", 14, true, "A: b\r\n\r\nxy\r\nz\r\n", "" },
	{ "A: b\n\n\0.\0\n", 10, true, "A: b\r\n\r\n", "" },
	{ "From a@b Tue Nov 24\nA: b\n\nx\n", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ ">From a@b\nA: b\n\nx\n", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ "From a\n>From b\n>>From c\nA: b\n\nx\n", 0, true, "A: b\r\n\r\nx\r\n", "" },
	{ "From a\n\nFrom b\n", 0, true, "\r\nFrom b\r\n", "" },
	{ "From : a@b\n\nx\n", 0, true, "From : a@b\r\n\r\nx\r\n", "" },
	{ "A: b\nFrom a@b\n", 0, true, "A: b\r\n\r\nFrom a@b\r\n", "From a@b\r\n" },
	{ "A: b\n c\n\td\n\nx\n", 0, true, "A: b\r\n c\r\n\td\r\n\r\nx\r\n", "" },
	{ "A: b\n \nC: d\n\nx\n", 0, true, "A: b\r\n \r\nC: d\r\n\r\nx\r\n", "" },
	{ " A: b\n\nx\n", 0, true, "\r\n A: b\r\n\r\nx\r\n", " A: b\r\n" },
	{ "A: b\nno field\nC: d\n", 0, true, "A: b\r\n\r\nno field\r\nC: d\r\n", "no field\r\n" },
	{ "hello\n", 0, true, "\r\nhello\r\n", "hello\r\n" },
	{ "A :b\n\nx\n", 0, true, "A :b\r\n\r\nx\r\n", "" },
	{ "\351: b\nx\n", 0, true, "\r\n\351: b\r\nx\r\n", "\351: b\r\n" },
	{ ": b\n", 0, true, "\r\n: b\r\n", ": b\r\n" },
};

static void check(size_t i, struct result *res, struct span s)
{
	const char *want = cases[i].want;
	size_t n = 0;

	if (res->r != 0 || res->content.len != strlen(want) ||
		memcmp(res->content.data, want, strlen(want)) != 0)
		fail_msg("case %zu (%.*s): %d %s: %s", i, (int)s.n, s.p, res->r, res->e.text,
			buf_str(&res->content));
	assert_string_equal(buf_str(&res->seen.cut), cases[i].cut);
	assert_int_equal(res->seen.calls, 1);
	for (size_t k = 0; k < s.n; k++)
		n += s.p[k] == '\0';
	assert_int_equal(res->nuls, n);
	result_done(res);
}

static void test_every_cut(void **state)
{
	struct result res = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span s =
			span_make(cases[i].in, cases[i].n ? cases[i].n : strlen(cases[i].in));
		feed(s, cases[i].dot, UINT64_MAX, NULL, 1, &res);
		check(i, &res, s);
		for (size_t a = 0; a <= s.n; a++)
			for (size_t b = 0; b <= s.n - a; b++) {
				feed(s, cases[i].dot, UINT64_MAX, (size_t[]) { a, b }, 0, &res);
				check(i, &res, s);
			}
	}
}

/* B1: a NUL in a field is seen by on_header; it is not counted in the size. */
static void test_nul_in_header(void **state)
{
	static const char text[] = "T: a\0b\nX: y\n\nz\0z\n";
	struct result res = { 0 };

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		feed(span_make(text, sizeof(text) - 1), true, 19, (size_t[]) { cut, 0 }, 0, &res);
		assert_int_equal(res.r, 0);
		assert_int_equal(res.seen.fields.len, 14);
		assert_memory_equal(res.seen.fields.data, "T: a\0b\r\nX: y\r\n", 14);
		assert_int_equal(res.size, 19);
		result_done(&res);
	}
}

/* A dot that is held back, then a NUL, in the header: neither is counted before it is given out. */
static void test_size_of_dot_and_nul(void **state)
{
	static const char text[] = ".\0:\n\nz\n";
	struct result res = { 0 };

	for (size_t each = 1; each < sizeof(text); each++) {
		feed(span_make(text, sizeof(text) - 1), true, 9, NULL, each, &res);
		if (res.r != 0)
			fail_msg("%zu at a time: %s", each, res.e.text);
		assert_int_equal(res.size, 9);
		result_done(&res);
	}
}

/* B9 */
static void test_size_is_exact(void **state)
{
	static const char text[] = "A: b\n\nbody\n"; /* 14 octets with CRLF */
	struct result res = { 0 };

	for (uint64_t max = 13; max <= 15; max++)
		for (size_t each = 1; each <= sizeof(text); each++) {
			feed(span_of(text), true, max, NULL, each, &res);
			assert_int_equal(res.r, max < 14 ? -1 : 0);
			if (max < 14) {
				assert_int_equal(res.e.code, EX_DATAERR);
				assert_non_null(strstr(res.e.text, "13 octets"));
			} else {
				assert_int_equal(res.size, 14);
			}
			result_done(&res);
		}
}

/* B5: exactly the ceiling is taken, one more is refused with the limit named. */
static void test_header_ceiling(void **state)
{
	for (int over = 0; over <= 1; over++) {
		size_t n = INTAKE_HEADER_MAX + (size_t)over;
		char *big = malloc(n + 8);
		struct result res = { 0 };
		memset(big, 'x', n);
		memcpy(big, "A:", 2);
		memcpy(big + n - 2, "\r\n\r\nbody", 8);
		feed(span_make(big, n + 6), true, UINT64_MAX, NULL, 65536, &res);
		assert_int_equal(res.r, -over);
		if (over)
			assert_non_null(strstr(res.e.text, "1048576"));
		else
			assert_int_equal(res.content.len, n + 2 + 6);
		result_done(&res);
		free(big);
	}
}

/* A long line that is no field belongs to the body, which has no such ceiling. */
static void test_long_line_that_is_no_field(void **state)
{
	enum { LONG = 2 * INTAKE_HEADER_MAX };
	static const char *const before[] = { "", "A: b\r\n" };
	char *big = malloc(LONG);

	memset(big, 'x', LONG);
	for (size_t i = 0; i < 2; i++)
		for (size_t each = 60000; each <= 70000; each += 10000) {
			struct result res = { 0 };
			size_t n = strlen(before[i]);
			memcpy(big, before[i], n);
			big[n] = '{';
			feed(span_make(big, LONG), true, UINT64_MAX, NULL, each, &res);
			assert_int_equal(res.r, 0);
			assert_int_equal(res.seen.fields.len, n);
			assert_int_equal(res.size, LONG + 2);
			assert_true(res.content.len > LONG);
			result_done(&res);
		}
	free(big);
}

static void test_refusal_reads_on(void **state)
{
	struct result res = { .seen.refuse = true };

	feed(span_of("A: b\n\nbody\nmore\n"), true, UINT64_MAX, NULL, 1, &res);
	assert_int_equal(res.r, -1);
	assert_int_equal(res.e.code, EX_NOUSER);
	assert_int_equal(res.content.len, 0);
	assert_int_equal(res.size, 20);
	result_done(&res);
}

static void test_eightbit(void **state)
{
	static const char *const t[] = { "A: b\n\nc\n", "A: \351\n\nc\n", "A: b\n\n\351\n",
		"\351" };
	struct result res = { 0 };

	for (size_t i = 0; i < 4; i++) {
		feed(span_of(t[i]), true, UINT64_MAX, NULL, 1, &res);
		assert_int_equal(res.eightbit, i > 0);
		result_done(&res);
	}
}

static int random_octet(void)
{
	static const char some[] = "\r\n\0..ab: \351";
	return some[(size_t)rand() % (sizeof(some) - 1)];
}

/* Against a second way of saying it: drop NULs, then line ends, then cut at the dot. */
static void test_random_bodies(void **state)
{
	srand(1);
	for (int round = 0; round < 3000; round++) {
		char in[64] = "A: b\n\n", want[256] = "A: b\r\n\r\n";
		size_t n = 6 + (size_t)rand() % 40, w = 8;
		bool dot = rand() % 2;
		for (size_t i = 6; i < n; i++)
			in[i] = (char)random_octet();
		char line[256];
		size_t l = 0;
		bool after_cr = false, ended = false, open = false;
		for (size_t i = 6; i <= n && !ended; i++) {
			char c = i < n ? in[i] : '\n';
			if (c == '\0' || (i == n && !open))
				continue;
			if (i < n && c == '\n' && after_cr) {
				after_cr = false;
				continue;
			}
			after_cr = c == '\r';
			if (c != '\r' && c != '\n') {
				line[l++] = c;
				open = true;
				continue;
			}
			open = false;
			ended = dot && l == 1 && line[0] == '.';
			if (!ended) {
				memcpy(want + w, line, l);
				memcpy(want + w + l, "\r\n", 2);
				w += l + 2;
			}
			l = 0;
		}
		struct result res = { 0 };
		feed(span_make(in, n), dot, UINT64_MAX, NULL, 1 + (size_t)rand() % 7, &res);
		assert_int_equal(res.r, 0);
		assert_int_equal(res.content.len, w);
		assert_memory_equal(res.content.data, want, w);
		result_done(&res);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_nul_in_header),
		cmocka_unit_test(test_size_of_dot_and_nul),
		cmocka_unit_test(test_size_is_exact),
		cmocka_unit_test(test_header_ceiling),
		cmocka_unit_test(test_long_line_that_is_no_field),
		cmocka_unit_test(test_refusal_reads_on),
		cmocka_unit_test(test_eightbit),
		cmocka_unit_test(test_random_bodies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
