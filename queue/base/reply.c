/*
 * Words for the steps of a dialogue, and replies on one line.
 */
#include "base/reply.h"

#include <assert.h>

const char *step_name(enum step s)
{
	switch (s) {
	case STEP_CONNECT:
		return "connect";
	case STEP_TLS:
		return "TLS";
	case STEP_GREETING:
		return "greeting";
	case STEP_EHLO:
		return "EHLO";
	case STEP_STARTTLS:
		return "STARTTLS";
	case STEP_AUTH:
		return "AUTH";
	case STEP_MAIL:
		return "MAIL";
	case STEP_RCPT:
		return "RCPT";
	case STEP_DATA:
		return "DATA";
	case STEP_CONTENT:
		return "content";
	case STEP_RSET:
		return "RSET";
	case STEP_QUIT:
		return "QUIT";
	}
	assert(!"a step");
	return "";
}

char *reply_format(const struct reply *r, char *out, size_t size)
{
	char code[12] = "";

	if (size == 0)
		return out;
	if (r->code != 0)
		snprintf(code, sizeof code, "%d", r->code);
	/* Cutting is what the caller asked for: the result needs no look. */
	int n = snprintf(out, size, "%s%s%s%s%s", code, *code && *r->enhanced ? " " : "",
		r->enhanced, (*code || *r->enhanced) && *r->text ? " " : "", r->text);
	if (n < 0)
		out[0] = '\0';
	return out;
}
