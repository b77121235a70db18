/*
 * A notice, field by field (RFC 3464, RFC 6522): what is quoted of peers and of senders stays where
 * it belongs, whatever it is. That mail programs read it so is tests/e2e/test_notices.py's.
 */
#include "flush/notice_case.h"
#include "flush/notice_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define T0     INT64_C(1800000000000) /* Fri, 15 Jan 2027 08:00:00 +0000 */
#define MINUTE INT64_C(60000)
#define DAY    (1440 * MINUTE)
#define TRIED  "Last-Attempt-Date: Fri, 15 Jan 2027 08:01:00 +0000\r\n"

static struct notice_report report_of(enum notice_kind kind, const struct untold *u, const bool *of)
{
	return (struct notice_report) { .kind = kind,
		.hostname = "host.example.com",
		.from = "bounces@example.com",
		.to = u->sender,
		.untold = u,
		.of = of,
		.now = T0 + 2 * MINUTE,
		.lifetime = 5 * DAY };
}

/* --- its form --- */

struct form {
	struct notice_made made;
	char boundary[80];
	unsigned parts;
	struct span header, part[3]; /* with their headers */
};

static unsigned times(struct span in, const char *what)
{
	unsigned n = 0;

	for (const char *p = in.p; (p = memmem(p, (size_t)(in.p + in.n - p), what, strlen(what)));
		p++)
		n++;
	return n;
}

/* Ends lines with CRLF and nothing else, none too long, and is ASCII. */
static void check_lines(struct span s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n') {
			assert_true(i > 0 && s.p[i - 1] == '\r');
			line = 0;
			continue;
		}
		assert_true(s.p[i] == '\r' ? i + 1 < s.n && s.p[i + 1] == '\n' : s.p[i] >= ' ');
		assert_true(s.p[i] <= '~');
		assert_true(++line <= 999);
	}
}

/* A field is a name and something; no line of a fold is empty, or it would end the header. */
static void check_fields(struct span s)
{
	for (struct span rest = s; rest.n > 0;) {
		const char *end = memmem(rest.p, rest.n, "\r\n", 2);
		assert_non_null(end);
		const struct span line = span_make(rest.p, (size_t)(end - rest.p));
		rest = span_from(rest, line.n + 2);
		if (line.n == 0)
			continue;
		if (line.p[0] == ' ')
			assert_true(span_trim(line).n > 0);
		else
			assert_true(span_find(line, ':') > 0);
	}
}

/* Its parts. The boundary stands before each and at the end, and nowhere else. */
static void compose(const struct notice_report *n, struct form *ret)
{
	static const char begins[] =
		"multipart/report; report-type=delivery-status;\r\n boundary=\"";
	struct err e = { 0 };
	char delimiter[90], last[90];

	*ret = (struct form) { 0 };
	assert_int_equal(notice_compose(n, &ret->made, &e), 0);
	const struct span all = buf_span(&ret->made.content);
	const char *at = memmem(all.p, all.n, begins, strlen(begins));
	assert_non_null(at);
	at += strlen(begins);
	const size_t long_is = (size_t)(strchr(at, '"') - at);
	assert_in_range(long_is, 24, 70);
	memcpy(ret->boundary, at, long_is);
	snprintf(delimiter, sizeof delimiter, "\r\n--%s\r\n", ret->boundary);
	snprintf(last, sizeof last, "\r\n--%s--\r\n", ret->boundary);
	ret->parts = times(all, delimiter);
	assert_in_range(ret->parts, 2, 3);
	assert_int_equal(times(all, ret->boundary), ret->parts + 2);
	assert_memory_equal(all.p + all.n - strlen(last), last, strlen(last));
	const char *p = memmem(all.p, all.n, delimiter, strlen(delimiter));
	ret->header = span_make(all.p, (size_t)(p - all.p));
	for (unsigned i = 0; i < ret->parts; i++) {
		p += strlen(delimiter);
		const char *mark = i + 1 < ret->parts ? delimiter : last;
		const char *next = memmem(p, (size_t)(all.p + all.n - p), mark, strlen(mark));
		ret->part[i] = span_make(p, (size_t)(next - p));
		p = next;
	}
	check_lines(ret->header);
	check_lines(ret->part[0]);
	check_lines(ret->part[1]);
	check_fields(ret->part[1]);
}

static void form_done(struct form *f)
{
	buf_done(&f->made.content);
}

static struct span body_of(struct span part)
{
	const char *p = memmem(part.p, part.n, "\r\n\r\n", 4);

