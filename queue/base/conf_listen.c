/*
 * listen.conf: its table, which is the whole truth about its keys.
 */
#include "base/cidr.h"
#include "base/conf_table.h"

#include <stddef.h>

#define DAY 86400000ull
#define KB  1024ull
#define MB  (1024 * KB)

static const char *const in_doubt_words[] = {
	[IN_DOUBT_RESEND] = "resend", [IN_DOUBT_HOLD] = "hold", NULL
};
static const char *const tls_words[] = { [LISTEN_TLS_WRAPPED] = "tls",
	[LISTEN_TLS_STARTTLS] = "starttls",
	[LISTEN_TLS_PLAIN] = "plain" };

static bool parse_tls(struct span word, enum listen_tls *ret)
{
	for (size_t i = 0; i < sizeof tls_words / sizeof *tls_words; i++)
		if (span_eq(word, span_of(tls_words[i]))) {
			*ret = (enum listen_tls)i;
			return true;
		}
	return false;
}

/* HOST:PORT and one of tls, starttls, plain. */
static int check_listen(struct span value, struct err *e)
{
	char host[256], port[6];
	enum listen_tls tls;
	struct span address = span_word(&value);

	if (conf_split_hostport(address, host, sizeof host, port, e) < 0)
		return -1;
	if (!parse_tls(value, &tls))
		return err_set(e, EX_CONFIG,
			"\"%.*s\" needs one word beside it: tls, starttls or plain",
			conf_shown(address), address.p);
	return 0;
}

static int check_range(struct span value, struct err *e)
{
	struct cidr c;

	return cidr_parse(value, &c, e);
}

/* It has keys of its own for its pace. */
static int check_upstream(struct span value, struct err *e)
{
	struct relay r;

	if (relay_parse(value, &r, e) < 0)
		return -1;
	if (r.has_rate || r.connections > 0)
		return err_set(e, EX_CONFIG, "%s= is no option here: set the key \"%s\"",
			r.has_rate ? "rate" : "connections",
			r.has_rate ? "rate" : "upstream_connections");
	return 0;
}

#define AT(field) offsetof(struct conf_listen, field)

/* clang-format off */
static const struct conf_key keys[] = {
	{ "listen", CONF_PAIRS, AT(listen), NULL, 0, 16, NULL, check_listen,
		"where flushers connect: HOST:PORT and tls, starttls or plain" },
	{ "certificate", CONF_TEXT, AT(certificate), NULL, 0, 0, NULL, conf_check_path,
		"the file of the certificate and those above it, PEM" },
	{ "key", CONF_TEXT, AT(key), NULL, 0, 0, NULL, conf_check_path,
		"the file of its private key, PEM" },
	{ "allow", CONF_PAIRS, AT(allow), NULL, 0, CONF_LIST, NULL, check_range,
		"addresses that are let in, as 172.16.0.0/12; with none, nobody is" },
	{ "clients", CONF_TEXT, AT(clients), NULL, 0, 0, NULL, conf_check_path,
		"the file of clients, NAME:SHA-256 of the secret; when set, AUTH is required" },
	{ "upstream", CONF_TEXT, AT(upstream), NULL, 0, 0, NULL, check_upstream,
		"where mail goes on to: SCHEME://HOST:PORT secret=FILE" },
	{ "upstream_connections", CONF_NUMBER, AT(upstream_connections), "10", 1, 1000, NULL, NULL,
		"the most connections to it" },
	{ "rate", CONF_RATE, AT(rate), "14/s", 0, 1000000000, NULL, NULL,
		"recipients a second that it is given; 0: no limit" },
	{ "quota", CONF_NUMBER, AT(quota), "0", 0, 1000000000, NULL, NULL,
		"recipients a day that it is given; 0: no limit" },
	{ "in_doubt", CONF_WORD, AT(in_doubt), "resend", 0, 0, in_doubt_words, NULL,
		"what is done with mail that may have been sent already: resend or hold" },
	{ "header", CONF_PAIRS, AT(header), NULL, 0, CONF_LIST, NULL, conf_check_header,
		"a header field that is added: NAME VALUE" },
	{ "allow_header", CONF_PAIRS, AT(allow_header), NULL, 0, CONF_LIST, NULL, conf_check_header_name,
		"X-SES- header fields that clients may set, as a pattern" },
	{ "journal", CONF_TEXT, AT(journal), CENMAIL_STATEDIR "/journal.db", 0, 0, NULL, conf_check_path,
		"the database of what was sent, by which nothing is sent twice" },
	{ "keep_journal", CONF_DURATION, AT(keep_journal), "30d", 3600000, 3650 * DAY, NULL, NULL,
		"how long it remembers" },
	{ "message_size", CONF_SIZE, AT(message_size), "40M", KB, 900 * MB, NULL, NULL,
		"the largest message that is taken" },
	{ "sessions_max", CONF_NUMBER, AT(sessions_max), "200", 1, 10000, NULL, NULL,
		"the most connections from clients" },
	{ "client_sessions", CONF_NUMBER, AT(client_sessions), "100", 1, 10000, NULL, NULL,
		"the most connections of one client" },
	{ "client_messages", CONF_NUMBER, AT(client_messages), "512", 1, 100000, NULL, NULL,
		"the most messages of one client that are under way; more wait" },
	{ "metrics", CONF_TEXT, AT(metrics), NULL, 0, 0, NULL, conf_check_path,
		"the file that the figures are written to, for Prometheus" },
	{ "hostname", CONF_TEXT, AT(hostname), NULL, 0, 0, NULL, conf_check_domain,
		"the name this host gives itself" },
	{ "log", CONF_WORD, AT(log), "syslog", 0, 0, conf_log_words, NULL,
		"where the log goes" },
};
/* clang-format on */

