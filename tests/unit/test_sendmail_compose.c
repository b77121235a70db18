/*
 * The header as it is stored: what is removed, qualified, added and folded; and long body lines.
 */
#include "base/field.h"
#include "sendmail/compose.h"
#include "sendmail/longline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sender sender = { .address = "me@example.com",
	.rules = { .given = "me@example.com", .full_name = "Me", .domain = "example.com" } };

static struct compose composer(void)
{
	return (struct compose) { .sender = &sender,
		.hostname = "host.example",
		.domain = "example.com",
		.uid = 1234,
		.id = "abc",
		.now = 1795497350879 };
}

/* Composes; out gets what stands behind the two lines of Received. */
static int compose(struct span fields, struct compose *c, struct buf *out, struct err *e)
{
	struct header_facts facts;
	struct spool spool;
	struct span all;
	int r;

	spool_init(&spool, "/tmp");
	header_survey(fields, &facts);
	r = compose_header(c, fields, &facts, &spool, e);
	if (r == 0) {
		static const char begin[] =
			"Received: by host.example (cenmail, from userid 1234)\r\n\tid abc; ";
		assert_int_equal(spool_span(&spool, &all, NULL), 0);
		assert_true(all.n > sizeof(begin));
		assert_memory_equal(all.p, begin, sizeof(begin) - 1);
		all = span_from(all, sizeof(begin) - 1);
		long nl = span_find(all, '\n');
		assert_true(nl > 10);
		buf_add_span(out, span_from(all, (size_t)nl + 1));
	}
	spool_done(&spool);
	return r;
}

/* With these three, nothing is missing. */
#define WHOLE "From: a@b\r\nDate: x\r\nMessage-ID: <1@b>\r\n"

static void test_fields(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "", "" },
		{ "To: c@d\r\n", "To: c@d\r\n" },
		{ "Bcc: c@d\r\n", "" },
		{ "Bcc : c@d\r\n", "" },
		{ "BCC:\r\n c@d,\r\n\te@f\r\nX: y\r\n", "X: y\r\n" },
		{ "Resent-bcc: c@d\r\n", "" },
		{ "Return-Path: <c@d>\r\n", "" },
		{ "content-length: 12\r\n", "" },
		{ "Bccx: c@d\r\nX-Bcc: c@d\r\n", "Bccx: c@d\r\nX-Bcc: c@d\r\n" },
		{ "To: root\r\n", "To: root@example.com\r\n" },
		{ "To: root (Cron), X <adm>,c@d\r\n",
			"To: root@example.com (Cron), X <adm@example.com>,c@d\r\n" },
		{ "To:\r\n root,\r\n adm\r\n",
			"To:\r\n root@example.com,\r\n adm@example.com\r\n" },
		{ "Reply-To: g: root, adm;\r\n",
			"Reply-To: g: root@example.com, adm@example.com;\r\n" },
		{ "Sender: \\root\r\n", "Sender: \\root\r\n" },
		{ "To: root, <\r\n", "To: root, <\r\n" }, /* can't be read: as it came */
		{ "Subject: root\r\n", "Subject: root\r\n" },
		{ "Subject: \345\261\261 8 bit\r\n", "Subject: \345\261\261 8 bit\r\n" },
		{ "Subject: a\r\n \r\n b\r\n", "Subject: a\r\n \r\n b\r\n" },
		{ "To: =?utf-8?Q?a,b?= <c@d>\r\n", "To: =?utf-8?Q?a,b?= <c@d>\r\n" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char in[512], want[512];
		struct compose c = composer();
		struct buf out;
		buf_init(&out, 4096);
		snprintf(in, sizeof(in), "%s%s", WHOLE, t[i].in);
		snprintf(want, sizeof(want), "%s%s\r\n", WHOLE, t[i].want);
		assert_int_equal(compose(span_of(in), &c, &out, NULL), 0);
		assert_string_equal(buf_str(&out), want);
		assert_string_equal(c.message_id, "<1@b>");
		buf_done(&out);
	}
}

static void test_nul_is_dropped(void **state)
{
	static const char in[] = WHOLE "X: a\0b\0\r\nTo: r\0\r\n";
	struct compose c = composer();
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(compose(span_make(in, sizeof(in) - 1), &c, &out, NULL), 0);
	assert_string_equal(buf_str(&out), WHOLE "X: ab\r\nTo: r@example.com\r\n\r\n");
	buf_done(&out);
}

static void test_missing(void **state)
{
	struct compose c = composer();
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(compose(span_of("X: y\r\n"), &c, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "X: y\r\nMessage-ID: <1795497350879."));
	assert_non_null(strstr(buf_str(&out), "@host.example>\r\nDate: "));
	assert_non_null(strstr(buf_str(&out), "2026 "));
	assert_non_null(strstr(buf_str(&out), "\r\nFrom: Me <me@example.com>\r\n\r\n"));
	assert_non_null(strstr(buf_str(&out), c.message_id));

	buf_clear(&out);
	assert_int_equal(
		compose(span_of("from : a\r\nDATE:x\r\nMessage-Id: 1\r\n"), &c, &out, NULL), 0);
	assert_string_equal(
		buf_str(&out), "from : a@example.com\r\nDATE:x\r\nMessage-Id: 1\r\n\r\n");
	buf_done(&out);
}

