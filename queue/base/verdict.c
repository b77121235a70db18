/*
 * The table "What an answer means". `meanings` below is that table, read from the top, first match
 * wins; what stands around it are the cases without an answer and the class that our own listener
 * says. No policy: what a verdict does to a recipient is the flusher's.
 */
#include "base/verdict.h"

#include "base/conf.h"
#include "base/number.h"

#include <assert.h>

#define BIT(step) (1u << (step))
/* The final dot, and the command that leads to it: servers with a policy refuse content there. */
#define AT_CONTENT (BIT(STEP_DATA) | BIT(STEP_CONTENT))
#define AT_MESSAGE (BIT(STEP_MAIL) | BIT(STEP_RCPT) | AT_CONTENT)
#define AT_ANY     (AT_MESSAGE | BIT(STEP_RSET) | BIT(STEP_QUIT))

#define OPERATOR_FAULT .class = VERDICT_ROAD, .operator_fault = true

/* Whom the text has to name. */
enum named { ANYBODY, SENDER, RECIPIENT };

static const struct meaning {
	unsigned steps;
	int first, last; /* codes */
	enum verdict_class class;
	const char *starts; /* how the text begins, or NULL; no case */
	const char *has;    /* what it holds, or NULL; no case */
	enum named names;
	bool operator_fault, throttled, crowded;
	int64_t retry_ms;
} meanings[] = {
	/* clang-format off */
	{ BIT(STEP_CONTENT), 200, 299, .class = VERDICT_SENT },

	/* SES is asked for too much. Its other 454s are about its own health. */
	{ AT_ANY, 454, 454, .class = VERDICT_PACE, .starts = "Throttling", .has = "quota",
		.retry_ms = VERDICT_QUOTA_MS },
	{ AT_ANY, 454, 454, .class = VERDICT_PACE, .starts = "Throttling", .throttled = true,
		.retry_ms = VERDICT_RATE_MS },

	/* SES has something against us, and not against this message; operator_reply adds to these.
	 * "Access denied" has to begin the text: other servers end with it what they say of one
	 * recipient. The others have blanks, so that no address that a reply repeats can stop the
	 * road. */
	{ AT_ANY, 554, 554, OPERATOR_FAULT, .starts = "Access denied" },
	{ AT_ANY, 554, 554, OPERATOR_FAULT, .has = "paused for this account" },
	{ AT_ANY, 554, 554, OPERATOR_FAULT, .has = "account is paused" },
	{ AT_ANY, 554, 554, OPERATOR_FAULT, .has = "suspended for this account" },
	{ AT_ANY, 535, 554, OPERATOR_FAULT, .has = "not subscribed to SES" },

	/* SES does not know an address. Where none of ours is named it is the From of the header. */
	{ AT_MESSAGE, 554, 554, .class = VERDICT_HELD, .has = "not verified", .names = SENDER },
	{ AT_MESSAGE, 554, 554, .class = VERDICT_NEVER, .has = "not verified", .names = RECIPIENT },
	{ AT_MESSAGE, 554, 554, .class = VERDICT_HELD, .has = "not verified" },

	/* The two ends do not understand each other, or do not trust each other. */
	{ AT_ANY, 421, 421, .class = VERDICT_ROAD, .has = "too many concurrent", .crowded = true },
	{ AT_ANY, 421, 421, .class = VERDICT_ROAD, .has = "too many connections", .crowded = true },
	{ AT_ANY, 421, 421, .class = VERDICT_ROAD },
	{ AT_ANY, 454, 454, .class = VERDICT_ROAD },
	{ AT_ANY, 500, 500, .class = VERDICT_ROAD },
	{ AT_ANY, 502, 503, .class = VERDICT_ROAD },
	{ AT_ANY, 530, 530, .class = VERDICT_ROAD },
	{ AT_ANY, 535, 535, .class = VERDICT_ROAD },
	{ AT_ANY, 538, 538, .class = VERDICT_ROAD },

	/* RFC 5321 section 4.5.3.1.10: an old way to say 452. */
	{ BIT(STEP_RCPT), 552, 552, .class = VERDICT_LATER, .has = "too many recipients" },

	{ AT_MESSAGE, 400, 499, .class = VERDICT_LATER },
	{ AT_MESSAGE, 500, 599, .class = VERDICT_NEVER },
	{ AT_ANY, 400, 599, .class = VERDICT_ROAD }, /* to RSET, QUIT */
	/* All else can't be: a 250 that ends no content, a 354 that belongs to no DATA. */
	/* clang-format on */
};

