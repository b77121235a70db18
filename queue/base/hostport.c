/*
 * HOST:PORT.
 */
#include "base/hostport.h"

#include "base/address.h"
#include "base/number.h"

#include <arpa/inet.h>

/* A name that ends like an IPv4 address has to be one: 10.1.2 is somebody's mistake. */
static bool parse_host(struct span s, char *host, size_t size)
{
	unsigned char addr[16];

	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		return span_copy(span_make(s.p + 1, s.n - 2), host, size) &&
		       inet_pton(AF_INET6, host, addr) == 1;
	if (s.n == 0 || s.p[0] == '[' || !address_is_domain(s) || !span_copy(s, host, size))
		return false;
	const char *dot = strrchr(host, '.'), *last = dot ? dot + 1 : host;
	if (strspn(last, "0123456789") == strlen(last))
		return inet_pton(AF_INET, host, addr) == 1;
	return true;
}

static int shown(struct span s)
{
	return s.n < 100 ? (int)s.n : 100;
}

int hostport_parse(struct span s, const char *default_port, char *host, size_t size, char port[6],
	struct err *e)
{
	struct span h = s, p = span_of(default_port);
	uint64_t number;

	/* The colon of the port comes after the bracket; an address in brackets has its own. */
	long bracket = s.n > 0 && s.p[0] == '[' ? span_find(s, ']') : -1;
	size_t from = bracket < 0 ? 0 : (size_t)bracket;
	long colon = span_find(span_from(s, from), ':');
	if (colon >= 0) {
		h = span_make(s.p, from + (size_t)colon);
		p = span_from(s, from + (size_t)colon + 1);
	}
	if (!parse_host(h, host, size))
		return err_set(e, EX_CONFIG,
			"host \"%.*s\" is no name and no address (an IPv6 address stands in "
			"brackets)",
			shown(h), h.p);
	if (number_parse(p, 65535, &number) < 0 || (number == 0 && default_port))
		return err_set(e, EX_CONFIG,
			"\"%.*s\": port \"%.*s\" is not a number from %d to 65535", shown(s), s.p,
			shown(p), p.p, default_port ? 1 : 0);
	snprintf(port, 6, "%u", (unsigned)number);
	return 0;
}
