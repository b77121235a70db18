/*
 * The values of options: checked, and put where they belong. Nothing here may lead to a file of the
 * caller's choice: what named one in sendmail (-C -X -O -oQ -oA -d -D) does nothing.
 */
#include "sendmail/option_value.h"

#include "base/dsn.h"
#include "base/number.h"
#include "base/span.h"
#include "sendmail/option_table.h"

int option_from_header(struct options *o, const char *value, struct err *e)
{
	o->from_header = true;
	return 0;
}

int option_ignore_dots(struct options *o, const char *value, struct err *e)
{
	o->ignore_dots = true;
	return 0;
}

int option_no_aliases(struct options *o, const char *value, struct err *e)
{
	o->no_aliases = true;
	return 0;
}

int option_verbose(struct options *o, const char *value, struct err *e)
{
	o->verbose = true;
	return 0;
}

int option_aliases(struct options *o, const char *value, struct err *e)
{
	o->mode = OPTIONS_ALIASES;
	return 0;
}

int option_sender(struct options *o, const char *value, struct err *e)
{
	o->sender = value;
	return 0;
}

int option_full_name(struct options *o, const char *value, struct err *e)
{
	if (strlen(value) > OPTIONS_NAME_MAX)
		return err_set(e, EX_USAGE, "-F: the name is over %d octets", OPTIONS_NAME_MAX);
	o->full_name = value;
	return 0;
}

static bool is_word(struct span s, const char *word)
{
	return span_eq_nocase(s, span_of(word));
}

int option_body(struct options *o, const char *value, struct err *e)
{
	if (!is_word(span_of(value), "8BITMIME") && !is_word(span_of(value), "7BIT"))
		return err_set(e, EX_USAGE, "-B: 8BITMIME or 7BIT is meant");
	o->eightbit = is_word(span_of(value), "8BITMIME");
	return 0;
}

/* -N never, or -N success,failure,delay in any order (RFC 3461). */
int option_notify(struct options *o, const char *value, struct err *e)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };
	struct span rest = span_of(value);
	unsigned seen = 0;

	if (is_word(rest, "NEVER")) {
		snprintf(o->notify, sizeof(o->notify), "NEVER");
		return 0;
	}
	for (bool more = true; more;) {
		long comma = span_find(rest, ',');
		struct span one = span_trim(span_make(rest.p, comma < 0 ? rest.n : (size_t)comma));
		unsigned known = 0;
		for (unsigned i = 0; i < 3; i++)
			if (is_word(one, words[i]))
				known = 1U << i;
		if (!known)
			return err_set(e, EX_USAGE,
				"-N: never, or a list of success, failure and delay is meant");
		seen |= known;
		more = comma >= 0;
		rest = span_from(rest, (size_t)(comma + 1));
	}
	o->notify[0] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		size_t n = strlen(o->notify);
		if (seen & 1U << i)
			snprintf(o->notify + n, sizeof(o->notify) - n, "%s%s", n ? "," : "",
				words[i]);
	}
	return 0;
}

int option_return(struct options *o, const char *value, struct err *e)
{
	if (!dsn_is_ret(span_of(value)))
		return err_set(e, EX_USAGE, "-R: full or hdrs is meant");
	o->ret = is_word(span_of(value), "FULL") ? "FULL" : "HDRS";
	return 0;
}

int option_envid(struct options *o, const char *value, struct err *e)
{
	if (!dsn_is_envid(span_of(value)))
		return err_set(e, EX_USAGE, "-V: 1 to %d octets of xtext (RFC 3461) are meant",
			DSN_ENVID_MAX);
	o->envid = value;
	return 0;
}

/* What sendmail takes for true: nothing, or a word that begins so. */
static bool is_true(const char *value)
{
	return value[0] == '\0' || strchr("tTyY", value[0]);
}

/* -o: sendmail's one-letter options. Only -oi has a meaning here. */
int option_short(struct options *o, const char *value, struct err *e)
{
	if (value[0] == 'i')
		o->ignore_dots = is_true(value + 1);
	return 0;
}

int option_long(struct options *o, const char *value, struct err *e)
{
	const size_t n = strcspn(value, "=");

	if (is_word(span_make(value, n), "IgnoreDots"))
		o->ignore_dots = is_true(value + n + (value[n] == '='));
	return 0;
}

static int bad_form(const struct option *row, struct err *e)
{
	char known[128] = "";

	for (unsigned i = 0; i < row->n_forms; i++) {
		size_t n = strlen(known);
		if (row->forms[i].effect != OPTION_REFUSED)
			snprintf(known + n, sizeof(known) - n, " -%c%s", row->letter,
				row->forms[i].name);
	}
	return err_set(
		e, EX_USAGE, "-%c: unknown letter; known:%s (see --help)", row->letter, known);
}

/* The form of -b or -q that a value names; NULL with e: refused, or none. */
static const struct option_form *take_form(char letter, const char *value, struct err *e)
{
	const struct option *row = option_find(letter);
	const struct option_form *f = option_form_find(row, value);

	if (!f || (!f->value && value[1] != '\0' && f->effect != OPTION_REFUSED)) {
		bad_form(row, e);
		return NULL;
	}
	if (f->effect == OPTION_REFUSED) {
		err_set(e, EX_USAGE, "-%c%s: %s", letter, f->name, f->help);
		return NULL;
	}
	return f;
}

int option_mode(struct options *o, const char *value, struct err *e)
{
	const struct option_form *f = take_form('b', value, e);

	if (!f)
		return -1;
	o->mode = f->mode;
	return 0;
}

static int add_choice(
	struct options *o, const struct option_form *f, struct options_choice c, struct err *e)
{
	if (!f->value)
		return c.otherwise ? err_set(e, EX_USAGE, "-q!%s: not that with !", f->name) : 0;
	if (c.text[0] == '\0')
		return err_set(e, EX_USAGE, "-q%c: the %s is missing", c.what, f->value);
	if (c.what == 'I' && number_parse(span_of(c.text), INT64_MAX, &c.number) != 0)
		return err_set(e, EX_USAGE, "-qI: the number of a message is meant (see mailq)");
	if (o->choices == OPTIONS_CHOICES_MAX)
		return err_set(e, EX_USAGE, "-q: over %d choices", OPTIONS_CHOICES_MAX);
	o->choice[o->choices++] = c;
	return 0;
}

/* `mailq -qRexample.com` lists what is chosen, as in sendmail. */
int option_queue(struct options *o, const char *value, struct err *e)
{
	const bool otherwise = value[0] == '!';
	const struct option_form *f;

	value += otherwise;
	if (o->mode != OPTIONS_LIST)
		o->mode = OPTIONS_FLUSH;
	if (value[0] == '\0' && !otherwise)
		return 0;
	f = take_form('q', value, e);
	if (!f)
		return -1;
	return add_choice(o, f, (struct options_choice) { value[0], otherwise, value + 1, 0 }, e);
}