static const char *const names[] = {
	[VERDICT_SENT] = "sent",
	[VERDICT_NEVER] = "never",
	[VERDICT_LATER] = "later",
	[VERDICT_ROAD] = "road",
	[VERDICT_PACE] = "pace",
	[VERDICT_HELD] = "held",
	[VERDICT_UNKNOWN] = "unknown",
};
#define NAMES (sizeof names / sizeof *names)

const char *verdict_name(enum verdict_class c)
{
	assert((size_t)c < NAMES);
	return names[c];
}

/* Where `what` begins in `text` from `from` on, no case; -1: nowhere. */
static long find_nocase(struct span text, size_t from, const char *what)
{
	for (; from < text.n; from++)
		if (span_starts_nocase(span_from(text, from), what))
			return (long)from;
	return -1;
}

/* Octets beside which an address stands alone; a@b must not be found in aa@b.c. */
static bool parts_addresses(struct span text, size_t at)
{
	return at >= text.n || (text.p[at] != '\0' && strchr(" ,;:<>()\"'", text.p[at]));
}

static bool names_address(struct span text, const char *address)
{
	size_t n = address ? strlen(address) : 0;
	long at = -1;

	if (n == 0)
		return false;
	while ((at = find_nocase(text, (size_t)(at + 1), address)) >= 0) {
		size_t end = (size_t)at + n;
		if (end < text.n && text.p[end] == '.' && parts_addresses(text, end + 1))
			end++; /* of a sentence */
		if ((at == 0 || parts_addresses(text, (size_t)at - 1)) &&
			parts_addresses(text, end))
			return true;
	}
	return false;
}

static bool fits(
	const struct meaning *m, const struct outcome *o, const struct verdict_rules *rules)
{
	struct span text = span_of(o->reply.text);

	if (!(m->steps & BIT(o->step)) || o->reply.code < m->first || o->reply.code > m->last)
		return false;
	if (m->starts && !span_starts_nocase(text, m->starts))
		return false;
	if (m->has && find_nocase(text, 0, m->has) < 0)
		return false;
	switch (m->names) {
	case SENDER:
		return names_address(text, rules->sender);
	case RECIPIENT:
		return names_address(text, rules->recipient);
	case ANYBODY:
		break;
	}
	return true;
}

/* The operator's own patterns: CODE, and words that the text holds. No code but 4yz and 5yz gets by
 * the configuration. */
static bool fits_operators(const struct outcome *o, const struct verdict_rules *rules)
{
	const struct conf_list *l = rules->operator_reply;
	uint64_t code;

	for (unsigned i = 0; l && i < l->n; i++)
		if (number_parse(span_of(l->v[i].first), 599, &code) == 0 &&
			o->reply.code == (int)code &&
			find_nocase(span_of(o->reply.text), 0, l->v[i].rest) >= 0)
			return true;
	return false;
}

/* What our own listener adds at the end of an answer: `class=road retry=30 wait=0.002`. */
struct said {
	bool has_class;
	enum verdict_class class;
	int64_t retry_ms; /* 0: not said */
};

