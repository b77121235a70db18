/*
 * The counters, and their text.
 */
#include "listen/figures.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 65536

static const char *const bounds[FIGURES_BOUNDS] = { "0.01", "0.025", "0.05", "0.1", "0.25", "0.5",
	"1", "2.5", "5", "10", "60" };
static const int64_t bounds_us[FIGURES_BOUNDS] = { 10000, 25000, 50000, 100000, 250000, 500000,
	1000000, 2500000, 5000000, 10000000, 60000000 };

void figures_time(struct figures_times *t, int64_t us)
{
	unsigned i = 0;

	if (us < 0)
		us = 0;
	while (i < FIGURES_BOUNDS && us > bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&t->bound[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&t->us, (unsigned long long)us, memory_order_relaxed);
}

enum verdict_class figures_class(const char *answer)
{
	struct outcome o = { .step = STEP_CONTENT };
	const struct verdict_rules rules = { .peer_says_class = true };
	struct verdict v;
	struct span s = span_of(answer);

	assert(s.n >= 4);
	o.reply.code = (answer[0] - '0') * 100 + (answer[1] - '0') * 10 + (answer[2] - '0');
	s = span_from(s, 4);
	long blank = span_find(s, ' ');
	if (blank > 0 && (size_t)blank < sizeof o.reply.enhanced && s.p[1] == '.') {
		memcpy(o.reply.enhanced, s.p, (size_t)blank);
		s = span_from(s, (size_t)blank + 1);
	}
	snprintf(o.reply.text, sizeof o.reply.text, "%.*s", (int)s.n, s.p);
	verdict_pass(&o, &rules, &v);
	return v.class;
}

/* --- the text --- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP cenmail_%s %s\n# TYPE cenmail_%s %s\n", name, help, name, type);
}

static void counter(struct buf *out, const char *name, const char *help, const atomic_ullong *n)
{
	head(out, name, "counter", help);
	buf_printf(out, "cenmail_%s %llu\n", name, atomic_load(n));
}

static void gauge(struct buf *out, const char *name, const char *help, unsigned n)
{
	head(out, name, "gauge", help);
	buf_printf(out, "cenmail_%s %u\n", name, n);
}

static void labelled(struct buf *out, const char *name, const char *label, const char *value,
	const atomic_ullong *n)
{
	buf_printf(out, "cenmail_%s{%s=\"%s\"} %llu\n", name, label, value, atomic_load(n));
}

static void classes(struct buf *out, const char *name, const char *help, const atomic_ullong *n)
{
	head(out, name, "counter", help);
	for (unsigned i = 0; i < FIGURES_CLASSES; i++)
		labelled(out, name, "class", verdict_name((enum verdict_class)i), &n[i]);
}

static void times(
	struct buf *out, const char *name, const char *help, const struct figures_times *t)
{
	unsigned long long all = 0;

	head(out, name, "histogram", help);
	for (unsigned i = 0; i < FIGURES_BOUNDS; i++) {
		all += atomic_load(&t->bound[i]);
		buf_printf(out, "cenmail_%s_bucket{le=\"%s\"} %llu\n", name, bounds[i], all);
	}
	all += atomic_load(&t->bound[FIGURES_BOUNDS]);
	buf_printf(out,
		"cenmail_%s_bucket{le=\"+Inf\"} %llu\ncenmail_%s_sum %.6f\ncenmail_%s_count %llu\n",
		name, all, name, (double)atomic_load(&t->us) / 1e6, name, all);
}

void figures_text(const struct figures *f, unsigned sessions, struct buf *out)
{
	static const char *const away[AWAY_KINDS] = { "allow", "sessions_max", "client_sessions" };
	static const char *const logins[LOGIN_KINDS] = { "right", "wrong", "unheard" };

	counter(out, "messages_total", "Messages taken from clients.", &f->messages);
	counter(out, "recipients_total", "Their recipients.", &f->recipients);
	counter(out, "octets_total", "Octets of their content.", &f->octets);
	classes(out, "answers_total", "Recipients answered, by what the answer means.",
		f->answered);
	classes(out, "refused_total", "Senders, recipients and contents that were not taken.",
		f->refused);
	counter(out, "repeated_total", "Recipients answered again from the journal.", &f->again);
	counter(out, "throttled_total", "Recipients that SES refused for its rate or quota.",
		&f->throttled);
	counter(out, "in_doubt_total", "Recipients given to SES without an answer.",
		&f->unanswered);
	counter(out, "resent_total", "Recipients sent again in spite of doubt.", &f->resent);
	counter(out, "sessions_total", "Connections that were served.", &f->sessions);
	gauge(out, "sessions", "Connections that are served now.", sessions);
	head(out, "turned_away_total", "counter", "Connections that were not served.");
	for (unsigned i = 0; i < AWAY_KINDS; i++)
		labelled(out, "turned_away_total", "reason", away[i], &f->away[i]);
	head(out, "logins_total", "counter", "AUTH, by how it ended.");
	for (unsigned i = 0; i < LOGIN_KINDS; i++)
		labelled(out, "logins_total", "result", logins[i], &f->logins[i]);
	counter(out, "ses_connects_total", "Connections made to SES.", &f->ses_connects);
	counter(out, "ses_connect_failures_total", "Connections to SES that failed.",
		&f->ses_failures);
	gauge(out, "ses_connections", "Connections to SES that are open.",
		atomic_load(&f->ses_connections));
	gauge(out, "messages_waiting", "Messages that wait for a worker.",
		atomic_load(&f->waiting));
	gauge(out, "messages_sending", "Messages in a worker's hands.", atomic_load(&f->sending));
	times(out, "answer_seconds", "From the end of the content to a recipient's answer.",
		&f->whole);
	times(out, "ses_seconds", "Transactions that SES answered, but for its throttling.",
		&f->ses);
}

/* --- the file --- */

static int write_file(const char *path, struct span text, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_sys(e, EX_CANTCREAT, "metrics: %s", path);
	(void)fchmod(fd, 0644); /* the umask is 077, and others are to read it */
	ssize_t n = write(fd, text.p, text.n);
	int r = n == (ssize_t)text.n ? 0 : err_sys(e, EX_IOERR, "metrics: %s", path);
	close(fd);
	return r;
}

int figures_write(const struct figures *f, unsigned sessions, const char *path, struct err *e)
{
	char part[4096];
	struct buf text;
	int r = -1, n = snprintf(part, sizeof part, "%s.part", path);

	if (n < 0 || (size_t)n >= sizeof part)
		return err_set(e, EX_CONFIG, "metrics: too long a path");
	buf_init(&text, TEXT_MAX);
	figures_text(f, sessions, &text);
	if (text.failed)
		err_set(e, EX_OSERR, "metrics: out of memory");
	else if (write_file(part, buf_span(&text), e) == 0)
		r = rename(part, path) < 0 ? err_sys(e, EX_IOERR, "metrics: %s", path) : 0;
	buf_done(&text);
	return r;
}