static void test_resent(void **state)
{
	struct compose c = composer();
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(compose(span_of("Resent-To: c@d\r\n" WHOLE), &c, &out, NULL), 0);
	assert_int_equal(strncmp(buf_str(&out), "Resent-Message-ID: <1795497350879.", 34), 0);
	assert_non_null(strstr(buf_str(&out), "@host.example>\r\nResent-Date: "));
	assert_non_null(strstr(buf_str(&out),
		"\r\nResent-From: Me <me@example.com>\r\nResent-To: c@d\r\n" WHOLE "\r\n"));
	buf_clear(&out);
	assert_int_equal(compose(span_of("Resent-Message-ID: <2@b>\r\nResent-Date: y\r\n"
					 "Resent-From: c@d\r\n" WHOLE),
				 &c, &out, NULL),
		0);
	assert_int_equal(
		strncmp(buf_str(&out), "Resent-Message-ID: <2@b>\r\nResent-Date: y\r\n", 42), 0);
	buf_done(&out);
}

static void test_message_id(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "<a@b>", "<a@b>" },
		{ "\r\n <a@b> ", "<a@b>" },
		{ "<a b>", "" },
		{ "<\351@b>", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char in[64];
		struct compose c = composer();
		struct buf out;
		buf_init(&out, 4096);
		snprintf(in, sizeof(in), "Message-ID: %s\r\n", t[i].in);
		assert_int_equal(compose(span_of(in), &c, &out, NULL), 0);
		assert_string_equal(c.message_id, t[i].want);
		buf_done(&out);
	}
}

/* B8: a hundred Received lines are a loop; the bound is exact. */
static void test_hops(void **state)
{
	struct buf in, out;
	struct err e = { 0 };

	buf_init(&in, 65536);
	buf_init(&out, 65536);
	for (unsigned i = 0; i <= COMPOSE_HOPS_MAX; i++) {
		struct compose c = composer();
		assert_int_equal(compose(buf_span(&in), &c, &out, &e), 0);
		buf_clear(&out);
		buf_add_str(&in, "received: from x\r\n\tby y\r\n");
	}
	struct compose c = composer();
	assert_int_equal(compose(buf_span(&in), &c, &out, &e), -1);
	assert_int_equal(e.code, EX_DATAERR);
	assert_non_null(strstr(e.text, "loop"));
	buf_done(&in);
	buf_done(&out);
}

/* No line of out is over the limit, and taking the folds out again gives the input. */
static void assert_folded(struct span in, struct span out, bool hard)
{
	struct buf joined;
	size_t line = 0;

	buf_init(&joined, in.n + 16);
	for (size_t i = 0; i < out.n; i++) {
		if (out.p[i] == '\r') {
			assert_true(line <= LONGLINE_MAX);
			line = 0;
			i++;
			if (hard && i + 1 < out.n && out.p[i + 1] == ' ')
				i++, line = 1;
			continue;
		}
		line++;
		buf_add_char(&joined, out.p[i]);
	}
	assert_int_equal(joined.len, in.n);
	assert_memory_equal(joined.data, in.p, in.n);
	buf_done(&joined);
}

static void test_fold(void **state)
{
	for (size_t n = 990; n < 3100; n += 7) {
		struct buf in, out;
		buf_init(&in, 65536);
		buf_init(&out, 65536);
		buf_add_str(&in, "References:");
		while (in.len < n)
			buf_printf(&in, " <%zu@host.example>", in.len);
		size_t text = in.len;
		buf_add_str(&in, "\r\n");
		longline_fold(buf_span(&in), &out);
		assert_folded(span_make(in.data, text), buf_span(&out), false);
		if (text <= LONGLINE_MAX)
			assert_int_equal(out.len, in.len);
		buf_done(&in);
		buf_done(&out);
	}
}

/* No white space to fold at: broken hard, and a word behind it is folded again. */
static void test_fold_hard(void **state)
{
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 65536);
	buf_add_str(&in, "X:");
	while (in.len < 2500)
		buf_add_char(&in, 'y');
	buf_add_str(&in, " z\r\n");
	longline_fold(buf_span(&in), &out);
	assert_folded(span_make(in.data, in.len - 2), buf_span(&out), true);
	assert_int_equal(out.len, in.len + 2 * 3);
	buf_done(&in);
	buf_done(&out);
}