/* One word of it. False for a word that is not NAME=VALUE: there the sentence before it ends. */
static bool take_word(struct span word, struct said *s)
{
	long equals = span_find(word, '=');
	uint64_t seconds;

	if (equals <= 0)
		return false;
	for (long i = 0; i < equals; i++)
		if (word.p[i] < 'a' || word.p[i] > 'z')
			return false;
	struct span value = span_from(word, (size_t)equals + 1);
	if (span_eq(span_make(word.p, (size_t)equals), span_of("class"))) {
		for (size_t c = 0; c < NAMES && !s->has_class; c++)
			if (span_eq(value, span_of(names[c]))) {
				s->has_class = true;
				s->class = (enum verdict_class)c;
			}
	} else if (span_eq(span_make(word.p, (size_t)equals), span_of("retry")) &&
		   s->retry_ms == 0 &&
		   number_parse(value, VERDICT_RETRY_MAX_MS / 1000, &seconds) == 0) {
		s->retry_ms = (int64_t)seconds * 1000;
	}
	return true;
}

/* Only an answer of the listener's own, which begins with its name, has them: it also passes on
 * what SES said, in which a sender may have a part. They are read from the end backwards, so that
 * nothing that is quoted before them can pass for one. */
static struct said read_words(const char *text)
{
	struct said s = { 0 };
	struct span rest = span_trim(span_of(text));

	if (!span_starts_nocase(rest, "cenmail: "))
		return s;

	while (rest.n > 0) {
		size_t begin = rest.n;
		while (begin > 0 && rest.p[begin - 1] != ' ')
			begin--;
		if (!take_word(span_from(rest, begin), &s))
			break;
		rest = span_trim(span_make(rest.p, begin));
	}
	return s;
}

/* A class does not overrule what settles mail: only 2yz has sent, only 5yz to the message ends. */
static bool believable(const struct said *s, const struct outcome *o)
{
	bool refused = o->reply.code >= 400 && o->reply.code <= 599;

	if (!s->has_class || s->class == VERDICT_SENT)
		return false;
	if (s->class == VERDICT_NEVER)
		return refused && o->reply.code >= 500 && (AT_MESSAGE & BIT(o->step));
	return refused;
}

static void judge(const struct outcome *o, const struct verdict_rules *rules, struct verdict *v)
{
	struct said said = { 0 };

	if (rules->peer_says_class)
		said = read_words(o->reply.text);
	v->class = VERDICT_UNKNOWN;
	v->own_mail = true;
	if (believable(&said, o)) {
		v->class = said.class;
		v->own_mail = false; /* it would say class=later */
	} else if (fits_operators(o, rules)) {
		v->class = VERDICT_ROAD;
		v->operator_fault = true;
	} else {
		for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
			if (fits(&meanings[i], o, rules)) {
				v->class = meanings[i].class;
				v->operator_fault = meanings[i].operator_fault;
				v->throttled = meanings[i].throttled;
				v->crowded = meanings[i].crowded;
				v->retry_ms = meanings[i].retry_ms;
				break;
			}
	}
	if ((v->class == VERDICT_PACE || v->class == VERDICT_ROAD) && said.retry_ms > 0)
		v->retry_ms = said.retry_ms;
	if (v->class == VERDICT_PACE && v->retry_ms == 0)
		v->retry_ms = VERDICT_RATE_MS;
	v->own_mail &= !v->operator_fault && !v->crowded;
}

void verdict_pass(const struct outcome *o, const struct verdict_rules *rules, struct verdict *ret)
{
	struct verdict v = {
		.class = VERDICT_ROAD, .maybe_sent = o->maybe_sent, .reply = o->reply
	};

	if (o->step < STEP_MAIL) {
		if (rules->peer_says_class && !o->lost && !o->unexpected)
			v.retry_ms = read_words(o->reply.text).retry_ms;
	} else if (o->unexpected || (o->lost && o->maybe_sent)) {
		v.class = VERDICT_UNKNOWN;
		v.own_mail = true;
	} else if (o->lost || o->reply.code == 0) {
		v.own_mail = true;
	} else {
		judge(o, rules, &v);
	}
	if (o->lost) { /* what lies in the reply answered nothing */
		v.reply.code = 0;
		v.reply.enhanced[0] = '\0';
	}
	v.own_mail &= v.class == VERDICT_ROAD || v.class == VERDICT_UNKNOWN;
	*ret = v;
}
