/*
 * rewrite: what a message is sent as, octet for octet.
 */
#include "flush/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct conf_pair pairs[] = {
	{ (char *)"root@*", (char *)"ops@example.com" },
	{ (char *)"*@old.example", (char *)"new@example.com" },
	{ (char *)"root@second.example", (char *)"never@example.com" }, /* the first match wins */
	{ (char *)"quoted@a", (char *)"\"a b\"@example.com" },
	{ (char *)"cron", (char *)"cron@example.com" },
};
static const struct conf_list rules = { pairs, sizeof pairs / sizeof *pairs };

/* The message `in` as it is sent, for the caller to free; NULL: as it is. */
static char *rewritten(const struct rewrite *w, const char *in, struct err *note)
{
	struct buf out;
	int r = rewrite_content(w, span_of(in), &out, note);

	assert_in_range(r, 0, 1);
	if (r == 0) {
		assert_int_equal(out.len, 0);
		buf_done(&out);
		return NULL;
	}
	assert_int_equal(out.len, out.max); /* the size was exact */
	return buf_take(&out);
}

static void check(const struct rewrite *w, const char *in, const char *out, const char *words)
{
	struct err note;
	char *is = rewritten(w, in, &note);

	if (out ? !is || strcmp(is, out) != 0 : is != NULL)
		fail_msg("%s\nbecame\n%s", in, is ? is : "itself");
	if (words ? !strstr(note.text, words) : note.code != 0)
		fail_msg("%s\n%s", in, note.text);
	free(is);
}

/* A value of From, and what it becomes; NULL: it stays. */
static const struct {
	const char *is, *becomes, *note;
} values[] = {
	/* forms of an address */
	{ " root@host", " ops@example.com", NULL },
	{ "root@host", "ops@example.com", NULL },
	{ " <root@host>", " <ops@example.com>", NULL },
	{ " < root@host >", " < ops@example.com >", NULL },
	{ " Root of it <root@host>", " Root of it <ops@example.com>", NULL },
	{ " ROOT@Host", " ops@example.com", NULL },
	{ " root@host (Cron Daemon)", " ops@example.com (Cron Daemon)", NULL },
	{ " (root@host) <x@old.example> (root@host)", " (root@host) <new@example.com> (root@host)",
		NULL },
	{ " \"root@host\" <x@old.example>", " \"root@host\" <new@example.com>", NULL },
	{ " \"a \\\" <root@host>, \" <root@host>", " \"a \\\" <root@host>, \" <ops@example.com>",
		NULL },
	{ " =?utf-8?Q?root=40host,_<x>?= <root@host>",
		" =?utf-8?Q?root=40host,_<x>?= <ops@example.com>", NULL },
	{ " \xe8\xbf\x90\xe7\xbb\xb4 <root@host>", " \xe8\xbf\x90\xe7\xbb\xb4 <ops@example.com>",
		NULL },
	{ " quoted@a", " \"a b\"@example.com", NULL },
	{ " cron", " cron@example.com", NULL },
	{ " root(x)@host", NULL, "From is sent as it is: no address" },
	{ " root @ host", " ops@example.com", NULL },
	{ " <root@(x) host>", " <ops@example.com>", NULL },
	{ " <@a,@b:x@old.example>", " <new@example.com>", NULL },
	{ " x@[10.0.0.1], root@[IPv6:::1]", " x@[10.0.0.1], ops@example.com", NULL },
	/* which pattern */
	{ " root@second.example", " ops@example.com", NULL },
	{ " root@old.example", " ops@example.com", NULL },
	{ " x@old.example.com", NULL, NULL },
	{ " xroot@host", NULL, NULL },
	{ " \"root\"@host", NULL, NULL },
	{ " app@example.com", NULL, NULL },
	/* folds */
	{ "\r\n root@host", "\r\n ops@example.com", NULL },
	{ " Cron\r\n\tDaemon\r\n <root@host>\r\n (x)",
		" Cron\r\n\tDaemon\r\n <ops@example.com>\r\n (x)", NULL },
	{ " <root@\r\n host>", " <ops@example.com>", NULL },
	/* several, and groups */
	{ " root@a, b@c,root@d", " ops@example.com, b@c,ops@example.com", NULL },
	{ " root@a,,x@old.example,", " ops@example.com,,new@example.com,", NULL },
	{ " ops: root@a, b@c;, root@d", " ops: ops@example.com, b@c;, ops@example.com", NULL },
	{ " undisclosed:;", NULL, NULL },
	{ "", NULL, NULL },
	{ " ", NULL, NULL },
	{ " <>", NULL, NULL },
	/* what can't be read stays, even where some of it could be */
	{ " root@host, \"x", NULL, "From is sent as it is: a quoted string that does not end" },
	{ " root@host (", NULL, "From is sent as it is: a comment that does not end" },
	{ " root@host root@host", NULL, "From is sent as it is: no address, or two" },
	{ " <root@host", NULL, "From is sent as it is: a < without its >" },
	{ " root@host>", NULL, "From is sent as it is: a > without its <" },
};

