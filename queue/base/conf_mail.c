/*
 * cenmail.conf: its table, which is the whole truth about its keys.
 */
#include "base/address.h"
#include "base/conf_table.h"
#include "base/number.h"

#include <stddef.h>

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KB     1024ull
#define MB     (1024 * KB)

static int check_address(struct span value, struct err *e)
{
	struct address a;

	if (address_parse(value, &a, e) < 0) {
		if (e)
			e->code = EX_CONFIG;
		return -1;
	}
	return 0;
}

/* PATTERN relay-URL and its options. */
static int check_route(struct span value, struct err *e)
{
	struct span pattern = span_word(&value);

	if (value.n == 0)
		return err_set(e, EX_CONFIG,
			"\"%.*s\" needs a relay beside the pattern: *@example.com "
			"smtps://host secret=/file",
			conf_shown(pattern), pattern.p);
	return conf_check_relay(value, e);
}

/* PATTERN ADDRESS. */
static int check_rewrite(struct span value, struct err *e)
{
	struct span pattern = span_word(&value);

	if (value.n == 0)
		return err_set(e, EX_CONFIG,
			"\"%.*s\" needs an address beside the pattern: *@host.local "
			"ops@example.com",
			conf_shown(pattern), pattern.p);
	return check_address(value, e);
}

static const char *const no_yes[] = { [CONF_NO] = "no", [CONF_YES] = "yes", NULL };

/* PATTERN, which some address could match. */
static int check_verified(struct span value, struct err *e)
{
	struct span rest = value, pattern = span_word(&rest);

	if (rest.n > 0)
		return err_set(e, EX_CONFIG, "one pattern a line");
	if (span_find(pattern, '@') < 0 && span_find(pattern, '*') < 0)
		return err_set(e, EX_CONFIG, "\"%.*s\" matches no address: *@%.*s for a domain",
			conf_shown(pattern), pattern.p, conf_shown(pattern), pattern.p);
	return 0;
}

/* CODE and words of the text. A blank among them, so that no address that a reply repeats can stop
 * the road. */
static int check_operator_reply(struct span value, struct err *e)
{
	struct span code = span_word(&value);
	uint64_t n;

	if (code.n != 3 || number_parse(code, 599, &n) < 0 || n < 400)
		return err_set(e, EX_CONFIG, "\"%.*s\" is not a code from 400 to 599",
			conf_shown(code), code.p);
	if (span_find(value, ' ') < 0)
		return err_set(e, EX_CONFIG,
			"%.*s needs two words at least that the reply holds beside the code",
			conf_shown(code), code.p);
	return 0;
}

#define AT(field) offsetof(struct conf_mail, field)

