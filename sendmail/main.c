/*
 * sendmail, mailq, newaliases: becomes who it has to be, reads the command line and the
 * configuration, calls, logs, and ends with a code of sysexits.h.
 */
#include "base/conf.h"
#include "base/log.h"
#include "sendmail/aliases_check.h"
#include "sendmail/mailq.h"
#include "sendmail/options.h"
#include "sendmail/prefault.h"
#include "sendmail/privilege.h"
#include "sendmail/queue_run.h"
#include "sendmail/session.h"
#include "sendmail/submit.h"
#include "sendmail/verify.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#ifndef CENMAIL_BUILT_IN /* what is linked statically, for --version */
#define CENMAIL_BUILT_IN ""
#endif

static void log_lines(const char *lines)
{
	while (lines && *lines) {
		size_t n = strcspn(lines, "\n");
		log_line(LOG_WARNING, "sendmail", "%.*s", (int)n, lines);
		lines += n + (lines[n] == '\n');
	}
}

/* In Postfix's words, which pflogsumm and the operator's eyes know. */
static void log_submitted(const struct submitted *m, uid_t caller)
{
	char id[sizeof(m->key)];

	if (m->id != 0)
		snprintf(id, sizeof(id), "%010" PRId64, m->id);
	else
		memcpy(id, m->key, sizeof(id));
	log_line(LOG_INFO, "pickup", "%s: uid=%u from=<%s>", id, (unsigned)caller, m->sender);
	log_line(LOG_INFO, "cleanup", "%s: message-id=%s", id, m->message_id);
	if (m->id != 0)
		log_line(LOG_INFO, "qmgr",
			"%s: from=<%s>, size=%" PRIu64 ", nrcpt=%u (queue active)", id, m->sender,
			m->size, m->recipients);
	else /* the flusher says the rest when it has taken it */
		log_line(LOG_WARNING, "pickup",
			"%s: kept in incoming/, as the queue can't be had: %s", id, m->waits);
	if (m->nuls > 0)
		log_line(LOG_WARNING, "cleanup", "%s: %" PRIu64 " NUL octets dropped", id, m->nuls);
	log_lines(m->notes);
}

static int run_submit(
	const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e)
{
	const struct submit s = { .options = o, .conf = conf, .caller = caller, .fd = 0 };
	struct submitted done;

	if (submit_run(&s, &done, e) != 0)
		return -1;
	log_submitted(&done, caller);
	if (o->verbose && done.id != 0)
		fprintf(stderr, "sendmail: queued as %010" PRId64 "\n", done.id);
	else if (o->verbose)
		fprintf(stderr, "sendmail: kept in incoming/ as %s: %s\n", done.key, done.waits);
	submitted_done(&done);
	return 0;
}

static int run_verify(
	const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e)
{
	const struct verify v = {
		.options = o, .conf = conf, .caller = caller, .fd = 0, .to = stdout
	};
	return verify_run(&v, e);
}

static void log_refused(const char *reply, uid_t caller)
{
	log_line(LOG_WARNING, "sendmail", "uid=%u: refused: %s", (unsigned)caller, reply);
}

static int run_session(
	const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e)
{
	const struct session_options s = { .draft = { .conf = conf,
						   .caller = caller,
						   .full_name = o->full_name,
						   .no_aliases = o->no_aliases },
		.in = 0,
		.out = 1,
		.stored = log_submitted,
		.refused = log_refused };

	return session_run(&s, e);
}

static int run_aliases(const struct conf_mail *conf, struct err *e)
{
	const struct recipients_rules rules = recipients_rules_of(conf, false);
	struct buf problems;
	int result;

	buf_init(&problems, 2 * 1024 * 1024);
	result = aliases_check(&rules, &problems, e);
	if (result == 0 && problems.len > 0) {
		fputs(buf_str(&problems), stderr);
		result = err_set(e, EX_DATAERR, "%s: what is named is not used", conf->aliases);
	}
	buf_done(&problems);
	return result;
}

static int end_output(struct err *e)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return err_sys(e, EX_IOERR, "standard output can't be written");
	return 0;
}

static int run(const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e)
{
	switch (o->mode) {
	case OPTIONS_SUBMIT:
		return run_submit(o, conf, caller, e);
	case OPTIONS_VERIFY:
		return run_verify(o, conf, caller, e);
	case OPTIONS_SESSION:
		return run_session(o, conf, caller, e);
	case OPTIONS_LIST:
		return mailq_print(o, conf, caller, stdout, e);
	case OPTIONS_FLUSH:
		return queue_run(o, conf, caller, e);
	case OPTIONS_ALIASES:
		return run_aliases(conf, e);
	case OPTIONS_HELP:
		options_help(stdout);
		return end_output(e);
	case OPTIONS_VERSION:
		puts("cenmail " CENMAIL_VERSION CENMAIL_BUILT_IN);
		return end_output(e);
	}
	return 0;
}

static int fail(const struct err *e, uid_t caller, enum log_to log)
{
	bool callers = e->code == EX_USAGE || e->code == EX_DATAERR || e->code == EX_NOUSER;
	const char *hint = callers ? "" : privilege_hint();

	fprintf(stderr, "sendmail: %s%s\n", e->text, hint);
	if (log == LOG_TO_SYSLOG) /* most callers show nobody what we say */
		log_line(callers ? LOG_WARNING : LOG_ERR, "sendmail", "fatal: uid=%u: %s%s",
			(unsigned)caller, e->text, hint);
	return e->code;
}

/* The disk is full or broken, and the queue's -shm, which SQLite maps, tells it in this way where
 * vfs.c could not be told before: what is not committed is rolled back by the next opener. */
static void end_by_bus_error(int number)
{
	static const char text[] = "sendmail: the queue's disk is full or broken: a page of its "
				   "shared memory can't be written; try again\n";

	(void)number;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EX_TEMPFAIL);
}

int main(int argc, char **argv)
{
	struct privilege who = { 0 };
	struct options o;
	struct conf_mail conf;
	struct err e = { EX_SOFTWARE, "" };
	const char *path;
	int result = 0;

	if (privilege_settle(&who, &e) != 0) {
		if (geteuid() == 0) /* what could be wrong is wrong: no syslog with its rights */
			return fail(&e, who.caller, LOG_TO_STDERR);
		log_open(LOG_TO_SYSLOG);
		return fail(&e, who.caller, LOG_TO_SYSLOG);
	}
	prefault();
	signal(SIGBUS, end_by_bus_error);
	log_open(LOG_TO_SYSLOG);
	if (options_parse(argc, argv, &o, &e) != 0)
		return fail(&e, who.caller, LOG_TO_SYSLOG);
	if (o.mode == OPTIONS_HELP || o.mode == OPTIONS_VERSION)
		return run(&o, NULL, who.caller, &e) == 0 ? EX_OK
							  : fail(&e, who.caller, LOG_TO_STDERR);
	path = secure_getenv("CENMAIL_CONF");
	if (conf_mail_read(path ? path : CENMAIL_SYSCONFDIR "/cenmail.conf", &conf, &e) != 0)
		return fail(&e, who.caller, LOG_TO_SYSLOG);
	log_open(conf.log);
	/* -q needs root a moment longer: see queue_run.h. */
	if ((o.mode != OPTIONS_FLUSH && privilege_join_queue(conf.queue, &e) != 0) ||
		run(&o, &conf, who.caller, &e) != 0)
		/* -bv answers a question: nothing has failed that anybody else has to know. */
		result = fail(&e, who.caller, o.mode == OPTIONS_VERIFY ? LOG_TO_STDERR : conf.log);
	conf_mail_done(&conf);
	return result;
}
