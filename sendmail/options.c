/*
 * The reader of the command line, and the writer of --help.
 */
#include "sendmail/options.h"

#include "base/span.h"
#include "sendmail/option_table.h"

static int apply(const struct option *row, struct options *o, const char *value, struct err *e)
{
	if (value && strlen(value) > OPTIONS_VALUE_MAX)
		return err_set(e, EX_USAGE, "-%c: the value is over %d octets", row->letter,
			OPTIONS_VALUE_MAX);
	switch (row->effect) {
	case OPTION_HONOURED:
		return row->apply(o, value, e);
	case OPTION_ACCEPTED:
		return 0;
	case OPTION_REFUSED:
		return err_set(e, EX_USAGE, "-%c: %s", row->letter, row->help);
	}
	return 0;
}

/* One word of options, "-ti" or "-fX"; *i moves on when the value is the next argument. */
static int parse_word(int argc, char **argv, int *i, struct options *o, struct err *e)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct option *row = option_find(*p);
		if (!row && *p > ' ' && *p < 127)
			return err_set(e, EX_USAGE, "-%c: unknown option (see --help)", *p);
		if (!row)
			return err_set(e, EX_USAGE, "an option that is no letter (see --help)");
		if (row->arg == OPTION_NONE) {
			if (apply(row, o, NULL, e) != 0)
				return -1;
			continue;
		}
		if (row->arg == OPTION_ATTACHED || p[1] != '\0')
			return apply(row, o, p + 1, e);
		if (*i + 1 >= argc)
			return err_set(e, EX_USAGE, "-%c: a value is missing (%s)", *p, row->value);
		return apply(row, o, argv[++*i], e);
	}
	return 0;
}

static int parse_long(const char *word, struct options *o, struct err *e)
{
	if (strcmp(word, "--help") == 0)
		o->mode = OPTIONS_HELP;
	else if (strcmp(word, "--version") == 0)
		o->mode = OPTIONS_VERSION;
	else
		return err_set(e, EX_USAGE, "unknown option that begins with -- (see --help)");
	return 0;
}

/* `mailq` and `newaliases` are this program under other names. */
static int mode_of_name(const char *argv0, enum options_mode *ret, struct err *e)
{
	size_t n = strlen(argv0);
	const char *slash = strrchr(argv0, '/');
	const char *name = slash ? slash + 1 : argv0;

	if (n == 0 || n > OPTIONS_VALUE_MAX)
		return err_set(e, EX_USAGE, "started without a name, or with one over %d octets",
			OPTIONS_VALUE_MAX);
	*ret = strcmp(name, "mailq") == 0        ? OPTIONS_LIST
	       : strcmp(name, "newaliases") == 0 ? OPTIONS_ALIASES
						 : OPTIONS_SUBMIT;
	return 0;
}

/* What does not fit together. An operand like "-t" comes from options after recipients. */
static int check(const struct options *o, bool marked, struct err *e)
{
	const bool takes_recipients = o->mode == OPTIONS_SUBMIT || o->mode == OPTIONS_VERIFY;

	if (o->mode ==
		OPTIONS_SESSION) /* they come with RCPT; here sendmail has always overlooked them */
		return 0;
	for (unsigned i = 0; !marked && i < o->rcpts; i++)
		if (o->rcpt[i][0] == '-' && !strchr(o->rcpt[i], '@'))
			return err_set(e, EX_USAGE,
				"options go before recipients (or put -- before a name that begins "
				"with -)");
	if (takes_recipients && o->rcpts == 0 && !o->from_header)
		return err_set(e, EX_USAGE,
			"no recipient: name them as arguments, or use -t to take them from the "
			"header");
	if (o->mode == OPTIONS_HELP || o->mode == OPTIONS_VERSION || takes_recipients)
		return 0;
	if (o->rcpts > 0)
		return err_set(e, EX_USAGE, "no recipients are taken here");
	if (o->from_header && o->mode == OPTIONS_FLUSH)
		return err_set(e, EX_USAGE, "-q takes no message: not together with -t");
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
	struct options o = { .mode = OPTIONS_SUBMIT };
	bool marked = false;
	int i = 1;

	if (argc < 1)
		return err_set(e, EX_USAGE, "started without a name");
	if (argc > OPTIONS_ARGS_MAX)
		return err_set(e, EX_USAGE, "over %d arguments", OPTIONS_ARGS_MAX);
	if (mode_of_name(argv[0], &o.mode, e) != 0)
		return -1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0' && !marked; i++) {
		if (strcmp(argv[i], "--") == 0)
			marked = true;
		else if ((argv[i][1] == '-' ? parse_long(argv[i], &o, e)
					    : parse_word(argc, argv, &i, &o, e)) != 0)
			return -1;
	}
	o.rcpt = argv + i;
	o.rcpts = (unsigned)(argc - i);
	if (check(&o, marked, e) != 0)
		return -1;
	*ret = o;
	return 0;
}