static const struct conf_table table = {
	.keys = keys,
	.n = sizeof keys / sizeof *keys,
	.size = sizeof(struct conf_listen),
	.manual = "listen.conf(5)",
};

/* What no default can stand for. */
static int check_needed(const struct conf_listen *c, const char *path, struct err *e)
{
	enum listen_tls tls = LISTEN_TLS_PLAIN;

	if (c->listen.n == 0)
		return err_set(e, EX_CONFIG,
			"%s: no \"listen\"; add where flushers connect: listen 10.20.8.37:3535 tls",
			path);
	if (*c->upstream == '\0')
		return err_set(e, EX_CONFIG,
			"%s: no \"upstream\"; add where mail goes on to: upstream "
			"smtp+starttls://email-smtp.REGION.amazonaws.com:587 "
			"secret=/etc/cenmail/ses.secret",
			path);
	for (unsigned i = 0; i < c->listen.n; i++) {
		if (!parse_tls(span_of(c->listen.v[i].rest), &tls) || tls == LISTEN_TLS_PLAIN)
			continue;
		if (*c->certificate == '\0' || *c->key == '\0')
			return err_set(e, EX_CONFIG,
				"%s: no \"%s\", which listen %s %s needs; add: %s FILE", path,
				*c->certificate ? "key" : "certificate", c->listen.v[i].first,
				c->listen.v[i].rest, *c->certificate ? "key" : "certificate");
	}
	return 0;
}

int conf_listen_read(const char *path, struct conf_listen *ret, struct err *e)
{
	if (conf_table_read(&table, path, ret, e) < 0)
		return -1;
	if (conf_default_hostname(&ret->hostname, e) < 0 || check_needed(ret, path, e) < 0) {
		conf_listen_done(ret);
		return -1;
	}
	return 0;
}

void conf_listen_done(struct conf_listen *c)
{
	conf_table_done(&table, c);
}

void conf_listen_dump(const struct conf_listen *c, FILE *to)
{
	conf_table_dump(&table, c, to);
}

/* What is opened or started once. */
static const char *const of_the_start[] = { "listen", "upstream", "upstream_connections",
	"in_doubt", "journal", "keep_journal", "hostname", "log" };

static bool same_value(const struct conf_key *k, const void *a, const void *b)
{
	char *text[2] = { NULL, NULL };
	size_t size;

	for (int i = 0; i < 2; i++) {
		FILE *f = open_memstream(&text[i], &size);
		if (!f)
			continue;
		conf_value_dump(k, i ? b : a, f);
		fclose(f);
	}
	bool same = text[0] && text[1] && strcmp(text[0], text[1]) == 0;
	free(text[0]);
	free(text[1]);
	return same;
}

const char *conf_listen_restart(
	const struct conf_listen *a, const struct conf_listen *b, unsigned *at)
{
	while (*at < sizeof of_the_start / sizeof *of_the_start) {
		const char *name = of_the_start[(*at)++];
		for (unsigned i = 0; i < table.n; i++)
			if (strcmp(keys[i].name, name) == 0 && !same_value(&keys[i], a, b))
				return name;
	}
	return NULL;
}
