/*
 * What goes before a message and what is left out of it: the Received field, X-SES- fields, loops.
 * Each header is given whole, octet by octet, and cut at random points.
 */
#include "base/clock.h"
#include "listen/received.h"
#include "listen/strip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char none[] = "", tags[] = "X-SES-MESSAGE-*", set[] = "X-SES-OURS", relay[] = "X-Relay",
	    v[] = "v";
static struct conf_pair allowed_pairs[] = { { tags, none }, { set, none } },
			our_pairs[] = { { set, v }, { relay, v } };
static const struct conf_list allowed = { allowed_pairs, 2 }, ours = { our_pairs, 2 };

#define LONG                                                                                       \
	"X-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"  \
	"56789: v\r\n"

static const struct {
	const char *in, *out;
} headers[] = {
	{ "", "" },
	{ "\r\n", "\r\n" },
	{ "\r\nX-SES-A: body\r\n", "\r\nX-SES-A: body\r\n" },
	{ "Subject: s\r\n\r\nbody", "Subject: s\r\n\r\nbody" },
	{ "X-SES-A: 1\r\nSubject: s\r\n\r\nb\r\n", "Subject: s\r\n\r\nb\r\n" },
	{ "x-ses-a: 1\r\n 2\r\n\t3\r\nSubject: s\r\n x\r\n\r\n", "Subject: s\r\n x\r\n\r\n" },
	{ "A: 1\r\nX-SES-A : 1\r\nX-SES-B\t: 1\r\nB: 2\r\n\r\n", "A: 1\r\nB: 2\r\n\r\n" },
	{ "A: 1\r\nX-SES-A\r\n : 1\r\nB: 2\r\n\r\n", "A: 1\r\nB: 2\r\n\r\n" },
	{ "X-SES-MESSAGE-TAGS: a=b\r\nX-SES-OURS: v\r\nX-Relay: v\r\n\r\n",
		"X-SES-MESSAGE-TAGS: a=b\r\nX-Relay: v\r\n\r\n" },
	{ "X-SES-A: 1", "" },
	{ "X-SES", "X-SES" },
	{ "X-SE", "X-SE" },
	{ "no field\r\nX-SES-A: 1\r\n\r\n", "no field\r\n\r\n" },
	{ LONG " folded\r\nX-SES-A: 1\r\n\r\n", LONG " folded\r\n\r\n" },
	{ " first\r\nX-SES-A: 1\r\n\r\n", " first\r\n\r\n" },
	{ "A: 1\r\n\r\n\r\nX-SES-A: 1\r\n", "A: 1\r\n\r\n\r\nX-SES-A: 1\r\n" },
};

static void strip_whole(
	struct strip *s, struct span in, size_t piece, unsigned *seed, struct spool *out)
{
	strip_init(s, &allowed, &ours);
	spool_init(out, "/tmp");
	while (in.n > 0) {
		size_t n = piece ? piece : 1 + (size_t)rand_r(seed) % 9;
		n = n < in.n ? n : in.n;
		assert_int_equal(strip_add(s, span_make(in.p, n), out, NULL), 0);
		in = span_from(in, n);
	}
	assert_int_equal(strip_end(s, out, NULL), 0);
}

static void test_strip(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
		for (size_t round = 0; round < 20; round++) {
			struct strip s;
			struct spool out;
			struct span got;
			strip_whole(&s, span_of(headers[i].in), round == 0 ? 1000 : round == 1,
				&seed, &out);
			assert_int_equal(spool_span(&out, &got, NULL), 0);
			assert_int_equal(got.n, strlen(headers[i].out));
			assert_memory_equal(got.p, headers[i].out, got.n);
			assert_int_equal(s.begins_folded,
				strchr(" \t", headers[i].in[0]) && headers[i].in[0]);
			spool_done(&out);
		}
}

static void test_loops(void **state)
{
	struct buf in;
	unsigned seed = 1;

	(void)state;
	buf_init(&in, 1 << 20);
	for (unsigned n = 0; n <= STRIP_RECEIVED_MAX; n++) {
		struct strip s;
		struct spool out;
		buf_clear(&in);
		for (unsigned i = 0; i < n; i++)
			buf_add_str(&in, i % 2 ? "received: x\r\n y\r\n" : "Received : x\r\n");
		buf_add_str(&in, "X-Received: x\r\n\r\nReceived: of the body\r\n");
		strip_whole(&s, buf_span(&in), n % 7, &seed, &out);
		assert_int_equal(s.received, n);
		assert_int_equal(strip_loops(&s), n == STRIP_RECEIVED_MAX);
		spool_done(&out);
	}
	buf_done(&in);
}

static void test_received(void **state)
{
	static const struct {
		bool lmtp, extended, authenticated;
		const char *tls, *with;
	} rows[] = { { false, false, false, "", " with SMTP id " },
		{ false, true, false, "", " with ESMTP id " },
		{ false, true, true, "TLSv1.3 X", " with ESMTPSA id " },
		{ true, true, false, "TLSv1.3 X", " with LMTPS id " },
		{ true, true, true, "", " with LMTPA id " } };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b;
		char date[CLOCK_DATE_SIZE];
		struct received r = { .helo = "h.example",
			.address = i % 2 ? "2001:db8::1" : "192.0.2.1",
			.hostname = "tokyo.example",
			.id = "0123ABC",
			.tls = rows[i].tls,
			.lmtp = rows[i].lmtp,
			.extended = rows[i].extended,
			.authenticated = rows[i].authenticated,
			.recipient = i == 0 ? "b@example.org" : NULL,
			.now = 1795503562543 };
		buf_init(&b, 4096);
		received_write(&r, &ours, &b);
		const char *text = buf_str(&b);
		assert_memory_equal(text, "Received: from h.example ([", 27);
		assert_non_null(strstr(text, i % 2 ? "([IPv6:2001:db8::1])" : "([192.0.2.1])"));
		assert_non_null(strstr(text, rows[i].with));
		assert_int_equal(strstr(text, "\tfor <b@example.org>;") != NULL, i == 0);
		clock_rfc5322(r.now, date);
		assert_non_null(strstr(text, date));
		assert_non_null(strstr(text, "\r\nX-SES-OURS: v\r\nX-Relay: v\r\n"));
		/* every line but a folded one is a field */
		for (const char *p = text; (p = strstr(p, "\r\n")) && p[2]; p++)
			assert_true(p[2] == '\t' || p[2] == 'X');
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