static void test_values(void **state)
{
	static const char head[] = "Received: by x\r\n\tfor root@host\r\n";
	static const char tail[] =
		"To: root@host\r\nX-From: root@host\r\nResent-From: root@host\r\n"
		"\r\nFrom: root@host\r\n.\r\n\x80\xff\r\n";
	const struct rewrite w = { .senders = &rules };
	char in[1024], out[1024];

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		snprintf(in, sizeof in, "%sFrom:%s\r\n%s", head, values[i].is, tail);
		snprintf(out, sizeof out, "%sFrom:%s\r\n%s", head,
			values[i].becomes ? values[i].becomes : "", tail);
		check(&w, in, values[i].becomes ? out : NULL, values[i].note);
	}
}

static void test_messages(void **state)
{
	static const struct {
		const char *in, *out, *note;
	} t[] = {
		{ "Sender: root@a\r\nFrom: b@c\r\n\r\n",
			"Sender: ops@example.com\r\nFrom: b@c\r\n\r\n", NULL },
		{ "sENDER : root@a\r\nfrom\t: root@b\r\n\r\n",
			"sENDER : ops@example.com\r\nfrom\t: ops@example.com\r\n\r\n", NULL },
		{ "From: root@a\r\nFrom: root@b\r\n\r\n",
			"From: ops@example.com\r\nFrom: ops@example.com\r\n\r\n", NULL },
		{ "From: (\r\nSender: root@b\r\n\r\n", "From: (\r\nSender: ops@example.com\r\n\r\n",
			"From is sent as it is: a comment" },
		{ "Sender: root@b, (\r\nFrom: root@b\r\n\r\n",
			"Sender: root@b, (\r\nFrom: ops@example.com\r\n\r\n",
			"Sender is sent as it is: a comment" },
		{ "From: root@a\r\n", "From: ops@example.com\r\n", NULL },
		{ "From: (\r\nSender: \"\r\n\r\n", NULL, "From is sent as it is" },
		/* no header, no field, no end */
		{ "\r\nFrom: root@a\r\n", NULL, NULL },
		{ "", NULL, NULL },
		{ "From: root@host", NULL, NULL },
		{ " From: root@a\r\n\r\n", NULL, NULL },
		{ "X: y\r\n From: root@a\r\n\r\n", NULL, NULL },
		{ "no field\r\nFrom: root@a\r\n\r\n", "no field\r\nFrom: ops@example.com\r\n\r\n",
			NULL },
	};
	const struct rewrite w = { .senders = &rules };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		check(&w, t[i].in, t[i].out, t[i].note);
}

