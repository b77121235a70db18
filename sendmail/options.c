/*
 * The table of options and its one reader. An option that named a file in sendmail (-C -X -O -oQ
 * -oA -d -D) is accepted and does nothing: nothing here may lead to a file of the caller's choice.
 */
#include "sendmail/options.h"

#include "base/span.h"

enum arg {
	NONE,     /* a letter that may stand in a bundle (-ti) */
	ATTACHED, /* the rest of the word, if there is one (-q, -q15m) */
	VALUE     /* the rest of the word, else the next argument (-fX, -f X) */
};
enum effect { HONOURED, ACCEPTED, REFUSED };

struct option {
	char letter;
	enum arg arg;
	enum effect effect;
	int (*apply)(struct options *o, const char *value, struct err *e);
	const char *value, *help;
};

static int set_from_header(struct options *o, const char *value, struct err *e)
{
	o->from_header = true;
	return 0;
}

static int set_ignore_dots(struct options *o, const char *value, struct err *e)
{
	o->ignore_dots = true;
	return 0;
}

static int set_no_aliases(struct options *o, const char *value, struct err *e)
{
	o->no_aliases = true;
	return 0;
}

static int set_verbose(struct options *o, const char *value, struct err *e)
{
	o->verbose = true;
	return 0;
}

static int set_aliases(struct options *o, const char *value, struct err *e)
{
	o->mode = OPTIONS_ALIASES;
	return 0;
}

static int set_sender(struct options *o, const char *value, struct err *e)
{
	o->sender = value;
	return 0;
}

static int set_full_name(struct options *o, const char *value, struct err *e)
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

static int set_body(struct options *o, const char *value, struct err *e)
{
	if (!is_word(span_of(value), "8BITMIME") && !is_word(span_of(value), "7BIT"))
		return err_set(e, EX_USAGE, "-B: 8BITMIME or 7BIT is meant");
	o->eightbit = is_word(span_of(value), "8BITMIME");
	return 0;
}

/* -N never, or -N success,failure,delay in any order (RFC 3461). */
static int set_notify(struct options *o, const char *value, struct err *e)
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

static int set_ret(struct options *o, const char *value, struct err *e)
{
	if (!is_word(span_of(value), "FULL") && !is_word(span_of(value), "HDRS"))
		return err_set(e, EX_USAGE, "-R: full or hdrs is meant");
	o->ret = is_word(span_of(value), "FULL") ? "FULL" : "HDRS";
	return 0;
}

static bool is_hex_upper(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* xtext (RFC 3461 section 4), at most 100 octets. */
static int set_envid(struct options *o, const char *value, struct err *e)
{
	size_t n = strlen(value);
	bool good = n > 0 && n <= 100;

	for (size_t i = 0; good && i < n; i++) {
		if (value[i] == '+')
			good = is_hex_upper(value[i + 1]) && is_hex_upper(value[i + 2]);
		else
			good = value[i] > ' ' && value[i] < 127 && value[i] != '=';
	}
	if (!good)
		return err_set(e, EX_USAGE, "-V: 1 to 100 octets of xtext (RFC 3461) are meant");
	o->envid = value;
	return 0;
}

/* -o: sendmail's one-letter options. Only -oi has a meaning here. */
static int set_short(struct options *o, const char *value, struct err *e)
{
	if (strcmp(value, "i") == 0)
		o->ignore_dots = true;
	return 0;
}

static int set_long(struct options *o, const char *value, struct err *e)
{
	struct span v = span_of(value);
	if (is_word(v, "IgnoreDots") || is_word(v, "IgnoreDots=True"))
		o->ignore_dots = true;
	return 0;
}

static const struct mode {
	char letter;
	int mode; /* -1: refused, with the words */
	const char *help;
} modes[] = {
	{ 'm', OPTIONS_SUBMIT, "take a message from standard input (the default)" },
	{ 'p', OPTIONS_LIST, "list the queue, as mailq" },
	{ 'i', OPTIONS_ALIASES, "check the aliases file, as newaliases" },
	{ 's', -1, "SMTP on standard input is not there yet: use -t, or name the recipients" },
	{ 'v', -1, "verifying recipients is not there yet" },
	{ 'd', -1, "there is no daemon: cenmail-flush is started by cron" },
	{ 'D', -1, "there is no daemon: cenmail-flush is started by cron" },
	{ 'l', -1, "there is no daemon: cenmail-flush is started by cron" },
	{ 'h', -1, "there is no host status database: see the view mailq by cenmail-sql" },
	{ 'H', -1, "there is no host status database: see the view mailq by cenmail-sql" },
	{ 't', -1, "there are no rewriting rules to test" },
	{ 'a', -1, "ARPANET mode is not supported" },
	{ 'C', -1, "there is no configuration to freeze" },
	{ 'P', -1, "the number of queued messages is in the view mailq: use cenmail-sql" },
	{ 'r', -1, "remote mode is not supported" },
	{ 'z', -1, "there is no configuration to freeze" },
};

static int set_mode(struct options *o, const char *value, struct err *e)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (value[0] != modes[i].letter || value[1] != '\0')
			continue;
		if (modes[i].mode < 0)
			return err_set(e, EX_USAGE, "-b%c: %s", value[0], modes[i].help);
		o->mode = (enum options_mode)modes[i].mode;
		return 0;
	}
	return err_set(e, EX_USAGE, "-b: unknown mode; -bm, -bp and -bi are known (see --help)");
}

