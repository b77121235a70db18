/*
 * field: where fields begin and end, whatever stands between them.
 */
#include "base/field.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_fields(void **state)
{
	static const struct {
		const char *header;
		struct {
			const char *name, *value;
		} f[4];
	} t[] = {
		{ "", { { 0 } } },
		{ "From: a@b\r\n", { { "From", " a@b" } } },
		{ "From:a@b\r\nTo : c\r\n", { { "From", "a@b" }, { "To", " c" } } },
		{ "A: 1\r\n 2\r\n\t3\r\nB: 4\r\n", { { "A", " 1\r\n 2\r\n\t3" }, { "B", " 4" } } },
		{ "A:\r\n", { { "A", "" } } },
		{ "A: no end", { { "A", " no e" } } }, /* its last two octets should be CRLF */
		{ "A:", { { "A", "" } } },
		/* no fields */
		{ "no colon here\r\nA: 1\r\n", { { "", "" }, { "A", " 1" } } },
		{ " folded into nothing\r\nA: 1\r\n", { { "", "" }, { "A", " 1" } } },
		{ ": 1\r\n", { { "", "" } } },
		{ "A\x80: 1\r\n", { { "", "" } } },
		{ "A\tB: 1\r\n", { { "", "" } } },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct span rest = span_of(t[i].header);
		struct field f;
		size_t n = 0, octets = 0;
		while (field_next(&rest, &f)) {
			const char *name = t[i].f[n].name, *value = t[i].f[n].value;
			assert_non_null(name);
			if (!span_eq(f.name, span_of(name)) || !span_eq(f.value, span_of(value)))
				fail_msg("%s: %.*s is %.*s", t[i].header, (int)f.name.n, f.name.p,
					(int)f.value.n, f.value.p);
			assert_int_equal(field_begins(f.raw), f.name.n > 0);
			octets += f.raw.n;
			n++;
		}
		assert_true(n == 4 || !t[i].f[n].name);
		assert_int_equal(octets, strlen(t[i].header)); /* nothing is lost */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
