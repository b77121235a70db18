/*
 * The lines of an EHLO reply: one table of keywords. What is malformed counts as not offered.
 */
#include "wire/ehlo.h"

#include "base/number.h"

#define SECONDS_MAX (10u * 365 * 86400)
#define LIMIT_MAX   999999 /* RFC 9422: six digits */

static void on_pipelining(struct ehlo *e, struct span args)
{
	e->pipelining = true;
}

static void on_chunking(struct ehlo *e, struct span args)
{
	e->chunking = true;
}

static void on_8bitmime(struct ehlo *e, struct span args)
{
	e->eightbit = true;
}

static void on_starttls(struct ehlo *e, struct span args)
{
	e->starttls = true;
}

static void on_enhanced(struct ehlo *e, struct span args)
{
	e->enhanced = true;
}

static void on_dsn(struct ehlo *e, struct span args)
{
	e->dsn = true;
}

static void on_size(struct ehlo *e, struct span args)
{
	struct span w = span_word(&args);
	uint64_t max = 0;

	if (w.n > 0 && number_parse(w, UINT64_MAX, &max) < 0)
		return;
	e->size = true;
	e->size_max = max;
}

static void on_auth(struct ehlo *e, struct span args)
{
	for (struct span w = span_word(&args); w.n > 0; w = span_word(&args)) {
		if (span_eq_nocase(w, span_of("PLAIN")))
			e->auth_plain = true;
		else if (span_eq_nocase(w, span_of("LOGIN")))
			e->auth_login = true;
	}
}

static void on_limits(struct ehlo *e, struct span args)
{
	for (struct span w = span_word(&args); w.n > 0; w = span_word(&args)) {
		long equals = span_find(w, '=');
		uint64_t n;
		if (equals < 0)
			continue;
		struct span name = span_make(w.p, (size_t)equals);
		if (number_parse(span_from(w, (size_t)equals + 1), LIMIT_MAX, &n) < 0 || n == 0)
			continue;
		if (span_eq_nocase(name, span_of("RCPTMAX")))
			e->rcptmax = (unsigned)n;
		else if (span_eq_nocase(name, span_of("MAILMAX")))
			e->mailmax = (unsigned)n;
	}
}

/* XONCE <journal-id> <seconds it keeps> */
static void on_xonce(struct ehlo *e, struct span args)
{
	struct span id = span_word(&args);
	uint64_t seconds;

	if (id.n == 0 || id.n >= sizeof e->xonce_journal ||
		number_parse(span_word(&args), SECONDS_MAX, &seconds) < 0)
		return;
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] < 0x21 || id.p[i] > 0x7e)
			return;
	memcpy(e->xonce_journal, id.p, id.n);
	e->xonce_journal[id.n] = '\0';
	e->xonce_keep_ms = (int64_t)seconds * 1000;
	e->xonce = true;
}

static const struct keyword {
	const char *name;
	void (*take)(struct ehlo *e, struct span args);
} keywords[] = {
	{ "PIPELINING", on_pipelining },
	{ "CHUNKING", on_chunking },
	{ "8BITMIME", on_8bitmime },
	{ "STARTTLS", on_starttls },
	{ "ENHANCEDSTATUSCODES", on_enhanced },
	{ "DSN", on_dsn },
	{ "SIZE", on_size },
	{ "AUTH", on_auth },
	{ "LIMITS", on_limits },
	{ "XONCE", on_xonce },
};

void ehlo_line(struct ehlo *e, struct span line, bool first)
{
	if (first)
		return;
	struct span name = span_word(&line);
	for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
		if (span_eq_nocase(name, span_of(keywords[i].name))) {
			keywords[i].take(e, line);
			return;
		}
}