	assert_non_null(p);
	return span_from(part, (size_t)(p - part.p) + 4);
}

/* --- the fields of a recipient --- */

#define FINAL "Final-Recipient: rfc822; b@x.example\r\n"

static const struct {
	enum notice_kind kind;
	const char *reply, *relay, *orcpt;
	int code;
	bool held, by_hand, never_tried;
	const char *fields;
} rcpts[] = {
	{ NOTICE_FAILED, "550 5.1.1 no such user", "lmtps://mx.example:3535", "", 550, false, false,
		false,
		FINAL "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example\r\n"
		      "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n" TRIED },
	/* Status: of the reply, if it has one of its own class; and what is none is not quoted. */
	{ NOTICE_FAILED, "550 no", "", "", 550, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 550 no\r\n" TRIED },
	{ NOTICE_FAILED, "550 4.2.2 full", "", "", 550, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 550 4.2.2 full\r\n" TRIED },
	{ NOTICE_FAILED, "554 5.999.999", "", "", 554, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.999.999\r\n"
		      "Diagnostic-Code: smtp; 554 5.999.999\r\n" TRIED },
	{ NOTICE_FAILED, "554 5.1.1.1 x", "", "", 554, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 554 5.1.1.1 x\r\n" TRIED },
	{ NOTICE_FAILED, "554 5...1 x", "", "", 554, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 554 5...1 x\r\n" TRIED },
	{ NOTICE_FAILED, "554 5.1234.1 x", "", "", 554, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 554 5.1234.1 x\r\n" TRIED },
	{ NOTICE_FAILED, "554 5.1.1x y", "", "", 554, false, false, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n"
		      "Diagnostic-Code: smtp; 554 5.1.1x y\r\n" TRIED },
	/* Its time is over: after an answer, and after none. */
	{ NOTICE_FAILED, "451 4.2.1 later", "smtp://10.0.0.1:25", "", 451, false, false, false,
		FINAL "Action: failed\r\nStatus: 4.4.7\r\nRemote-MTA: dns; [10.0.0.1]\r\n"
		      "Diagnostic-Code: smtp; 451 4.2.1 later\r\n" TRIED },
	{ NOTICE_FAILED, "content: connection lost", "smtp://10.0.0.1:25", "", 0, false, false,
		false,
		FINAL "Action: failed\r\nStatus: 4.4.7\r\nRemote-MTA: dns; [10.0.0.1]\r\n" TRIED },
	{ NOTICE_FAILED, "", "", "", 0, false, false, true,
		FINAL "Action: failed\r\nStatus: 4.4.7\r\n" },
	/* By hand: the answer before was not why. */
	{ NOTICE_FAILED, "451 4.2.1 later", "", "", 451, false, true, false,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n" TRIED },
	{ NOTICE_FAILED, "", "", "", 0, false, true, true,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n" },
	/* Delayed. */
	{ NOTICE_DELAYED, "451 4.2.1 later", "", "", 451, false, false, false,
		FINAL "Action: delayed\r\nStatus: 4.2.1\r\n"
		      "Diagnostic-Code: smtp; 451 4.2.1 later\r\n" TRIED
		      "Will-Retry-Until: Wed, 20 Jan 2027 08:00:00 +0000\r\n" },
	{ NOTICE_DELAYED, "connect: timed out", "", "", 0, false, false, false,
		FINAL "Action: delayed\r\nStatus: 4.0.0\r\n" TRIED
		      "Will-Retry-Until: Wed, 20 Jan 2027 08:00:00 +0000\r\n" },
	{ NOTICE_DELAYED, "554 5.7.1 not verified", "", "", 554, true, false, false,
		FINAL "Action: delayed\r\nStatus: 4.0.0\r\n"
		      "Diagnostic-Code: smtp; 554 5.7.1 not verified\r\n" TRIED },
	/* Relayed. */
	{ NOTICE_RELAYED, "250 2.0.0 Ok 01-02", "lmtps://[2001:db8::1]:3535", "", 250, false, false,
		false,
		FINAL "Action: relayed\r\nStatus: 2.0.0\r\nRemote-MTA: dns; [IPv6:2001:db8::1]\r\n"
		      "Diagnostic-Code: smtp; 250 2.0.0 Ok 01-02\r\n" TRIED },
	{ NOTICE_RELAYED, "250 ok", "", "", 250, false, false, false,
		FINAL "Action: relayed\r\nStatus: 2.0.0\r\n"
		      "Diagnostic-Code: smtp; 250 ok\r\n" TRIED },
	/* Original-Recipient: xtext is decoded (RFC 3461 section 4.2), into its line. */
	{ NOTICE_FAILED, "", "", "rfc822;old+2Bname+40x.example", 0, false, true, true,
		"Original-Recipient: rfc822; old+name@x.example\r\n" FINAL
		"Action: failed\r\nStatus: 5.0.0\r\n" },
	{ NOTICE_FAILED, "", "", "utf-8;+E4+BD+A0@x+0D+0AAction:+20relayed+00", 0, false, true,
		true,
		"Original-Recipient: utf-8; ???@x??Action: relayed?\r\n" FINAL
		"Action: failed\r\nStatus: 5.0.0\r\n" },
	{ NOTICE_FAILED, "", "", "rfc822;a+b+2", 0, false, true, true,
		"Original-Recipient: rfc822; a+b+2\r\n" FINAL
		"Action: failed\r\nStatus: 5.0.0\r\n" },
	{ NOTICE_FAILED, "", "", "no-type", 0, false, true, true,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n" },
	{ NOTICE_FAILED, "", "", ";no-type", 0, false, true, true,
		FINAL "Action: failed\r\nStatus: 5.0.0\r\n" },
};

static void the_fields_of_a_recipient(void **state)
{
	for (size_t i = 0; i < sizeof rcpts / sizeof *rcpts; i++) {
		const bool of = true;
		struct untold_rcpt r = { .address = "b@x.example",
			.reply = (char *)rcpts[i].reply,
			.code = rcpts[i].code,
			.held = rcpts[i].held,
			.by_hand = rcpts[i].by_hand,
			.since = T0,
			.tried = rcpts[i].never_tried ? 0 : T0 + MINUTE };
		struct untold u = {
			.submitted = T0, .sender = "a@example.com", .rcpt = &r, .rcpts = 1
		};
		struct form f;
		char want[1024];

		snprintf(r.relay, sizeof r.relay, "%s", rcpts[i].relay);
		snprintf(r.orcpt, sizeof r.orcpt, "%s", rcpts[i].orcpt);
		snprintf(want, sizeof want,
			"Reporting-MTA: dns; host.example.com\r\n"
			"Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\r\n%s",
			rcpts[i].fields);
		const struct notice_report n = report_of(rcpts[i].kind, &u, &of);
		compose(&n, &f);
		const struct span got = body_of(f.part[1]);
		if (!span_eq(got, span_of(want)))
			fail_msg("row %zu:\n%.*s\nnot\n%s", i, (int)got.n, got.p, want);
		form_done(&f);
	}
}

/* --- what a peer says --- */

static const char *const hostile[] = {
	"\r\n\r\nFinal-Recipient: rfc822; evil@x.example\r\nAction: relayed\r\n",
	"\n--x\nBcc: evil@x.example\n\n",
	"\x01\x1b[31m \x7f \xff\xfe \xe4\xbd\xa0\xe5\xa5\xbd\t",
	" \t  leading, and trailing   ",
	"a  b   c    d",
};

/* What would fold at each place, words without end, and blanks without end. */
static void make_reply(char *out, size_t size, unsigned shape)
{
	const size_t n = size - 1;

	snprintf(out, size, "550 5.1.1 ");
	size_t at = strlen(out);
	if (shape < sizeof hostile / sizeof *hostile) {
		snprintf(out + at, size - at, "%s", hostile[shape]);
		return;
	}
	shape -= sizeof hostile / sizeof *hostile;
	for (; at < n; at++)
		out[at] = shape == 0 ? ' ' : (at % (shape * 2) < shape ? 'w' : ' ');
	out[n] = '\0';
}

static void what_a_peer_says_stays_in_its_field(void **state)
{
	const unsigned shapes = sizeof hostile / sizeof *hostile + 700;

	for (unsigned shape = 0; shape < shapes; shape++) {
		const bool of[2] = { true, true };
		char reply[1056];
		struct untold_rcpt r[2] = {
			{ .address = "b@x.example",
				.reply = reply,
				.relay = "smtp://h:25",
				.code = 550 },
			{ .address = "c@x.example", .reply = reply, .code = 451, .held = true },
		};
		struct untold u = { .sender = "a@example.com", .rcpt = r, .rcpts = 2 };
		const struct notice_report n = report_of(NOTICE_FAILED, &u, of);
		struct form f;

		make_reply(reply, sizeof reply, shape);
		compose(&n, &f);
		const struct span status = body_of(f.part[1]);
		assert_int_equal(times(status, "\r\n\r\n"), 2);
		assert_int_equal(times(status, "\r\nFinal-Recipient: "), 2);
		assert_int_equal(times(status, "\r\nAction: failed\r\n"), 2);
		assert_int_equal(times(status, "\r\nDiagnostic-Code: smtp; 550 5.1.1"), 2);
		assert_int_equal(times(status, "evil"), shape < 2 ? 2 : 0);
		assert_int_equal(times(buf_span(&f.made.content), "\r\nBcc:"), 0);
		form_done(&f);
	}
}

/* --- the message's own fields, and the header --- */

static void envid_and_header(void **state)
{
	static const struct {
		const char *envid, *field;
	} envids[] = {
		{ "", "Reporting-MTA: " },
		{ "QQ314159", "Original-Envelope-Id: QQ314159\r\nReporting-MTA: " },
		{ "a+2Bb+3Dc", "Original-Envelope-Id: a+b=c\r\nReporting-MTA: " },
		{ "+0D+0AX:+20y", "Original-Envelope-Id: ??X: y\r\nReporting-MTA: " },
	};
	static const struct {
		const char *id;
		bool quoted;
	} ids[] = { { "<one@example.com>", true }, { "", false }, { "<>", false },
		{ "one@example.com", false }, { "<a@b> <c@d>", false }, { "<a b@c>", false },
		{ "<a\r\nBcc:x@y>", false }, { "<a\tb@c>", false }, { "<\xe4@b>", false },
		{ "<a<b>", false }, { "<a>b>", false } };
	const bool of = true;
	struct untold_rcpt r = { .address = "b@x.example", .reply = (char *)"", .by_hand = true };
	struct untold u = { .sender = "\"a b\"@example.com", .rcpt = &r, .rcpts = 1 };
	struct form f;

	for (size_t i = 0; i < sizeof envids / sizeof *envids; i++) {
		const struct notice_report n = report_of(NOTICE_FAILED, &u, &of);
		snprintf(u.envid, sizeof u.envid, "%s", envids[i].envid);
		compose(&n, &f);
		const struct span got = body_of(f.part[1]);
		assert_true(got.n > strlen(envids[i].field));
		assert_memory_equal(got.p, envids[i].field, strlen(envids[i].field));
		form_done(&f);
	}
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		const struct notice_report n = report_of(NOTICE_FAILED, &u, &of);
		snprintf(u.message_id, sizeof u.message_id, "%s", ids[i].id);
		compose(&n, &f);
		if (times(f.header, "\r\nIn-Reply-To: <one@example.com>\r\n") != ids[i].quoted ||
			times(f.header, "\r\nReferences: ") != ids[i].quoted)
			fail_msg("%s:\n%.*s", ids[i].id, (int)f.header.n, f.header.p);
		assert_int_equal(times(f.header, "\r\nTo: <\"a b\"@example.com>\r\n"), 1);
		assert_int_equal(times(f.header, "\r\nAuto-Submitted: auto-replied\r\n"), 1);
		assert_int_equal(times(f.header, "Bcc"), 0);
		form_done(&f);
	}
}

/* --- what comes back --- */

#define HEAD "Subject: s\r\nX: y\r\n z\r\n"

static const struct {
	const char *content;
	bool whole, headers_only;
	enum notice_kind kind;
	const char *type, *back; /* NULL: nothing comes back */
} returns[] = {
	{ HEAD "\r\nbody\r\n", true, false, NOTICE_FAILED, "message/rfc822", HEAD "\r\nbody\r\n" },
	{ HEAD "\r\nbody\r\n", true, true, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	{ HEAD "\r\nbody\r\n", true, false, NOTICE_DELAYED, "text/rfc822-headers", HEAD },
	{ HEAD "\r\nbody\r\n", true, false, NOTICE_RELAYED, "text/rfc822-headers", HEAD },
	{ HEAD "\r\nbo", false, false, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	{ HEAD "\r\nno end", true, false, NOTICE_FAILED, "message/rfc822", HEAD "\r\nno end" },
	{ HEAD, true, true, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	/* cut off within a field, its line end, its fold, and before its first line's end */
	{ HEAD "Y: cut", false, false, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	{ HEAD "Y: cut\r", false, false, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	{ HEAD "Y: a\r\n cut", false, false, NOTICE_FAILED, "text/rfc822-headers", HEAD },
	{ "Subject: cu", false, false, NOTICE_FAILED, NULL, NULL },
	{ "", true, false, NOTICE_FAILED, NULL, NULL },
	{ "", false, false, NOTICE_FAILED, NULL, NULL },
	{ "\r\nbody\r\n", true, true, NOTICE_FAILED, NULL, NULL },
	{ "\r\nbody\r\n", true, false, NOTICE_FAILED, "message/rfc822", "\r\nbody\r\n" },
	{ "Subject: \xe4\r\n\r\nbody\r\n", true, true, NOTICE_FAILED, "text/rfc822-headers",
		"Subject: \xe4\r\n" },
	{ "Subject: s\r\n\r\n\xe4\r\n", true, true, NOTICE_FAILED, "text/rfc822-headers",
		"Subject: s\r\n" },
};

static void what_comes_back(void **state)
{
	static const char eightbit[] = "\r\nContent-Transfer-Encoding: 8bit\r\n";
	const bool of = true;

	for (size_t i = 0; i < sizeof returns / sizeof *returns; i++) {
		struct untold_rcpt r = { .address = "b@x.example", .reply = (char *)"" };
		struct untold u = { .sender = "a@example.com",
			.headers_only = returns[i].headers_only,
			.whole = returns[i].whole,
			.rcpt = &r,
			.rcpts = 1 };
		const struct notice_report n = report_of(returns[i].kind, &u, &of);
		struct form f;
		char type[80];

		buf_init(&u.head, NOTICE_HEAD_MAX);
		buf_add_str(&u.head, returns[i].content);
		compose(&n, &f);
		if ((f.parts == 3) != (returns[i].back != NULL))
			fail_msg("row %zu: %u parts", i, f.parts);
		if (returns[i].back) {
			const struct span back = body_of(f.part[2]);
			const bool high = strchr(returns[i].back, '\xe4') != NULL;
			snprintf(type, sizeof type, "\r\nContent-Type: %s\r\n", returns[i].type);
			assert_int_equal(times(f.part[2], type), 1);
			if (!span_eq(back, span_of(returns[i].back)))
				fail_msg("row %zu: %.*s", i, (int)back.n, back.p);
			assert_int_equal(f.made.eightbit, high);
			assert_int_equal(times(f.header, eightbit), high);
			assert_int_equal(times(f.part[2], eightbit), high);
		}
		form_done(&f);
		buf_done(&u.head);
	}
}

/* A notice that comes back within a notice, and what looks like a boundary: compose() looks. */
static void a_notice_within_a_notice(void **state)
{
	const bool of = true;
	struct untold_rcpt r = { .address = "b@x.example", .reply = (char *)"" };
	struct untold u = { .sender = "a@example.com", .whole = true, .rcpt = &r, .rcpts = 1 };
	const struct notice_report n = report_of(NOTICE_FAILED, &u, &of);
	struct form f;

	buf_init(&u.head, NOTICE_HEAD_MAX);
	for (unsigned i = 0; i < 20; i++) {
		compose(&n, &f);
		buf_clear(&u.head);
		buf_add_span(&u.head, buf_span(&f.made.content));
		buf_printf(&u.head, "\r\n--%s--\r\n\r\n--\r\n----\r\n", f.boundary);
		form_done(&f);
	}
	assert_false(u.head.failed);
	buf_done(&u.head);
}

/* --- ceilings --- */

/* The most recipients, with the most of everything, where folds are as often as can be. */
static void the_largest_is_made(void **state)
{
	struct untold u = { .submitted = T0, .sender = "a@example.com", .rcpts = NOTICE_RCPTS_MAX };
	bool *of = malloc(NOTICE_RCPTS_MAX);
	char *reply = malloc(1057);
	struct form f;

	assert_non_null(of);
	assert_non_null(reply);
	memset(of, true, NOTICE_RCPTS_MAX);
	memset(reply, 'r', 1056);
	reply[1056] = '\0';
	memcpy(reply, "550 5.1.1 ", 10);
	for (size_t i = 47; i < 1056; i += 38)
		reply[i] = ' ';
	u.rcpt = calloc(NOTICE_RCPTS_MAX, sizeof *u.rcpt);
	assert_non_null(u.rcpt);
	for (unsigned i = 0; i < NOTICE_RCPTS_MAX; i++) {
		struct untold_rcpt *r = &u.rcpt[i];

		memset(r->address, 'a', sizeof r->address - 1);
		memset(r->orcpt, 'o', sizeof r->orcpt - 1);
		memcpy(r->orcpt, "rfc822;", 7);
		memset(r->relay, 'h', sizeof r->relay - 1);
		memcpy(r->relay, "lmtps://", 8);
		memcpy(r->relay + sizeof r->relay - 6, ":3535", 5);
		r->reply = reply;
		r->code = 550;
		r->tried = T0;
	}
	const struct notice_report n = report_of(NOTICE_FAILED, &u, of);
	compose(&n, &f);
	assert_int_equal(times(f.part[1], "\r\nStatus: 5.1.1\r\n"), NOTICE_RCPTS_MAX);
	assert_int_equal(times(f.part[0], "\r\nand 900 more, named in the report.\r\n"), 1);
	assert_true(f.made.content.len < NOTICE_MAX);
	form_done(&f);
	free(u.rcpt);
	free(reply);
	free(of);
}

/* --- who is told of what --- */

static const struct conf_mail conf = { .hostname = (char *)"host.example.com",
	.domain = (char *)"",
	.aliases = (char *)"/nonexistent/aliases",
	.postmaster = (char *)"",
	.bounce_sender = (char *)"bounces@example.com",
	.recipients_max = 100,
	.lifetime = 5 * DAY };

/* Of recipients with these wishes the k-th is told of where `of` has a '1'; "": nobody is told. */
static const struct {
	enum notice_kind kind;
	const char *sender, *notify[4], *of;
} whom[] = {
	{ NOTICE_FAILED, "a@example.com", { "", "NEVER", "FAILURE", "SUCCESS,DELAY" }, "1010" },
	{ NOTICE_DELAYED, "a@example.com", { "", "NEVER", "FAILURE", "SUCCESS,DELAY" }, "1001" },
	{ NOTICE_RELAYED, "a@example.com", { "", "NEVER", "FAILURE", "SUCCESS,DELAY" }, "0001" },
	{ NOTICE_RELAYED, "a@example.com", { "", "NEVER", "FAILURE", "DELAY" }, "" },
	{ NOTICE_FAILED, "", { "", "", "", "" }, "" },
	{ NOTICE_FAILED, "Bounces@Example.COM", { "", "", "", "" }, "" },
};

static void who_is_told_of_what(void **state)
{
	for (size_t i = 0; i < sizeof whom / sizeof *whom; i++) {
		struct untold u = { .rcpts = 4 };
		struct notice_case c;
		struct err e = { 0 };

		u.rcpt = calloc(4, sizeof *u.rcpt);
		assert_non_null(u.rcpt);
		buf_init(&u.head, NOTICE_HEAD_MAX);
		snprintf(u.sender, sizeof u.sender, "%s", whom[i].sender);
		for (unsigned k = 0; k < 4; k++) {
			snprintf(u.rcpt[k].address, sizeof u.rcpt[k].address, "to%u@x.example", k);
			snprintf(
				u.rcpt[k].notify, sizeof u.rcpt[k].notify, "%s", whom[i].notify[k]);
			u.rcpt[k].reply = strdup("");
		}
		assert_int_equal(notice_case_begin(&c, &conf, whom[i].kind, &u, &e), 0);
		assert_int_equal(notice_case_compose(&c, &conf, T0, &e), 0);
		assert_int_equal(notice_case_to(&c) != NULL, whom[i].of[0] != '\0');
		for (unsigned k = 0; notice_case_to(&c) && k < 4; k++) {
			char field[64];

			snprintf(field, sizeof field, "Final-Recipient: rfc822; to%u@x.example\r\n",
				k);
			assert_int_equal(times(buf_span(&c.made.content), field), c.of[k]);
			if (c.of[k] != (whom[i].of[k] == '1'))
				fail_msg("row %zu, recipient %u", i, k);
		}
		if (notice_case_to(&c)) {
			assert_string_equal(c.notice.sender, "bounces@example.com");
			assert_string_equal(c.notice.rcpt[0].notify, "NEVER");
			assert_true(c.notice.notice);
		}
		notice_case_done(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fields_of_a_recipient),
		cmocka_unit_test(what_a_peer_says_stays_in_its_field),
		cmocka_unit_test(envid_and_header),
		cmocka_unit_test(what_comes_back),
		cmocka_unit_test(a_notice_within_a_notice),
		cmocka_unit_test(the_largest_is_made),
		cmocka_unit_test(who_is_told_of_what),
	};

	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
