/*
 * Address ranges. All is compared as IPv6, IPv4 in its mapped form.
 */
#include "base/cidr.h"

#include "base/number.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

/* The first `bits` bits are the same. */
static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static bool has_host_bits(const struct cidr *c)
{
	for (unsigned bit = c->bits; bit < 128; bit++)
		if (c->addr[bit / 8] & 0x80 >> bit % 8)
			return true;
	return false;
}

/* The address alone. *ret_width: how many bits it has as it is written. */
static bool parse_address(struct span s, unsigned char addr[16], unsigned *ret_width)
{
	char text[INET6_ADDRSTRLEN];

	if (s.n >= sizeof text || span_find(s, '\0') >= 0)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET, text, addr + 12) == 1) {
		memcpy(addr, mapped, sizeof mapped);
		*ret_width = 32;
		return true;
	}
	*ret_width = 128;
	return inet_pton(AF_INET6, text, addr) == 1;
}

int cidr_parse(struct span s, struct cidr *ret, struct err *e)
{
	struct cidr c;
	unsigned width;
	uint64_t bits;
	int shown = s.n < 100 ? (int)s.n : 100;

	long slash = span_find(s, '/');
	struct span address = slash < 0 ? s : span_make(s.p, (size_t)slash);
	if (!parse_address(address, c.addr, &width))
		return err_set(e, EX_CONFIG,
			"\"%.*s\" is no address range; one looks like 172.16.0.0/12 or "
			"2001:db8::/32",
			shown, s.p);
	bits = width;
	if (slash >= 0 && number_parse(span_from(s, (size_t)slash + 1), width, &bits) < 0)
		return err_set(e, EX_CONFIG, "\"%.*s\": the prefix is not a number from 0 to %u",
			shown, s.p, width);
	c.bits = (unsigned)bits + 128 - width;
	if (has_host_bits(&c))
		return err_set(e, EX_CONFIG,
			"\"%.*s\" has bits set beyond its prefix: is it a longer prefix, or "
			"another "
			"network?",
			shown, s.p);
	*ret = c;
	return 0;
}

bool cidr_has(const struct cidr *c, const struct sockaddr *sa)
{
	unsigned char addr[16];

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		memcpy(addr, mapped, sizeof mapped);
		memcpy(addr + 12, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
		memcpy(addr, &in6->sin6_addr, 16);
	} else {
		return false;
	}
	return same_prefix(addr, c->addr, c->bits);
}