/* The name and its colon stay in one line, wherever the blanks are: else it were no field. */
static void test_fold_behind_the_colon(void **state)
{
	static const struct {
		const char *name;
		size_t first; /* octets of the first line */
	} t[] = { { "Subject :", 998 }, { "Subject : ", 9 }, { "Subject:", 998 },
		{ "S\t:\ta ", 5 } };
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 65536);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_clear(&in);
		buf_clear(&out);
		buf_add_str(&in, t[i].name);
		while (in.len < 1500)
			buf_add_char(&in, 'y');
		buf_add_str(&in, "\r\n");
		longline_fold(buf_span(&in), &out);
		assert_int_equal(span_find(buf_span(&out), '\r'), t[i].first);
		assert_true(field_begins(buf_span(&out)));
	}
	buf_clear(&in);
	while (in.len < LONGLINE_MAX - 1)
		buf_add_char(&in, 'N');
	buf_add_str(&in, ": v\r\n");
	assert_true(field_begins(buf_span(&in)));
	assert_false(field_begins(span_make(in.data, LONGLINE_MAX - 1)));
	in.data[LONGLINE_MAX - 1] = 'N';
	in.data[LONGLINE_MAX] = ':';
	assert_false(field_begins(buf_span(&in)));
	buf_done(&in);
	buf_done(&out);
}

static void break_body(struct span in, size_t each, struct buf *out)
{
	struct longline l;

	buf_clear(out);
	longline_init(&l);
	while (in.n > 0) {
		size_t n = in.n < each ? in.n : each;
		longline_add(&l, span_make(in.p, n), out);
		in = span_from(in, n);
	}
}

static void test_body_limit(void **state)
{
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 65536);
	for (size_t n = 996; n <= 3000; n++) {
		buf_clear(&in);
		for (size_t i = 0; i < n; i++)
			buf_add_char(&in, 'x');
		buf_add_str(&in, "\r\nshort\r\n");
		size_t want = in.len;
		for (size_t room = LONGLINE_MAX; n > room; room += LONGLINE_MAX - 1)
			want += 3;
		for (size_t each = 1; each < 3000; each = each * 3 + 1) {
			if (n > 1010 && each == 1)
				continue;
			break_body(buf_span(&in), each, &out);
			assert_int_equal(out.len, want);
			if (n > LONGLINE_MAX)
				assert_memory_equal(out.data + LONGLINE_MAX, "\r\n x", 4);
		}
	}
	buf_done(&in);
	buf_done(&out);
}

/* A break stands before a character that crosses the limit, never in it; and a line that holds
 * octets which only look like the beginning of a character is left alone up to the limit. */
static void test_body_utf8(void **state)
{
	static const char *const character[] = { "\303\251", "\345\261\261", "\360\237\230\200" };
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 65536);
	for (size_t k = 0; k < 3; k++)
		for (size_t lead = 0; lead < 5; lead++)
			for (size_t each = 1; each < 2000; each = each * 5 + 1) {
				buf_clear(&in);
				for (size_t i = 0; i < lead; i++)
					buf_add_char(&in, 'x');
				while (in.len < 1500)
					buf_add_str(&in, character[k]);
				buf_add_str(&in, "\r\n");
				break_body(buf_span(&in), each, &out);
				assert_int_equal(out.len, in.len + 3);
				const char *cr = memchr(out.data, '\r', out.len);
				size_t at = (size_t)(cr - out.data);
				assert_true(at > LONGLINE_MAX - 4 && at <= LONGLINE_MAX);
				assert_int_equal((at - lead) % strlen(character[k]), 0);
			}
	for (size_t each = 1; each < 2000; each = each * 5 + 1)
		for (size_t n = 995; n <= 998; n++) {
			buf_clear(&in);
			for (size_t i = 0; i < n - 1; i++)
				buf_add_char(&in, 'x');
			buf_add_str(&in, "\360\r\nnext");
			break_body(buf_span(&in), each, &out);
			assert_int_equal(out.len, in.len);
			assert_memory_equal(out.data, in.data, in.len);
		}
	buf_done(&in);
	buf_done(&out);
}

/* B5: a hundred thousand fields, and fields with nothing. */
static void test_many_fields(void **state)
{
	struct buf in, out;
	struct compose c = composer();

	buf_init(&in, 4 << 20);
	buf_init(&out, 4 << 20);
	buf_add_str(&in, WHOLE);
	for (int i = 0; i < 100000; i++)
		buf_add_str(&in, "X:\r\n");
	assert_int_equal(compose(buf_span(&in), &c, &out, NULL), 0);
	assert_int_equal(out.len, in.len + 2);
	buf_done(&in);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_nul_is_dropped),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_resent),
		cmocka_unit_test(test_message_id),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_fold_hard),
		cmocka_unit_test(test_fold_behind_the_colon),
		cmocka_unit_test(test_body_limit),
		cmocka_unit_test(test_body_utf8),
		cmocka_unit_test(test_many_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
