/*
 * The log. Nothing here may fail: what can't be logged is lost, mail is not.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define LOG_NAME_MAX 48 /* "cenmail/" and the service */

static atomic_int target = LOG_TO_STDERR;
static struct {
	void (*clear)(void *arg);
	void *arg;
} beside;

void log_open(enum log_to to)
{
	atomic_store(&target, (int)to);
}

void log_beside(void (*clear)(void *arg), void *arg)
{
	beside.clear = clear;
	beside.arg = arg;
}

char *log_printable(struct span in, char *out, size_t size)
{
	size_t n = 0;

	if (size == 0)
		return out;
	for (; n < in.n && n + 1 < size; n++)
		out[n] = in.p[n] >= ' ' && in.p[n] <= '~' ? in.p[n] : '?';
	out[n] = '\0';
	return out;
}

/* openlog(3) keeps one name for the process and borrows it, so that name and line go together
 * under a lock. (A mutex needs no libpthread, in older C libraries neither.) */
static void to_syslog(int priority, const char *name, const char *text)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char ident[LOG_NAME_MAX];

	pthread_mutex_lock(&lock);
	memcpy(ident, name, sizeof ident);
	openlog(ident, LOG_PID, LOG_MAIL);
	syslog(priority, "%s", text);
	pthread_mutex_unlock(&lock);
}

/* One write(2), so that the lines of threads and processes do not mix. */
static void to_stderr(const char *name, const char *text)
{
	char line[LOG_NAME_MAX + LOG_LINE_MAX + 32];
	int n = snprintf(line, sizeof line, "%s[%d]: %s\n", name, (int)getpid(), text);

	if (n > 0 && (size_t)n < sizeof line) {
		if (beside.clear)
			beside.clear(beside.arg);
		ssize_t written = write(STDERR_FILENO, line, (size_t)n);
		(void)written; /* there is nowhere left to complain to */
	}
}

void log_line(int priority, const char *service, const char *fmt, ...)
{
	int saved = errno;
	char name[LOG_NAME_MAX] = "", raw[LOG_LINE_MAX + 1] = "", text[LOG_LINE_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	if (n >= 0) {
		snprintf(name, sizeof name, "cenmail/%s", service);
		log_printable(span_of(raw), text, sizeof text);
		if (atomic_load(&target) == LOG_TO_SYSLOG)
			to_syslog(priority, name, text);
		else
			to_stderr(name, text);
	}
	errno = saved;
}