static void test_reply_to(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "From: R <root@a>\r\nTo: b\r\n\r\n",
			"From: R <ops@example.com>\r\nReply-To: R <root@a>\r\nTo: b\r\n\r\n" },
		{ "From:root@a,\r\n x@y\r\n\r\n",
			"From:ops@example.com,\r\n x@y\r\nReply-To:root@a,\r\n x@y\r\n\r\n" },
		{ "From: root@a\r\nreply-to: b@c\r\n\r\n",
			"From: ops@example.com\r\nreply-to: b@c\r\n\r\n" },
		{ "Reply-To:\r\nFrom: root@a\r\n\r\n",
			"Reply-To:\r\nFrom: ops@example.com\r\n\r\n" },
		{ "From: root@a\r\n\r\nReply-To: b@c\r\n",
			"From: ops@example.com\r\nReply-To: root@a\r\n\r\nReply-To: b@c\r\n" },
		/* only for a From that was replaced, and once */
		{ "Sender: root@a\r\nFrom: b@c\r\n\r\n",
			"Sender: ops@example.com\r\nFrom: b@c\r\n\r\n" },
		{ "From: b@c\r\n\r\n", NULL },
		{ "From: b@c\r\nFrom: root@a\r\nFrom: root@d\r\n\r\n",
			"From: b@c\r\nFrom: ops@example.com\r\nReply-To: root@a\r\n"
			"From: ops@example.com\r\n\r\n" },
	};
	const struct rewrite w = { .senders = &rules, .reply_to = true };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		check(&w, t[i].in, t[i].out, NULL);
}

/* Fields of the configuration go first, whatever else happens. */
static void test_fields(void **state)
{
	const struct conf_list none = { 0 };
	struct rewrite w = { .senders = &none, .fields = span_of("X-A: 1\r\nX-B: 2\r\n") };

	check(&w, "From: root@a\r\n\r\nb\r\n", "X-A: 1\r\nX-B: 2\r\nFrom: root@a\r\n\r\nb\r\n",
		NULL);
	check(&w, "", "X-A: 1\r\nX-B: 2\r\n", NULL);
	w.senders = &rules;
	check(&w, "From: root@a\r\n\r\nb\r\n",
		"X-A: 1\r\nX-B: 2\r\nFrom: ops@example.com\r\n\r\nb\r\n", NULL);
}

/* "From:", blanks and commas up to `octets`, then the addresses. */
static void test_long_lines(void **state)
{
	const struct rewrite w = { .senders = &rules }, kept = { &rules, true, span_of("") };
	static const struct {
		size_t octets; /* of the line as it is */
		const char *fold;
		bool changed, reply_to;
	} t[] = {
		{ 900, "", true, true },
		{ 998 - 9, "", true, true }, /* root@host grows by 6 octets; Reply-To: has 9 */
		{ 998 - 8, "", true, false }, { 998 - 6, "", true, false },
		{ 998 - 5, "", false, false }, { 998, "", false, false },
		{ 998, "\r\n ", true, false }, /* another line of the field is the long one */
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char in[1100], pad[1000];
		size_t used = strlen("From:") + (t[i].fold[0] ? 0 : strlen("root@host"));
		struct err note;
		memset(pad, ',', sizeof pad);
		snprintf(in, sizeof in, "From:%.*s%sroot@host\r\n\r\n", (int)(t[i].octets - used),
			pad, t[i].fold);
		char *out = rewritten(&w, in, &note);
		assert_int_equal(out != NULL, t[i].changed);
		if (!t[i].changed)
			assert_non_null(strstr(note.text, "a line would be over 998 octets"));
		free(out);
		out = rewritten(&kept, in, &note);
		assert_int_equal(out && strstr(out, "Reply-To:,"), t[i].reply_to);
		free(out);
	}
}

/* Work and growth have a ceiling: addresses beyond it are left, and said. */
static void test_too_many(void **state)
{
	const struct rewrite w = { .senders = &rules, .reply_to = true };
	struct buf in;
	struct err note;

	for (unsigned n = REWRITE_ADDRESSES_MAX - 1; n <= REWRITE_ADDRESSES_MAX + 1; n++)
		for (int fields = 0; fields < 2; fields++) {
			unsigned changed = 0;
			buf_init(&in, 1 << 20);
			for (unsigned i = 0; i < n;
				i++) /* in one field, folded, or in a field each */
				buf_add_str(&in, fields   ? "From: root@a\r\n"
						 : i == 0 ? "From: root@a"
							  : ",\r\n root@a");
			buf_add_str(&in, fields ? "\r\n" : "\r\n\r\n");
			char *out = rewritten(&w, buf_str(&in), &note);
			for (char *p = out; p && (p = strstr(p, "ops@")); p++)
				changed++;
			assert_int_equal(note.code != 0, n > REWRITE_ADDRESSES_MAX);
			assert_int_equal(changed, n <= REWRITE_ADDRESSES_MAX ? n
						  : fields                   ? REWRITE_ADDRESSES_MAX
									     : 0);
			free(out);
			buf_done(&in);
		}
}

