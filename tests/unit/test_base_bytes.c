/*
 * span, buf, err, number, reply: what carries bytes and words about them.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/number.h"
#include "base/reply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void span_compares_without_case(void **state)
{
	assert_true(span_eq_nocase(span_of("Bcc"), span_of("bCC")));
	assert_false(span_eq_nocase(span_of("Bcc"), span_of("Bc")));
	assert_false(span_eq_nocase(span_of("@"), span_of("`"))); /* 0x40, 0x60: not letters */
	assert_false(span_eq_nocase(span_of("\xC4"), span_of("\xE4")));
	assert_true(span_starts_nocase(span_of("Received: x"), "RECEIVED:"));
	assert_false(span_starts_nocase(span_of("Rec"), "received"));
	assert_true(span_eq(span_make(NULL, 5), span_of("")));
	assert_int_equal(span_from(span_of("abc"), 9).n, 0);
}

static void span_finds_and_trims(void **state)
{
	assert_true(span_eq(span_trim(span_of(" \t a b\t ")), span_of("a b")));
	assert_int_equal(span_trim(span_of(" \t ")).n, 0);
	assert_int_equal(span_find(span_of("a:b"), ':'), 1);
	assert_int_equal(span_find(span_of("abc"), '\0'), -1);
	assert_int_equal(span_find(span_make("a\0b", 3), '\0'), 1);
	assert_int_equal(span_find(span_of(""), 'a'), -1);
	assert_true(span_has_break(span_make("a\0b", 3)));
	assert_true(span_has_break(span_of("a\r")));
	assert_true(span_has_break(span_of("\na")));
	assert_false(span_has_break(span_of("a\tb")));
}

static void span_gives_words(void **state)
{
	struct span s = span_of("  ab\t c  d \t");

	assert_true(span_eq(span_word(&s), span_of("ab")));
	assert_true(span_eq(s, span_of("c  d")));
	assert_true(span_eq(span_word(&s), span_of("c")));
	assert_true(span_eq(span_word(&s), span_of("d")));
	assert_int_equal(s.n, 0);
	assert_int_equal(span_word(&s).n, 0);
}

static void buf_keeps_its_ceiling(void **state)
{
	struct buf b;

	buf_init(&b, 4);
	buf_add_str(&b, "abc");
	buf_add_char(&b, 'd');
	assert_false(b.failed);
	assert_string_equal(buf_str(&b), "abcd");
	buf_add(&b, "", 0);
	assert_false(b.failed);
	buf_add_char(&b, 'e');
	assert_true(b.failed);
	assert_int_equal(b.len, 4);
	buf_drop(&b, 2); /* room again, but the error stays */
	buf_add_char(&b, 'e');
	assert_int_equal(b.len, 2);
	assert_string_equal(buf_str(&b), "cd");
	assert_null(buf_take(&b));
	assert_int_equal(b.max, 4);
	buf_add_str(&b, "wxyz");
	char *taken = buf_take(&b);
	assert_string_equal(taken, "wxyz");
	assert_int_equal(b.len, 0);
	free(taken);
	buf_done(&b);
	buf_done(NULL);

	buf_init(&b, 0);
	assert_string_equal(buf_str(&b), "");
	assert_null(buf_take(&b));
	buf_add_char(&b, 'x');
	assert_true(b.failed);
	buf_clear(&b);
	assert_false(b.failed);
	buf_done(&b);
}

/* Thousands of processes may hold one that is full: it must not take twice its ceiling. */
static void buf_takes_no_more_memory_than_its_ceiling(void **state)
{
	struct buf b;

	for (size_t max = 1; max < 1000; max += 37) {
		buf_init(&b, max);
		for (size_t i = 0; i < max; i++) {
			buf_add_char(&b, 'x');
			assert_true(b.cap <= max + 1);
		}
		assert_false(b.failed);
		assert_int_equal(b.len, max);
		buf_done(&b);
	}
}

