/*
 * Every option of sendmail 8, the LSB and Postfix's sendmail, and what is done with it here. The
 * order is that of --help; tests/lint compares it with the manual page.
 */
#include "sendmail/option_table.h"

#include "sendmail/option_value.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
static const struct option_form modes[] = {
	{ "m", OPTION_HONOURED, OPTIONS_SUBMIT, NULL, "take a message from standard input (the default)" },
	{ "v", OPTION_HONOURED, OPTIONS_VERIFY, NULL, "show what would become of a message; nothing is stored or sent" },
	{ "p", OPTION_HONOURED, OPTIONS_LIST, NULL, "list the queue, as mailq" },
	{ "i", OPTION_HONOURED, OPTIONS_ALIASES, NULL, "check the aliases file, as newaliases" },
	{ "s", OPTION_HONOURED, OPTIONS_SESSION, NULL, "take messages by SMTP on standard input and output" },
	{ "d", OPTION_REFUSED, 0, NULL, "there is no daemon: cenmail-flush is started by cron" },
	{ "D", OPTION_REFUSED, 0, NULL, "there is no daemon: cenmail-flush is started by cron" },
	{ "l", OPTION_REFUSED, 0, NULL, "there is no daemon: cenmail-flush is started by cron" },
	{ "h", OPTION_REFUSED, 0, NULL, "there is no host status database: see the view mailq by cenmail-sql" },
	{ "H", OPTION_REFUSED, 0, NULL, "there is no host status database: see the view mailq by cenmail-sql" },
	{ "t", OPTION_REFUSED, 0, NULL, "there are no rewriting rules to test: see -bv" },
	{ "C", OPTION_REFUSED, 0, NULL, "that is `cenmail-flush --check-config`" },
	{ "P", OPTION_REFUSED, 0, NULL, "the number of queued messages is in the view mailq: use cenmail-sql" },
	{ "a", OPTION_REFUSED, 0, NULL, "ARPANET mode is not supported" },
	{ "r", OPTION_REFUSED, 0, NULL, "remote mode is not supported" },
	{ "z", OPTION_REFUSED, 0, NULL, "there is no configuration to freeze" },
};

static const struct option_form runs[] = {
	{ "f", OPTION_HONOURED, 0, NULL, "the same as -q" },
	{ "I", OPTION_HONOURED, 0, "number", "the message with this number" },
	{ "S", OPTION_HONOURED, 0, "text", "those with this in the sender" },
	{ "R", OPTION_HONOURED, 0, "text", "those with this in the recipient; -q!I, -q!S, -q!R: all others" },
	{ "15m", OPTION_REFUSED, 0, NULL, "there is no daemon that could come back: cron starts cenmail-flush" },
	{ "p", OPTION_REFUSED, 0, NULL, "there is no daemon that could come back: cron starts cenmail-flush" },
	{ "G", OPTION_REFUSED, 0, NULL, "there are no queue groups" },
	{ "Q", OPTION_REFUSED, 0, NULL, "no quarantine: what is held is released by cenmail-sql" },
	{ "L", OPTION_REFUSED, 0, NULL, "there are no lost messages to find again" },
};

