/*
 * Relay URLs and the files their secrets are in.
 */
#include "base/relay.h"

#include "base/hostport.h"
#include "base/number.h"

static const struct scheme {
	const char *name;
	bool lmtp;
	enum relay_tls tls;
	const char *port;
} schemes[] = {
	{ "lmtps", true, RELAY_TLS_WRAPPED, "3535" },
	{ "lmtp+starttls", true, RELAY_TLS_STARTTLS, "3535" },
	{ "lmtp", true, RELAY_TLS_MAY, "3535" },
	{ "smtps", false, RELAY_TLS_WRAPPED, "465" },
	{ "smtp+starttls", false, RELAY_TLS_STARTTLS, "587" },
	{ "smtp", false, RELAY_TLS_MAY, "25" },
};

static int parse_url(struct span s, struct relay *r, struct err *e)
{
	const struct scheme *scheme = NULL;

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes && !scheme; i++) {
		size_t n = strlen(schemes[i].name);
		if (span_starts_nocase(s, schemes[i].name) &&
			span_starts_nocase(span_from(s, n), "://")) {
			scheme = &schemes[i];
			s = span_from(s, n + 3);
		}
	}
	if (!scheme)
		return err_set(e, EX_CONFIG,
			"relay \"%.*s\" does not begin with one of lmtps:// lmtp+starttls:// "
			"lmtp:// "
			"smtps:// smtp+starttls:// smtp://",
			(int)(s.n < 100 ? s.n : 100), s.p);
	r->lmtp = scheme->lmtp;
	r->tls = scheme->tls;
	if (hostport_parse(s, scheme->port, r->host, sizeof r->host, r->port, e) < 0)
		return -1;
	bool v6 = strchr(r->host, ':') != NULL;
	int n = snprintf(r->text, sizeof r->text, "%s://%s%s%s:%s", scheme->name, v6 ? "[" : "",
		r->host, v6 ? "]" : "", r->port);
	if (n < 0 || (size_t)n >= sizeof r->text)
		return err_set(e, EX_CONFIG, "relay URL too long");
	return 0;
}

static int parse_pins(struct span s, struct relay *r, struct err *e)
{
	for (;;) {
		long comma = span_find(s, ',');
		struct span pin = comma < 0 ? s : span_make(s.p, (size_t)comma);
		if (r->pins == RELAY_PINS)
			return err_set(e, EX_CONFIG, "more than %d pins", RELAY_PINS);
		if (!span_starts_nocase(pin, "sha256:") ||
			hex_decode(span_from(pin, 7), r->pin[r->pins], 32) < 0)
			return err_set(e, EX_CONFIG,
				"pin \"%.*s\" is not sha256: and 64 hexadecimal digits",
				(int)(pin.n < 100 ? pin.n : 100), pin.p);
		r->pins++;
		if (comma < 0)
			return 0;
		s = span_from(s, (size_t)comma + 1);
	}
}

/* ca=FILE and secret=FILE: absolute, as cron's and systemd's working directories are not ours. */
static int parse_file(const char *what, struct span s, char *to, size_t size, struct err *e)
{
	if (*to != '\0')
		return err_set(e, EX_CONFIG, "%s= is given twice", what);
	if (s.n == 0 || s.p[0] != '/' || !span_copy(s, to, size))
		return err_set(e, EX_CONFIG, "%s= needs an absolute path of at most %zu octets",
			what, size - 1);
	return 0;
}

static int parse_pace(struct span s, struct relay *r, struct err *e)
{
	if (r->has_rate)
		return err_set(e, EX_CONFIG, "rate= is given twice");
	if (number_parse_rate(s, &r->rate) < 0 || r->rate > RELAY_RATE_MAX)
		return err_set(e, EX_CONFIG,
			"rate= needs a rate like 14/s, 0.5/s or 30/m, or 0 for no limit");
	r->has_rate = true;
	return 0;
}

static int parse_connections(struct span s, struct relay *r, struct err *e)
{
	uint64_t n;

	if (r->connections != 0)
		return err_set(e, EX_CONFIG, "connections= is given twice");
	if (number_parse(s, RELAY_CONNECTIONS, &n) < 0 || n == 0)
		return err_set(e, EX_CONFIG, "connections= needs a number from 1 to %d",
			RELAY_CONNECTIONS);
	r->connections = (unsigned)n;
	return 0;
}

static int parse_option(struct span word, struct relay *r, struct err *e)
{
	if (span_starts_nocase(word, "pin="))
		return parse_pins(span_from(word, 4), r, e);
	if (span_starts_nocase(word, "ca="))
		return parse_file("ca", span_from(word, 3), r->ca, sizeof r->ca, e);
	if (span_starts_nocase(word, "secret="))
		return parse_file("secret", span_from(word, 7), r->secret, sizeof r->secret, e);
	if (span_starts_nocase(word, "rate="))
		return parse_pace(span_from(word, 5), r, e);
	if (span_starts_nocase(word, "connections="))
		return parse_connections(span_from(word, 12), r, e);
	return err_set(e, EX_CONFIG,
		"relay option \"%.*s\" is none of pin= ca= secret= rate= connections=",
		(int)(word.n < 100 ? word.n : 100), word.p);
}

/* What is safe to say together. Anything that would be verified needs TLS that is. */
static int check_options(const struct relay *r, struct err *e)
{
	if (r->tls == RELAY_TLS_MAY && (r->pins > 0 || *r->ca))
		return err_set(e, EX_CONFIG,
			"%s: pin= and ca= need a scheme that verifies: %s or %s", r->text,
			r->lmtp ? "lmtps" : "smtps", r->lmtp ? "lmtp+starttls" : "smtp+starttls");
	if (r->tls == RELAY_TLS_MAY && *r->secret)
		return err_set(e, EX_CONFIG,
			"%s: a password is never said without verified TLS: use %s or %s, or "
			"take secret= away",
			r->text, r->lmtp ? "lmtps" : "smtps",
			r->lmtp ? "lmtp+starttls" : "smtp+starttls");
	if (r->pins > 0 && *r->ca)
		return err_set(e, EX_CONFIG, "%s: either pin= or ca=, not both", r->text);
	return 0;
}

int relay_parse(struct span s, struct relay *ret, struct err *e)
{
	struct relay r = { 0 };

	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < ' ' || s.p[i] > '~') && s.p[i] != '\t')
			return err_set(
				e, EX_CONFIG, "relay URL with an octet that is not printable");
	if (parse_url(span_word(&s), &r, e) < 0)
		return -1;
	for (;;) {
		struct span word = span_word(&s);
		if (word.n == 0)
			break;
		if (parse_option(word, &r, e) < 0)
			return -1;
	}
	if (check_options(&r, e) < 0)
		return -1;
	*ret = r;
	return 0;
}

void relay_done(struct relay *r)
{
	if (!r)
		return;
	wipe(r->user, sizeof r->user);
	wipe(r->password, sizeof r->password);
}