static void buf_refuses_sizes_that_overflow(void **state)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_add_char(&b, 'a');
	assert_null(buf_room(&b, SIZE_MAX));
	assert_true(b.failed);
	buf_clear(&b);
	buf_add_char(&b, 'a');
	assert_null(buf_room(&b, SIZE_MAX - 1));
	assert_true(b.failed);
	buf_done(&b);
}

static void buf_prints_and_grows(void **state)
{
	struct buf b;

	buf_init_secret(&b, 100000);
	for (int i = 0; i < 5000; i++)
		buf_printf(&b, "%04d", i);
	assert_false(b.failed);
	assert_int_equal(b.len, 20000);
	assert_memory_equal(b.data + 4 * 4321, "4321", 4);
	buf_drop(&b, 4 * 4999);
	assert_string_equal(buf_str(&b), "4999");
	buf_drop(&b, 99);
	assert_int_equal(b.len, 0);
	buf_done(&b);

	buf_init(&b, 3);
	buf_printf(&b, "%s", "abcd");
	assert_true(b.failed);
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

static void buf_holds_nul_and_takes_direct_writes(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	buf_add(&b, "a\0b", 3);
	char *to = buf_room(&b, 10);
	memcpy(to, "cde", 3);
	buf_added(&b, 3);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "a\0bcde", 7);
	buf_done(&b);
}

/* A secret's bytes must be gone from the memory that it lets go when it grows. */
static void secret_buf_is_wiped_when_emptied(void **state)
{
	struct buf b;

	buf_init_secret(&b, 100);
	buf_add_str(&b, "password");
	const char *at = b.data;
	buf_drop(&b, 3);
	assert_memory_equal(at, "sword\0\0\0", 8);
	buf_clear(&b);
	assert_memory_equal(at, "\0\0\0\0\0\0\0\0", 8);
	buf_done(&b);
}

static void err_takes_words_and_keeps_errno(void **state)
{
	struct err e = { 0 };

	errno = ENOENT;
	assert_int_equal(err_sys(&e, EX_NOINPUT, "can't open %s", "/x"), -1);
	assert_string_equal(e.text, "can't open /x: No such file or directory");
	assert_int_equal(e.code, EX_NOINPUT);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(err_prefix(&e, "%s:%d: ", "file", 7), -1);
	assert_string_equal(e.text, "file:7: can't open /x: No such file or directory");
	assert_int_equal(e.code, EX_NOINPUT);
	err_set(&e, EX_USAGE, "again: %s", e.text);
	assert_string_equal(e.text, "again: file:7: can't open /x: No such file or directory");
	assert_int_equal(err_set(NULL, EX_USAGE, "x"), -1);
	assert_int_equal(err_sys(NULL, EX_USAGE, "x"), -1);
	assert_int_equal(err_prefix(NULL, "x"), -1);
}