/* clang-format off */
static const struct conf_key keys[] = {
	{ "queue", CONF_TEXT, AT(queue), CENMAIL_SPOOLDIR "/queue.db", 0, 0, NULL, conf_check_path,
		"the database that holds the mail" },
	{ "relay", CONF_PAIRS, AT(relay), NULL, 0, CONF_RELAYS, NULL, conf_check_relay,
		"where mail goes: SCHEME://HOST:PORT pin=sha256:HEX secret=FILE; several are tried in order" },
	{ "route", CONF_PAIRS, AT(route), NULL, 0, CONF_LIST, NULL, check_route,
		"recipients that go elsewhere: PATTERN and a relay; the first match wins" },
	{ "hostname", CONF_TEXT, AT(hostname), NULL, 0, 0, NULL, conf_check_domain,
		"the name this host gives itself" },
	{ "domain", CONF_TEXT, AT(domain), NULL, 0, 0, NULL, conf_check_domain,
		"what qualifies a bare name" },
	{ "aliases", CONF_TEXT, AT(aliases), "/etc/aliases", 0, 0, NULL, conf_check_path,
		"the file of local names and whom they stand for" },
	{ "postmaster", CONF_TEXT, AT(postmaster), NULL, 0, 0, NULL, check_address,
		"who gets the mail of system accounts" },
	{ "rewrite_sender", CONF_PAIRS, AT(rewrite_sender), NULL, 0, CONF_LIST, NULL, check_rewrite,
		"senders that are replaced when mail is sent: PATTERN ADDRESS; the first match wins" },
	{ "rewrite_reply_to", CONF_WORD, AT(rewrite_reply_to), "no", 0, 0, no_yes, NULL,
		"whether a From that is replaced is kept in Reply-To, where there is none" },
	{ "verified", CONF_PAIRS, AT(verified), NULL, 0, CONF_LIST, NULL, check_verified,
		"senders that SES has verified, for `sendmail -bv` to tell what it would refuse: PATTERN" },
	{ "bounce_sender", CONF_TEXT, AT(bounce_sender), NULL, 0, 0, NULL, check_address,
		"a verified sender for bounces; without it they are recorded, not sent" },
	{ "header", CONF_PAIRS, AT(header), NULL, 0, CONF_LIST, NULL, conf_check_header,
		"a header field that is added when mail is sent: NAME VALUE" },
	{ "message_size", CONF_SIZE, AT(message_size), "40M", KB, 900 * MB, NULL, NULL,
		"the largest message that is taken" },
	{ "recipients_max", CONF_NUMBER, AT(recipients_max), "1000", 1, 100000, NULL, NULL,
		"the most recipients of a message" },
	{ "retry_min", CONF_DURATION, AT(retry_min), "1m", SECOND, DAY, NULL, NULL,
		"the pause before the second try at a message" },
	{ "retry_max", CONF_DURATION, AT(retry_max), "1h", SECOND, 7 * DAY, NULL, NULL,
		"the longest pause between two tries" },
	{ "lifetime", CONF_DURATION, AT(lifetime), "5d", MINUTE, 365 * DAY, NULL, NULL,
		"how long a message is tried before it is given up" },
	{ "lifetime_max", CONF_DURATION, AT(lifetime_max), "0", 0, 3650 * DAY, NULL, NULL,
		"the same where the road was down for some of the time; 0: four lifetimes" },
	{ "bounce_lifetime", CONF_DURATION, AT(bounce_lifetime), "1d", MINUTE, 365 * DAY, NULL, NULL,
		"the same for a bounce" },
	{ "warn_after", CONF_DURATION, AT(warn_after), "4h", 0, 365 * DAY, NULL, NULL,
		"when the sender is told that his message is late; 0: never" },
	{ "operator_reply", CONF_PAIRS, AT(operator_reply), NULL, 0, CONF_LIST, NULL, check_operator_reply,
		"a reply that is the operator's to mend, and no message's fault: CODE and words of it" },
	{ "linger", CONF_DURATION, AT(linger), "60s", 0, DAY, NULL, NULL,
		"how long a flusher waits for more; 0: it goes when nothing is due" },
	{ "window", CONF_NUMBER, AT(window), "1000", 1, 10000, NULL, NULL,
		"messages in flight on one connection" },
	{ "window_bytes", CONF_SIZE, AT(window_bytes), "16M", KB, 1024 * MB, NULL, NULL,
		"octets in flight on one connection" },
	{ "connections", CONF_NUMBER, AT(connections), "1", 1, RELAY_CONNECTIONS, NULL, NULL,
		"connections to a relay" },
	{ "rate", CONF_RATE, AT(rate), "0", 0, RELAY_RATE_MAX, NULL, NULL,
		"recipients a second, or a minute, that a relay is given, as 14/s; 0: no limit" },
	{ "keep_sent", CONF_DURATION, AT(keep_sent), "0", 0, 3650 * DAY, NULL, NULL,
		"how long the content of sent mail is kept" },
	{ "keep_failed", CONF_DURATION, AT(keep_failed), "30d", 0, 3650 * DAY, NULL, NULL,
		"how long the content of failed mail is kept" },
	{ "keep_history", CONF_DURATION, AT(keep_history), "90d", HOUR, 3650 * DAY, NULL, NULL,
		"how long it is known what became of a message" },
	{ "min_free", CONF_SIZE, AT(min_free), "256M", 0, MB * MB, NULL, NULL,
		"free space below which no mail is taken, a quarter of the file system at most" },
	{ "queue_max", CONF_SIZE, AT(queue_max), "0", 0, MB * MB, NULL, NULL,
		"how much the queue may hold before no mail is taken; 0: no bound" },
	{ "user_max", CONF_NUMBER, AT(user_max), "0", 0, 1000000, NULL, NULL,
		"messages of one user that may wait; root is exempt; 0: no bound" },
	{ "lock_wait", CONF_DURATION, AT(lock_wait), "5s", 0, HOUR, NULL, NULL,
		"how long sendmail waits for the queue before it takes the second way in" },
	{ "notify", CONF_TEXT, AT(notify), NULL, 0, 0, NULL, NULL,
		"a command that is run when the road is down, or mail is held, for long, and when all is well again" },
	{ "log", CONF_WORD, AT(log), "syslog", 0, 0, conf_log_words, NULL,
		"where the log goes" },
};
/* clang-format on */

static const struct conf_table table = {
	.keys = keys,
	.n = sizeof keys / sizeof *keys,
	.size = sizeof(struct conf_mail),
	.manual = "cenmail.conf(5)",
};

const struct conf_pair *conf_list_match(const struct conf_list *l, struct span address)
{
	for (unsigned i = 0; i < l->n; i++)
		if (address_match(l->v[i].first, address))
			return &l->v[i];
	return NULL;
}

const char *conf_sent_as(const struct conf_list *rewrite_sender, const char *sender)
{
	const struct conf_pair *p =
		sender[0] ? conf_list_match(rewrite_sender, span_of(sender)) : NULL;

	return p ? p->rest : sender;
}

const char *conf_mail_domain(const struct conf_mail *c)
{
	return c->domain[0] ? c->domain : c->hostname;
}

int conf_mail_read(const char *path, struct conf_mail *ret, struct err *e)
{
	if (conf_table_read(&table, path, ret, e) < 0)
		return -1;
	if (conf_default_hostname(&ret->hostname, e) < 0)
		goto refused;
	if (ret->retry_min > ret->retry_max) {
		err_set(e, EX_CONFIG, "%s: retry_min is longer than retry_max", path);
		goto refused;
	}
	if (ret->lifetime_max != 0 && ret->lifetime_max < ret->lifetime) {
		err_set(e, EX_CONFIG, "%s: lifetime_max is shorter than lifetime", path);
		goto refused;
	}
	return 0;
refused:
	conf_mail_done(ret);
	return -1;
}

void conf_mail_done(struct conf_mail *c)
{
	conf_table_done(&table, c);
}

void conf_mail_dump(const struct conf_mail *c, FILE *to)
{
	conf_table_dump(&table, c, to);
}