/* In the order of --help. */
const struct option option_table[] = {
	{ 't', OPTION_NONE, OPTION_HONOURED, option_from_header, NULL,
		"recipients from To, Cc, Bcc (of a resent message: their Resent- forms), beside those in arguments", NULL, 0 },
	{ 'i', OPTION_NONE, OPTION_HONOURED, option_ignore_dots, NULL,
		"a line of one dot does not end the message", NULL, 0 },
	{ 'f', OPTION_VALUE, OPTION_HONOURED, option_sender, "ADDRESS", "the envelope sender; <> for none", NULL, 0 },
	{ 'r', OPTION_VALUE, OPTION_HONOURED, option_sender, "ADDRESS", "the same as -f", NULL, 0 },
	{ 'F', OPTION_VALUE, OPTION_HONOURED, option_full_name, "NAME", "the full name for a From that is missing", NULL, 0 },
	{ 'b', OPTION_VALUE, OPTION_HONOURED, option_mode, "X", "what to do:", modes, COUNT(modes) },
	{ 'I', OPTION_NONE, OPTION_HONOURED, option_aliases, NULL, "the same as -bi", NULL, 0 },
	{ 'n', OPTION_NONE, OPTION_HONOURED, option_no_aliases, NULL,
		"bare names are not looked up in the aliases", NULL, 0 },
	{ 'N', OPTION_VALUE, OPTION_HONOURED, option_notify, "WHEN", "DSN: never, or success,failure,delay", NULL, 0 },
	{ 'R', OPTION_VALUE, OPTION_HONOURED, option_return, "WHAT", "DSN: return full or hdrs", NULL, 0 },
	{ 'V', OPTION_VALUE, OPTION_HONOURED, option_envid, "ID", "DSN: the envelope's id, in xtext", NULL, 0 },
	{ 'B', OPTION_VALUE, OPTION_HONOURED, option_body, "TYPE", "the body is 8BITMIME or 7BIT", NULL, 0 },
	{ 'v', OPTION_NONE, OPTION_HONOURED, option_verbose, NULL, "say the number the message got", NULL, 0 },
	{ 'o', OPTION_VALUE, OPTION_HONOURED, option_short, "X[VALUE]", "-oi is -i; all others have no effect", NULL, 0 },
	{ 'O', OPTION_VALUE, OPTION_HONOURED, option_long, "NAME=VALUE", "IgnoreDots is -i; others have no effect", NULL, 0 },
	{ 'q', OPTION_ATTACHED, OPTION_HONOURED, option_queue, NULL,
		"send now what waits in the queue; with a choice, that only:", runs, COUNT(runs) },
	{ 'A', OPTION_VALUE, OPTION_ACCEPTED, NULL, "X", "which sendmail.cf", NULL, 0 },
	{ 'C', OPTION_VALUE, OPTION_ACCEPTED, NULL, "FILE", "configuration file", NULL, 0 },
	{ 'D', OPTION_VALUE, OPTION_ACCEPTED, NULL, "FILE", "debug output", NULL, 0 },
	{ 'd', OPTION_ATTACHED, OPTION_ACCEPTED, NULL, "X", "debug level", NULL, 0 },
	{ 'e', OPTION_VALUE, OPTION_ACCEPTED, NULL, "X", "how errors are told; here: always on standard error", NULL, 0 },
	{ 'G', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "gateway submission", NULL, 0 },
	{ 'h', OPTION_VALUE, OPTION_ACCEPTED, NULL, "N", "hop count", NULL, 0 },
	{ 'L', OPTION_VALUE, OPTION_ACCEPTED, NULL, "TAG", "syslog tag", NULL, 0 },
	{ 'M', OPTION_VALUE, OPTION_ACCEPTED, NULL, "XVALUE", "macro", NULL, 0 },
	{ 'm', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "the sender too, where an alias holds him", NULL, 0 },
	{ 'p', OPTION_VALUE, OPTION_ACCEPTED, NULL, "PROTOCOL", "protocol of the submission", NULL, 0 },
	{ 'U', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "first submission", NULL, 0 },
	{ 'X', OPTION_VALUE, OPTION_ACCEPTED, NULL, "FILE", "traffic log", NULL, 0 },
	{ 'c', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "expensive mailers", NULL, 0 },
	{ 's', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "keep \"From \" lines", NULL, 0 },
	{ 'T', OPTION_ATTACHED, OPTION_ACCEPTED, NULL, "TIME", "timeout", NULL, 0 },
	{ 'x', OPTION_NONE, OPTION_ACCEPTED, NULL, NULL, "from AIX's mailx", NULL, 0 },
	{ 'Q', OPTION_ATTACHED, OPTION_REFUSED, NULL, "REASON",
		"no quarantine: what is to wait is set state='held' by cenmail-sql", NULL, 0 },
};
/* clang-format on */

const unsigned option_table_n = COUNT(option_table);

const struct option *option_find(char letter)
{
	for (unsigned i = 0; i < option_table_n; i++)
		if (option_table[i].letter == letter)
			return &option_table[i];
	return NULL;
}

const struct option_form *option_form_find(const struct option *o, const char *value)
{
	const bool time = value[0] >= '0' && value[0] <= '9';

	for (unsigned i = 0; i < o->n_forms; i++) {
		const char first = o->forms[i].name[0];
		if (time ? first >= '0' && first <= '9' : first == value[0])
			return &o->forms[i];
	}
	return NULL;
}
