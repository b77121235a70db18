/*
 * Words for a person about a failure. Never allocates, so that it can speak of want of memory.
 */
#include "base/err.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Cuts to the ceiling, and where it cuts a UTF-8 character in two, takes its rest away too. */
static void cut(char *text, size_t size, int wanted)
{
	if (wanted >= 0 && (size_t)wanted < size)
		return;
	size_t n = strlen(text);
	while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80)
		n--;
	if (n > 0 && (unsigned char)text[n - 1] >= 0xC0)
		text[n - 1] = '\0';
}

__attribute__((format(printf, 3, 0))) static void fill(
	struct err *e, int code, const char *fmt, va_list ap)
{
	char text[sizeof e->text] = ""; /* the arguments may point into e->text itself */

	cut(text, sizeof text, vsnprintf(text, sizeof text, fmt, ap));
	memcpy(e->text, text, sizeof text);
	e->code = code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		fill(e, code, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return -1;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (e) {
		char why[128];
		const char *words = strerror_r(saved, why, sizeof why);
		va_start(ap, fmt);
		fill(e, code, fmt, ap);
		va_end(ap);
		size_t n = strlen(e->text);
		cut(e->text + n, sizeof e->text - n,
			snprintf(e->text + n, sizeof e->text - n, ": %s", words));
	}
	errno = saved;
	return -1;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (e) {
		char text[sizeof e->text] = "";
		va_start(ap, fmt);
		int n = vsnprintf(text, sizeof text, fmt, ap);
		va_end(ap);
		cut(text, sizeof text, n);
		size_t len = strlen(text);
		cut(text + len, sizeof text - len,
			snprintf(text + len, sizeof text - len, "%s", e->text));
		memcpy(e->text, text, sizeof text);
	}
	errno = saved;
	return -1;
}