/* Some megabytes of what costs most; a quadratic editor would not come back. */
static void test_big(void **state)
{
	static const char *const pieces[] = { "From: root@a\r\n", "From: a@b\r\n", "From: (\r\n",
		"From: \"\r\n", ",", "(", "\\\"", "<", " root@a,\r\n", "=?", "X: y\r\n ", "a@b," };
	const struct rewrite w = { .senders = &rules, .reply_to = true };

	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct buf in, out;
		struct err note;
		buf_init(&in, 4 << 20);
		buf_add_str(&in, "From:");
		while (in.len < 3 << 20)
			buf_add_str(&in, pieces[i]);
		buf_add_str(&in, "\r\n\r\nbody\r\n");
		assert_true(rewrite_content(&w, buf_span(&in), &out, &note) >= 0);
		assert_true(out.len <= in.len + 100 * 15 + 2 * in.len);
		buf_done(&out);
		buf_done(&in);
	}
}

/* Random headers: the body, and all fields but From and Sender, come out as they went in; a second
 * time nothing is found; and where no pattern matches nothing is touched. */
static void test_random(void **state)
{
	static const char *const words[] = { "From:", "Sender:", "X:", "\r\n", "\r\n", "\r\n ", " ",
		",", ";", ":", "<", ">", "(", ")", "\"", "\\", "@", "root@a", "root",
		"x@old.example", "=?u?q?", "?=", "[", "]", "\xe8", "a" };
	struct conf_pair other = { (char *)"nobody@*", (char *)"x@y" };
	const struct conf_list no_match = { &other, 1 };
	const struct rewrite w = { .senders = &rules }, none = { .senders = &no_match };
	uint32_t seed = 12345;
	unsigned changed = 0;

	for (unsigned i = 0; i < 10000; i++) {
		struct err note;
		char in[600] = "From: ";
		size_t n = 6;
		for (unsigned k = 0; k < 30; k++) {
			seed = seed * 1664525 + 1013904223;
			n += (size_t)snprintf(in + n, sizeof in - n, "%s",
				words[(seed >> 16) % (sizeof words / sizeof *words)]);
		}
		snprintf(in + n, sizeof in - n, "\r\n\r\nFrom: root@a\r\n");
		assert_null(rewritten(&none, in, &note));
		char *out = rewritten(&w, in, &note);
		if (!out)
			continue;
		changed++;
		const char *body = strstr(in, "\r\n\r\n"), *its = strstr(out, "\r\n\r\n");
		assert_non_null(its);
		assert_string_equal(body, its);
		char *again = rewritten(&w, out, &note);
		if (again)
			fail_msg("%s\nbecame\n%s\nand then\n%s", in, out, again);
		free(out);
	}
	assert_true(changed > 100);
}

static void test_sender(void **state)
{
	assert_string_equal(conf_sent_as(&rules, "root@host"), "ops@example.com");
	assert_string_equal(conf_sent_as(&rules, "a@OLD.example"), "new@example.com");
	assert_string_equal(conf_sent_as(&rules, "a@b"), "a@b");
	struct conf_pair all = { (char *)"*", (char *)"x@y" };
	struct conf_list star = { &all, 1 };
	assert_string_equal(conf_sent_as(&star, "a@b"), "x@y");
	assert_string_equal(conf_sent_as(&star, ""), "");
	check(&(struct rewrite) { .senders = &star }, "From: X <>, a\r\n\r\n",
		"From: X <>, x@y\r\n\r\n", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_reply_to),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_big),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
