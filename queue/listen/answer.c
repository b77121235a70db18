/*
 * The words of the answers.
 */
#include "listen/answer.h"

#include "base/log.h"

#include <assert.h>
#include <stdarg.h>

/* `head text tail` on one printable line; what has to be cut is cut from the text. */
static void put(char out[ANSWER_MAX + 1], const char *head, const char *text, const char *tail)
{
	size_t room = ANSWER_MAX - strlen(head) - strlen(tail);
	char shown[ANSWER_MAX];

	assert(strlen(head) + strlen(tail) < ANSWER_MAX / 2);
	log_printable(span_of(text), shown, room < sizeof shown ? room : sizeof shown);
	int n = snprintf(out, ANSWER_MAX + 1, "%s%s%s", head, shown, tail);
	assert(n > 0 && n <= ANSWER_MAX);
}

void answer_ses(const struct reply *r, int64_t wait_us, int64_t ses_us, char out[ANSWER_MAX + 1])
{
	char head[32], tail[80], general[16];

	snprintf(general, sizeof general, "%d.0.0", r->code / 100);
	snprintf(head, sizeof head, "%d %s ", r->code, r->enhanced[0] ? r->enhanced : general);
	snprintf(tail, sizeof tail, " wait=%.3f ses=%.3f", (double)wait_us / 1e6,
		(double)ses_us / 1e6);
	put(out, head, r->text, tail);
}

void answer_own(const struct answer_own *a, char out[ANSWER_MAX + 1], const char *fmt, ...)
{
	char head[40], tail[80], text[ANSWER_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(head, sizeof head, "%s cenmail: ", a->code);
	if (a->retry_s > 0)
		snprintf(tail, sizeof tail, " class=%s retry=%lld", verdict_name(a->class),
			(long long)a->retry_s);
	else
		snprintf(tail, sizeof tail, " class=%s", verdict_name(a->class));
	put(out, head, text, tail);
}