/* In the order of --help. */
static const struct option table[] = {
	{ 't', NONE, HONOURED, set_from_header, NULL,
		"recipients from To, Cc, Bcc (of a resent message: their Resent- forms), beside "
		"those "
		"in arguments" },
	{ 'i', NONE, HONOURED, set_ignore_dots, NULL,
		"a line of one dot does not end the message" },
	{ 'f', VALUE, HONOURED, set_sender, "ADDRESS", "the envelope sender; <> for none" },
	{ 'r', VALUE, HONOURED, set_sender, "ADDRESS", "the same as -f" },
	{ 'F', VALUE, HONOURED, set_full_name, "NAME", "the full name for a From that is missing" },
	{ 'b', VALUE, HONOURED, set_mode, "MODE", "what to do:" },
	{ 'I', NONE, HONOURED, set_aliases, NULL, "the same as -bi" },
	{ 'n', NONE, HONOURED, set_no_aliases, NULL,
		"bare names are not looked up in the aliases" },
	{ 'N', VALUE, HONOURED, set_notify, "WHEN", "DSN: never, or success,failure,delay" },
	{ 'R', VALUE, HONOURED, set_ret, "WHAT", "DSN: return full or hdrs" },
	{ 'V', VALUE, HONOURED, set_envid, "ID", "DSN: the envelope's id, in xtext" },
	{ 'B', VALUE, HONOURED, set_body, "TYPE", "the body is 8BITMIME or 7BIT" },
	{ 'v', NONE, HONOURED, set_verbose, NULL, "say the number the message got" },
	{ 'o', VALUE, HONOURED, set_short, "X[VALUE]", "-oi is -i; all others have no effect" },
	{ 'O', VALUE, HONOURED, set_long, "NAME=VALUE", "IgnoreDots is -i; others have no effect" },
	{ 'A', VALUE, ACCEPTED, NULL, "X", "which sendmail.cf" },
	{ 'C', VALUE, ACCEPTED, NULL, "FILE", "configuration file" },
	{ 'D', VALUE, ACCEPTED, NULL, "FILE", "debug output" },
	{ 'd', ATTACHED, ACCEPTED, NULL, "X", "debug level" },
	{ 'e', VALUE, ACCEPTED, NULL, "X", "how errors are told; here: always on standard error" },
	{ 'G', NONE, ACCEPTED, NULL, NULL, "gateway submission" },
	{ 'h', VALUE, ACCEPTED, NULL, "N", "hop count" },
	{ 'L', VALUE, ACCEPTED, NULL, "TAG", "syslog tag" },
	{ 'M', VALUE, ACCEPTED, NULL, "XVALUE", "macro" },
	{ 'm', NONE, ACCEPTED, NULL, NULL, "the sender too, where an alias holds him" },
	{ 'p', VALUE, ACCEPTED, NULL, "PROTOCOL", "protocol of the submission" },
	{ 'U', NONE, ACCEPTED, NULL, NULL, "first submission" },
	{ 'X', VALUE, ACCEPTED, NULL, "FILE", "traffic log" },
	{ 'c', NONE, ACCEPTED, NULL, NULL, "expensive mailers" },
	{ 's', NONE, ACCEPTED, NULL, NULL, "keep \"From \" lines" },
	{ 'T', ATTACHED, ACCEPTED, NULL, "TIME", "timeout" },
	{ 'x', NONE, ACCEPTED, NULL, NULL, "from AIX's mailx" },
	{ 'q', ATTACHED, REFUSED, NULL, "X",
		"running the queue from here is not there yet: cenmail-flush is started by cron "
		"every "
		"minute, or run it by hand" },
	{ 'Q', ATTACHED, REFUSED, NULL, "REASON",
		"no quarantine: set state='held' in the table recipient by cenmail-sql" },
};