static const char *column(
	char *out, size_t size, const struct option *o, const struct option_form *f)
{
	snprintf(out, size, "-%c%s%s%s", o->letter, f ? f->name : "",
		!f && o->value && o->arg == OPTION_VALUE ? " " : "",
		f && f->value    ? f->value
		: !f && o->value ? o->value
				 : "");
	return out;
}

static void help_of(FILE *to, const struct option *o, enum option_effect effect)
{
	char left[32];

	if (o->effect == effect)
		fprintf(to, "  %-16s %s\n", column(left, sizeof(left), o, NULL), o->help);
	for (unsigned i = 0; i < o->n_forms; i++)
		if (o->forms[i].effect == effect)
			fprintf(to, "%s%-*s %s\n", effect == OPTION_HONOURED ? "    " : "  ",
				effect == OPTION_HONOURED ? 14 : 16,
				column(left, sizeof(left), o, &o->forms[i]), o->forms[i].help);
}

void options_help(FILE *to)
{
	static const char *const title[] = { [OPTION_HONOURED] = "",
		[OPTION_ACCEPTED] = "\nAccepted, without effect:\n",
		[OPTION_REFUSED] = "\nRefused:\n" };

	fputs("usage: sendmail [options] [--] [recipient ...] <message\n"
	      "       sendmail -bv [-t] [recipient ...]\n"
	      "       sendmail -bs\n"
	      "       sendmail -q[choice]\n"
	      "       mailq            lists the queue\n"
	      "       newaliases       checks the aliases file\n\n",
		to);
	for (int effect = OPTION_HONOURED; effect <= OPTION_REFUSED; effect++) {
		fputs(title[effect], to);
		for (unsigned i = 0; i < option_table_n; i++)
			help_of(to, &option_table[i], (enum option_effect)effect);
	}
}

/* Whether the letters stand in s, whatever their case. */
static bool holds(struct span s, struct span part)
{
	for (; s.n >= part.n; s = span_from(s, 1)) {
		if (span_eq_nocase(span_make(s.p, part.n), part))
			return true;
		if (s.n == 0)
			break;
	}
	return false;
}

static bool matches(
	const struct options_choice *c, int64_t message, const char *sender, const char *recipient)
{
	const bool found = c->what == 'I' ? (uint64_t)message == c->number
					  : holds(span_of(c->what == 'S' ? sender : recipient),
						    span_of(c->text));
	return found != c->otherwise;
}

bool options_chosen(
	const struct options *o, int64_t message, const char *sender, const char *recipient)
{
	for (const char *kind = "ISR"; *kind; kind++) {
		bool given = false, found = false;
		for (unsigned i = 0; i < o->choices; i++) {
			if (o->choice[i].what != *kind)
				continue;
			given = true;
			found = found || matches(&o->choice[i], message, sender, recipient);
		}
		if (given && !found)
			return false;
	}
	return true;
}
