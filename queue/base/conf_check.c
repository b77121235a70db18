/*
 * Whether a value of the configuration is one: the checks that both files use.
 */
#include "base/address.h"
#include "base/conf_table.h"
#include "base/field.h"
#include "base/hostport.h"

#include <unistd.h>

const char *const conf_log_words[] = {
	[LOG_TO_SYSLOG] = "syslog", [LOG_TO_STDERR] = "stderr", NULL
};

int conf_check_path(struct span value, struct err *e)
{
	if (value.p[0] != '/')
		return err_set(e, EX_CONFIG, "\"%.*s\" is not an absolute path", conf_shown(value),
			value.p);
	return 0;
}

int conf_check_domain(struct span value, struct err *e)
{
	if (!address_is_domain(value) || value.p[0] == '[')
		return err_set(
			e, EX_CONFIG, "\"%.*s\" is not a domain name", conf_shown(value), value.p);
	return 0;
}

int conf_check_relay(struct span value, struct err *e)
{
	struct relay r;

	return relay_parse(value, &r, e); /* no secret is read yet: nothing to wipe */
}

int conf_check_header_name(struct span name, struct err *e)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (c <= ' ' || c > '~' || c == ':')
			return err_set(e, EX_CONFIG,
				"\"%.*s\" is not the name of a header field (RFC 5322: no colon, "
				"no blank)",
				conf_shown(name), name.p);
	}
	return 0;
}

/* NAME VALUE. Control characters were refused when the line was read; a tab may stand inside. */
int conf_check_header(struct span value, struct err *e)
{
	struct span name = span_word(&value);

	if (conf_check_header_name(name, e) < 0)
		return -1;
	if (value.n == 0)
		return err_set(e, EX_CONFIG, "\"%.*s\" needs a value beside the name",
			conf_shown(name), name.p);
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] > 126)
			return err_set(e, EX_CONFIG,
				"the value of %.*s has an octet that is not ASCII",
				conf_shown(name), name.p);
	if (name.n + 2 + value.n > FIELD_LINE_MAX)
		return err_set(e, EX_CONFIG, "%.*s: longer than a line of a message can be (998)",
			conf_shown(name), name.p);
	return 0;
}

int conf_split_hostport(struct span s, char *host, size_t size, char port[6], struct err *e)
{
	return hostport_parse(s, NULL, host, size, port, e);
}

int conf_default_hostname(char **name, struct err *e)
{
	char own[256] = "";

	if (**name != '\0')
		return 0;
	/* Some hosts have names that mail can't carry; theirs is not worth refusing mail for. */
	if (gethostname(own, sizeof own - 1) < 0 || conf_check_domain(span_of(own), NULL) < 0)
		snprintf(own, sizeof own, "localhost");
	char *p = strdup(own);
	if (!p)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	free(*name);
	*name = p;
	return 0;
}
