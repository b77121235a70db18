/*
 * One value of a configuration: from text into its field, back into text, and freed.
 */
#include "base/conf_table.h"
#include "base/number.h"

#include <assert.h>

static int no_memory(struct err *e)
{
	return err_set(e, EX_TEMPFAIL, "out of memory");
}

static char *dup_span(struct span s)
{
	char *p = malloc(s.n + 1);

	if (p) {
		memcpy(p, s.p, s.n);
		p[s.n] = '\0';
	}
	return p;
}

static int set_text(char **field, struct span value, struct err *e)
{
	char *p = dup_span(value);

	if (!p)
		return no_memory(e);
	free(*field);
	*field = p;
	return 0;
}

static int add_pair(const struct conf_key *k, struct conf_list *l, struct span value, struct err *e)
{
	if (l->n >= k->max)
		return err_set(e, EX_CONFIG, "more than %u of them", (unsigned)k->max);
	struct conf_pair *v = reallocarray(l->v, l->n + 1, sizeof *v);
	if (!v)
		return no_memory(e);
	l->v = v;
	struct span first = span_word(&value);
	v[l->n] = (struct conf_pair) { dup_span(first), dup_span(value) };
	l->n++; /* before the look, so that conf_table_done frees what there is */
	return v[l->n - 1].first && v[l->n - 1].rest ? 0 : no_memory(e);
}

static void print_number(enum conf_type type, uint64_t v, char *out, size_t size)
{
	static const struct {
		enum conf_type type;
		uint64_t factor;
		const char *unit;
	} units[] = {
		{ CONF_SIZE, (uint64_t)1 << 30, "G" },
		{ CONF_SIZE, (uint64_t)1 << 20, "M" },
		{ CONF_SIZE, (uint64_t)1 << 10, "K" },
		{ CONF_DURATION, 86400000, "d" },
		{ CONF_DURATION, 3600000, "h" },
		{ CONF_DURATION, 60000, "m" },
		{ CONF_DURATION, 1000, "s" },
		{ CONF_RATE, 1000, "/s" },
	};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (units[i].type == type && v != 0 && v % units[i].factor == 0) {
			snprintf(out, size, "%llu%s", (unsigned long long)(v / units[i].factor),
				units[i].unit);
			return;
		}
	if (type == CONF_RATE && v != 0)
		snprintf(out, size, "%llu.%03u/s", (unsigned long long)(v / 1000),
			(unsigned)(v % 1000));
	else
		snprintf(out, size, "%llu", (unsigned long long)v);
}

static int set_number(const struct conf_key *k, void *field, struct span value, struct err *e)
{
	static const char *const looks[] = {
		[CONF_NUMBER] = "a number in digits",
		[CONF_SIZE] = "a size like 512K, 40M or 1G",
		[CONF_DURATION] = "a duration like 30s, 5m, 4h or 5d",
		[CONF_RATE] = "a rate like 14/s, 0.5/s or 30/m, or 0 for no limit",
	};
	char low[32], high[32];
	uint64_t v = 0;
	int64_t ms = 0;
	int r;

	if (k->type == CONF_DURATION) {
		r = number_parse_duration(value, &ms);
		v = (uint64_t)ms;
	} else if (k->type == CONF_SIZE) {
		r = number_parse_size(value, &v);
	} else if (k->type == CONF_RATE) {
		r = number_parse_rate(value, &v);
	} else {
		r = number_parse(value, UINT64_MAX, &v);
	}
	if (r < 0)
		return err_set(e, EX_CONFIG, "\"%.*s\" is not %s", conf_shown(value), value.p,
			looks[k->type]);
	if (v < k->min || v > k->max) {
		print_number(k->type, k->min, low, sizeof low);
		print_number(k->type, k->max, high, sizeof high);
		return err_set(e, EX_CONFIG, "\"%.*s\" is out of range, %s to %s",
			conf_shown(value), value.p, low, high);
	}
	if (k->type == CONF_DURATION)
		*(int64_t *)field = ms;
	else
		*(uint64_t *)field = v;
	return 0;
}

static int set_word(const struct conf_key *k, void *field, struct span value, struct err *e)
{
	char all[100] = "";
	size_t n = 0;

	for (int i = 0; k->words[i]; i++) {
		if (span_eq(value, span_of(k->words[i]))) {
			memcpy(field, &i, sizeof i);
			return 0;
		}
		int w = snprintf(all + n, sizeof all - n, " %s", k->words[i]);
		assert(w > 0 && (size_t)w < sizeof all - n); /* the table's own words */
		n += (size_t)w;
	}
	return err_set(e, EX_CONFIG, "\"%.*s\" is none of:%s", conf_shown(value), value.p, all);
}

int conf_value_set(const struct conf_key *k, void *c, struct span value, struct err *e)
{
	void *field = (char *)c + k->offset;

	if (k->check && k->check(value, e) < 0)
		return -1;
	switch (k->type) {
	case CONF_TEXT:
		return set_text(field, value, e);
	case CONF_PAIRS:
		return add_pair(k, field, value, e);
	case CONF_WORD:
		return set_word(k, field, value, e);
	case CONF_NUMBER:
	case CONF_SIZE:
	case CONF_DURATION:
	case CONF_RATE:
		return set_number(k, field, value, e);
	}
	assert(!"a type");
	return -1;
}

/* Without a default: zeroes, which are the empty list and the number 0; a text becomes "". */
int conf_value_default(const struct conf_key *k, void *c, struct err *e)
{
	if (k->value)
		return conf_value_set(k, c, span_of(k->value), e);
	if (k->type == CONF_TEXT)
		return set_text((char **)(void *)((char *)c + k->offset), span_of(""), e);
	return 0;
}

void conf_value_done(const struct conf_key *k, void *c)
{
	void *field = (char *)c + k->offset;

	if (k->type == CONF_TEXT) {
		free(*(char **)field);
	} else if (k->type == CONF_PAIRS) {
		struct conf_list *l = field;
		for (unsigned i = 0; i < l->n; i++) {
			free(l->v[i].first);
			free(l->v[i].rest);
		}
		free(l->v);
	}
}

static void dump_pairs(const struct conf_key *k, const struct conf_list *l, FILE *to)
{
	for (unsigned i = 0; i < l->n; i++)
		fprintf(to, "%s %s%s%s\n", k->name, l->v[i].first, *l->v[i].rest ? " " : "",
			l->v[i].rest);
	if (l->n == 0)
		fprintf(to, "#%s\n", k->name);
}

void conf_value_dump(const struct conf_key *k, const void *c, FILE *to)
{
	const void *field = (const char *)c + k->offset;
	char text[32];
	int word;

	switch (k->type) {
	case CONF_TEXT:;
		const char *s = *(char *const *)field;
		fprintf(to, *s ? "%s %s\n" : "#%s%s\n", k->name, s);
		break;
	case CONF_PAIRS:
		dump_pairs(k, field, to);
		break;
	case CONF_WORD:
		memcpy(&word, field, sizeof word);
		fprintf(to, "%s %s\n", k->name, k->words[word]);
		break;
	case CONF_NUMBER:
	case CONF_SIZE:
	case CONF_DURATION: /* never negative: the parser takes no sign */
	case CONF_RATE:
		print_number(k->type, *(const uint64_t *)field, text, sizeof text);
		fprintf(to, "%s %s\n", k->name, text);
		break;
	}
}
