/*
 * Fields of a header, and the table of those that this program knows.
 */
#include "sendmail/header.h"

#include "base/field.h"

static const struct known {
	const char *name;
	unsigned flags;
	enum header_id id;
} known[] = {
	{ "From", HEADER_ADDRESSES, HEADER_FROM },
	{ "Sender", HEADER_ADDRESSES, HEADER_OTHER },
	{ "Reply-To", HEADER_ADDRESSES, HEADER_OTHER },
	{ "To", HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Cc", HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Bcc", HEADER_REMOVED | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Date", 0, HEADER_DATE },
	{ "Message-ID", 0, HEADER_MESSAGE_ID },
	{ "Received", 0, HEADER_RECEIVED },
	{ "Return-Path", HEADER_REMOVED, HEADER_OTHER },
	{ "Content-Length", HEADER_REMOVED, HEADER_OTHER }, /* a mailbox's, and wrong by now */
	{ "Resent-From", HEADER_RESENT | HEADER_ADDRESSES, HEADER_RESENT_FROM },
	{ "Resent-Sender", HEADER_RESENT | HEADER_ADDRESSES, HEADER_OTHER },
	{ "Resent-Reply-To", HEADER_RESENT | HEADER_ADDRESSES, HEADER_OTHER },
	{ "Resent-To", HEADER_RESENT | HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Resent-Cc", HEADER_RESENT | HEADER_ADDRESSES | HEADER_RECIPIENTS, HEADER_OTHER },
	{ "Resent-Bcc", HEADER_RESENT | HEADER_REMOVED | HEADER_RECIPIENTS, HEADER_RESENT_BCC },
	{ "Resent-Date", HEADER_RESENT, HEADER_RESENT_DATE },
	{ "Resent-Message-ID", HEADER_RESENT, HEADER_RESENT_MESSAGE_ID },
};

bool header_next(struct span *rest, struct header_field *ret)
{
	struct field f;

	if (!field_next(rest, &f))
		return false;
	*ret = (struct header_field) { .raw = f.raw, .value = f.value };
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!span_eq_nocase(f.name, span_of(known[i].name)))
			continue;
		ret->flags = known[i].flags;
		ret->id = known[i].id;
	}
	return true;
}

void header_survey(struct span header, struct header_facts *ret)
{
	struct header_field f;

	*ret = (struct header_facts) { .message_id = span_make("", 0) };
	while (header_next(&header, &f)) {
		ret->seen[f.id] = 1;
		if (f.id == HEADER_RECEIVED)
			ret->hops++;
		if (f.id == HEADER_MESSAGE_ID && ret->message_id.n == 0)
			ret->message_id = span_trim(f.value);
		if (f.flags & HEADER_RESENT && f.id != HEADER_RESENT_BCC)
			ret->resent = true;
	}
}