static void err_is_cut_between_characters(void **state)
{
	struct err e = { 0 };
	char text[600];

	memset(text, 'a', sizeof text);
	memcpy(text + 509, "\xE6\x97\xA5zz", 6); /* three octets, of which two would fit */
	err_set(&e, EX_USAGE, "%s", text);
	assert_int_equal(strlen(e.text), 509);
	memset(text, 'a', sizeof text);
	text[599] = '\0';
	err_set(&e, EX_USAGE, "%s", text);
	assert_int_equal(strlen(e.text), 511);
	err_prefix(&e, "bbb");
	assert_int_equal(strlen(e.text), 511);
	assert_memory_equal(e.text, "bbba", 4);
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool good;
		uint64_t value;
	} t[] = {
		{ "0", 9, true, 0 },
		{ "007", 9, true, 7 },
		{ "9", 9, true, 9 },
		{ "10", 9, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999999", UINT64_MAX, false, 0 },
		{ "5", 3, false, 0 },
		{ "", 9, false, 0 },
		{ "+1", 9, false, 0 },
		{ "-1", 9, false, 0 },
		{ " 1", 9, false, 0 },
		{ "1 ", 9, false, 0 },
		{ "0x1", 99, false, 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		uint64_t v = 77;
		assert_int_equal(
			number_parse(span_of(t[i].text), t[i].max, &v), t[i].good ? 0 : -1);
		assert_int_equal(v, t[i].good ? t[i].value : 77);
	}
}

static void durations_and_sizes(void **state)
{
	int64_t ms = -7;
	uint64_t n = 7;

	assert_int_equal(number_parse_duration(span_of("30s"), &ms), 0);
	assert_int_equal(ms, 30000);
	assert_int_equal(number_parse_duration(span_of("5d"), &ms), 0);
	assert_int_equal(ms, 432000000);
	assert_int_equal(number_parse_duration(span_of("0"), &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(number_parse_duration(span_of("106751991167d"), &ms), 0);
	static const char *const bad[] = { "", "5", "s", "5 s", "-5s", "5S", "5ms", "1w", "00",
		"106751991168d", "99999999999999999999d" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(number_parse_duration(span_of(bad[i]), &ms), -1);

	assert_int_equal(number_parse_size(span_of("40M"), &n), 0);
	assert_int_equal(n, 41943040);
	assert_int_equal(number_parse_size(span_of("512"), &n), 0);
	assert_int_equal(n, 512);
	assert_int_equal(number_parse_size(span_of("17179869183G"), &n), 0);
	assert_int_equal(number_parse_size(span_of("17179869184G"), &n), -1);
	assert_int_equal(number_parse_size(span_of("M"), &n), -1);
	assert_int_equal(number_parse_size(span_of("1MB"), &n), -1);
	assert_int_equal(number_parse_size(span_of("1m"), &n), -1);
}

static void hex_both_ways(void **state)
{
	unsigned char raw[3] = { 9, 9, 9 };
	char text[7];

	assert_int_equal(hex_decode(span_of("00fFA5"), raw, 3), 0);
	hex_encode(raw, 3, text);
	assert_string_equal(text, "00ffa5");
	assert_int_equal(hex_decode(span_of("00ffa"), raw, 3), -1);
	assert_int_equal(hex_decode(span_of("00ffa51"), raw, 3), -1);
	assert_int_equal(hex_decode(span_of("00fga5"), raw, 3), -1);
	assert_int_equal(raw[1], 0xff);
}

static void replies_on_one_line(void **state)
{
	struct reply r = { .code = 250, .enhanced = "2.0.0", .text = "Ok 0106-000000" };
	char out[64], small[8];

	assert_string_equal(reply_format(&r, out, sizeof out), "250 2.0.0 Ok 0106-000000");
	assert_string_equal(reply_format(&r, small, sizeof small), "250 2.0");
	r.enhanced[0] = '\0';
	assert_string_equal(reply_format(&r, out, sizeof out), "250 Ok 0106-000000");
	r.text[0] = '\0';
	assert_string_equal(reply_format(&r, out, sizeof out), "250");
	struct reply none = { .text = "connection refused" };
	assert_string_equal(reply_format(&none, out, sizeof out), "connection refused");
	assert_string_equal(step_name(STEP_CONTENT), "content");
	assert_string_equal(step_name(STEP_QUIT), "QUIT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(span_compares_without_case),
		cmocka_unit_test(span_finds_and_trims),
		cmocka_unit_test(span_gives_words),
		cmocka_unit_test(buf_keeps_its_ceiling),
		cmocka_unit_test(buf_takes_no_more_memory_than_its_ceiling),
		cmocka_unit_test(buf_refuses_sizes_that_overflow),
		cmocka_unit_test(buf_prints_and_grows),
		cmocka_unit_test(buf_holds_nul_and_takes_direct_writes),
		cmocka_unit_test(secret_buf_is_wiped_when_emptied),
		cmocka_unit_test(err_takes_words_and_keeps_errno),
		cmocka_unit_test(err_is_cut_between_characters),
		cmocka_unit_test(numbers),
		cmocka_unit_test(durations_and_sizes),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(replies_on_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
