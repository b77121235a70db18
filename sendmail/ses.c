/*
 * The list of SES's own documentation, but for Return-Path, which is taken out at submission.
 */
#include "sendmail/ses.h"

#include <assert.h>

static const char *const once[] = { "Accept-Language", "acceptLanguage", "Archived-At",
	"Auto-Submitted", "Bounces-to", "Comments", "Content-Alternative", "Content-Base",
	"Content-Class", "Content-Description", "Content-Disposition", "Content-Duration",
	"Content-ID", "Content-Language", "Content-Length", "Content-Location", "Content-MD5",
	"Content-Transfer-Encoding", "Content-Type", "Date", "Delivered-To",
	"Disposition-Notification-Options", "Disposition-Notification-To", "DKIM-Signature",
	"DomainKey-Signature", "Errors-To", "From", "Importance", "In-Reply-To", "Keywords",
	"List-Archive", "List-Help", "List-Id", "List-Owner", "List-Post", "List-Subscribe",
	"List-Unsubscribe", "List-Unsubscribe-Post", "Message-Context", "Message-ID",
	"MIME-Version", "Organization", "Original-From", "Original-Message-ID",
	"Original-Recipient", "Original-Subject", "Precedence", "Priority", "References",
	"Reply-To", "Return-Receipt-To", "Sender", "Solicitation", "Sensitivity", "Subject",
	"Thread-Index", "Thread-Topic", "User-Agent", "VBR-Info" };

static_assert(sizeof(once) / sizeof(once[0]) <= SES_ONCE_MAX, "see SES_ONCE_MAX");

int ses_once(struct span name)
{
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (span_eq_nocase(name, span_of(once[i])))
			return (int)i;
	return -1;
}