static const struct option *find(char letter)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].letter == letter)
			return &table[i];
	return NULL;
}

static int apply(const struct option *row, struct options *o, const char *value, struct err *e)
{
	if (value && strlen(value) > OPTIONS_VALUE_MAX)
		return err_set(e, EX_USAGE, "-%c: the value is over %d octets", row->letter,
			OPTIONS_VALUE_MAX);
	switch (row->effect) {
	case HONOURED:
		return row->apply(o, value, e);
	case ACCEPTED:
		return 0;
	case REFUSED:
		return err_set(e, EX_USAGE, "-%c: %s", row->letter, row->help);
	}
	return 0;
}

/* One word of options, "-ti" or "-fX"; *i moves on when the value is the next argument. */
static int parse_word(int argc, char **argv, int *i, struct options *o, struct err *e)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct option *row = find(*p);
		if (!row && *p > ' ' && *p < 127)
			return err_set(e, EX_USAGE, "-%c: unknown option (see --help)", *p);
		if (!row)
			return err_set(e, EX_USAGE, "an option that is no letter (see --help)");
		if (row->arg == NONE) {
			if (apply(row, o, NULL, e) != 0)
				return -1;
			continue;
		}
		if (row->arg == ATTACHED || p[1] != '\0')
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
	for (unsigned i = 0; !marked && i < o->rcpts; i++)
		if (o->rcpt[i][0] == '-' && !strchr(o->rcpt[i], '@'))
			return err_set(e, EX_USAGE,
				"options go before recipients (or put -- before a name that begins "
				"with -)");
	if (o->mode == OPTIONS_SUBMIT && o->rcpts == 0 && !o->from_header)
		return err_set(e, EX_USAGE,
			"no recipient: name them as arguments, or use -t to take them from the "
			"header");
	if ((o->mode == OPTIONS_LIST || o->mode == OPTIONS_ALIASES) && o->rcpts > 0)
		return err_set(e, EX_USAGE, "no recipients are taken here");
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

static void help_line(FILE *to, const struct option *o)
{
	char left[32];
	snprintf(left, sizeof(left), "-%c%s%s", o->letter,
		!o->value            ? ""
		: o->arg == ATTACHED ? ""
				     : " ",
		o->value ? o->value : "");
	fprintf(to, "  %-16s %s\n", left, o->help);
	for (size_t i = 0; o->apply == set_mode && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].mode >= 0)
			fprintf(to, "    -b%-12c %s\n", modes[i].letter, modes[i].help);
}

void options_help(FILE *to)
{
	static const char *const title[] = { [HONOURED] = "",
		[ACCEPTED] = "\nAccepted, without effect:\n",
		[REFUSED] = "\nRefused:\n" };

	fputs("usage: sendmail [options] [--] [recipient ...] <message\n"
	      "       mailq            lists the queue\n"
	      "       newaliases       checks the aliases file\n\n",
		to);
	for (int effect = HONOURED; effect <= REFUSED; effect++) {
		fputs(title[effect], to);
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			if ((int)table[i].effect == effect)
				help_line(to, &table[i]);
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].mode < 0)
			fprintf(to, "  -b%-14c %s\n", modes[i].letter, modes[i].help);
}
