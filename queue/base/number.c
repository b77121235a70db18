/*
 * Numbers from text that others wrote. No strtol: it takes signs, blanks and the locale.
 */
#include "base/number.h"

int number_parse(struct span s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		unsigned d = (unsigned)(s.p[i] - '0');
		if (d > max || v > (max - d) / 10)
			return -1;
		v = v * 10 + d;
	}
	*ret = v;
	return 0;
}

struct unit {
	char letter;
	uint64_t factor;
};

/* Digits and one of the letters of `units` (ended by letter 0). -1 when the last is not one. */
static int parse_with_unit(struct span s, const struct unit *units, uint64_t max, uint64_t *ret)
{
	uint64_t v;

	if (s.n == 0)
		return -1;
	for (; units->letter; units++)
		if (s.p[s.n - 1] == units->letter)
			break;
	if (!units->letter || number_parse(span_make(s.p, s.n - 1), max / units->factor, &v) < 0)
		return -1;
	*ret = v * units->factor;
	return 0;
}

int number_parse_duration(struct span s, int64_t *ret_ms)
{
	static const struct unit units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 },
		{ 'd', 86400000 }, { 0, 0 } };
	uint64_t v;

	if (s.n == 1 && s.p[0] == '0')
		v = 0;
	else if (parse_with_unit(s, units, INT64_MAX, &v) < 0)
		return -1;
	*ret_ms = (int64_t)v;
	return 0;
}

int number_parse_size(struct span s, uint64_t *ret)
{
	static const struct unit units[] = { { 'K', 1024 }, { 'M', 1048576 }, { 'G', 1073741824 },
		{ 0, 0 } };

	if (number_parse(s, UINT64_MAX, ret) == 0)
		return 0;
	return parse_with_unit(s, units, UINT64_MAX, ret);
}

int number_parse_rate(struct span s, uint64_t *ret)
{
	uint64_t whole, part = 0;
	unsigned per;

	if (span_eq(s, span_of("0"))) {
		*ret = 0;
		return 0;
	}
	if (s.n < 3 || s.p[s.n - 2] != '/' || (s.p[s.n - 1] != 's' && s.p[s.n - 1] != 'm'))
		return -1;
	per = s.p[s.n - 1] == 's' ? 1 : 60;
	s.n -= 2;
	long dot = span_find(s, '.');
	if (number_parse(dot < 0 ? s : span_make(s.p, (size_t)dot), UINT32_MAX, &whole) < 0)
		return -1;
	if (dot >= 0) {
		struct span decimals = span_from(s, (size_t)dot + 1);
		if (decimals.n > 3 || number_parse(decimals, 999, &part) < 0)
			return -1;
		for (size_t i = decimals.n; i < 3; i++)
			part *= 10;
	}
	whole = whole * 1000 + part;
	*ret = whole > 0 && whole < per ? 1 : whole / per;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(struct span s, unsigned char *out, size_t n)
{
	if (s.n / 2 != n || s.n % 2 != 0)
		return -1;
	for (size_t i = 0; i < s.n; i++)
		if (hex_digit(s.p[i]) < 0)
			return -1;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)(hex_digit(s.p[2 * i]) << 4 | hex_digit(s.p[2 * i + 1]));
	return 0;
}

void hex_encode(const unsigned char *in, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digit[in[i] >> 4];
		out[2 * i + 1] = digit[in[i] & 15];
	}
	out[2 * n] = '\0';
}
