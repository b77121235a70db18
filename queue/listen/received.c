/*
 * The Received field.
 */
#include "listen/received.h"

#include "base/clock.h"

/* An IPv6 address is tagged in an address literal (RFC 5321 section 4.1.3). */
static const char *tag(const char *address)
{
	return strchr(address, ':') ? "IPv6:" : "";
}

void received_write(const struct received *r, const struct conf_list *headers, struct buf *out)
{
	char date[CLOCK_DATE_SIZE];

	clock_rfc5322(r->now, date);
	buf_printf(out, "Received: from %s ([%s%s])\r\n", r->helo, tag(r->address), r->address);
	if (r->tls[0])
		buf_printf(out, "\t(using %s)\r\n", r->tls);
	buf_printf(out, "\tby %s (cenmail) with %s%s%s id %s", r->hostname,
		r->lmtp       ? "LMTP"
		: r->extended ? "ESMTP"
			      : "SMTP",
		r->tls[0] ? "S" : "", r->authenticated ? "A" : "", r->id);
	if (r->recipient)
		buf_printf(out, "\r\n\tfor <%s>", r->recipient);
	buf_printf(out, ";\r\n\t%s\r\n", date);
	for (unsigned i = 0; i < headers->n; i++)
		buf_printf(out, "%s: %s\r\n", headers->v[i].first, headers->v[i].rest);
}
