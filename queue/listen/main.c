/*
 * cenmail-listen: takes mail from flushers and gives it to SES in the same conversation. Here:
 * options, configuration and secrets as root, then the owner of the journal's directory for good,
 * the threads, and the end.
 */
#include "base/become.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/ses_password.h"
#include "listen/accept.h"
#include "listen/figures_writer.h"
#include "listen/manager.h"
#include "listen/worker.h"
#include "wire/sasl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ceilings on what is in flight from all sessions together. */
#define FLYING_MESSAGES 4096
#define FLYING_OCTETS   ((uint64_t)256 << 20)
#define LOOK_MS         20 /* how often to look whether the sessions have gone */

/* Descriptors: of a session its socket, its eventfd and the content that is coming; of a worker its
 * socket and what a look-up takes; and of all the rest. */
#define SESSION_FILES 3
#define WORKER_FILES  3
#define OTHER_FILES   48

struct options {
	const char *conf;
	const char *region; /* --smtp-password: for this one */
	bool check, foreground;
};

static const char usage[] =
	"usage: cenmail-listen [-f] [-C FILE] [--check-config]\n"
	"  -C, --config FILE   instead of " CENMAIL_SYSCONFDIR "/listen.conf\n"
	"  -f, --foreground    log to standard error\n"
	"      --check-config  print every setting in force, and exit\n"
	"      --smtp-password REGION  read the secret of an IAM key on standard\n"
	"                      input, print SES's SMTP password of it, and exit\n"
	"      --version       print the version, and exit\n"
	"See cenmail-listen(8).\n";

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct options *o)
{
	enum { CHECK = 256, HELP, PASSWORD, VERSION };
	static const struct option names[] = { { "config", required_argument, NULL, 'C' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "check-config", no_argument, NULL, CHECK },
		{ "smtp-password", required_argument, NULL, PASSWORD },
		{ "help", no_argument, NULL, HELP }, { "version", no_argument, NULL, VERSION },
		{ NULL, 0, NULL, 0 } };
	int c;

	*o = (struct options) { .conf = CENMAIL_SYSCONFDIR "/listen.conf" };
	while ((c = getopt_long(argc, argv, "C:fh", names, NULL)) != -1) {
		switch (c) {
		case 'C':
			o->conf = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case CHECK:
			o->check = true;
			break;
		case PASSWORD:
			o->region = optarg;
			break;
		case 'h':
		case HELP:
			fputs(usage, stdout);
			return EX_OK;
		case VERSION:
			puts("cenmail-listen " CENMAIL_VERSION);
			return EX_OK;
		default:
			fputs(usage, stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return -1;
}

/* What only root may read. */
static int read_secrets(struct listener *l, struct err *e)
{
	if (relay_parse(span_of(l->conf.upstream), &l->upstream, e) < 0 ||
		relay_read_secret(&l->upstream, e) < 0)
		return -1;
	l->upstream_tls = tls_client_context(&l->upstream, e);
	return l->upstream_tls ? 0 : -1;
}

static int give_up_root(struct listener *l, struct err *e)
{
	char path[sizeof l->spool_dir];
	int n = snprintf(path, sizeof path, "%s", l->conf.journal);

	if (n < 0 || (size_t)n >= sizeof path)
		return err_set(e, EX_CONFIG, "%s: too long a path", l->conf.journal);
	snprintf(l->spool_dir, sizeof l->spool_dir, "%s", dirname(path));
	if (become_owner_of(l->spool_dir, e) < 0)
		return -1;
	if (geteuid() == 0)
		log_line(LOG_WARNING, "listen",
			"warning: running as root, as %s belongs to root: chown it to cenmail",
			l->spool_dir);
	umask(077);
	return 0;
}

static void settle_process(void)
{
	struct rlimit r;
	int fd;

	/* 0 to 2 are taken, so that no socket of ours is ever the log. */
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
		;
	if (fd > 2)
		close(fd);
	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	(void)mallopt(M_ARENA_MAX, 2); /* hundreds of threads, little work: one heap will do */
}

/* Where descriptors are short it is sessions that there are fewer of: each that could be taken
 * beyond that would keep a worker from SES. */
static void make_room(struct listener *l)
{
	uint64_t rest = WORKER_FILES * l->conf.upstream_connections + OTHER_FILES;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur > UINT32_MAX)
		r.rlim_cur = UINT32_MAX;
	if (rest > r.rlim_cur / 2)
		rest = r.rlim_cur / 2;
	l->sessions_room = (unsigned)((r.rlim_cur - rest) / SESSION_FILES);
	if (l->sessions_room < l->conf.sessions_max)
		log_line(LOG_WARNING, "listen",
			"warning: %llu descriptors are enough for %u sessions, not for "
			"sessions_max",
			(unsigned long long)r.rlim_cur, l->sessions_room);
}

static int catch_signals(struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return err_set(e, EX_OSERR, "signals can't be blocked");
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, EX_OSERR, "signalfd") : fd;
}

/* Lets what is under way finish. False: the time was up first. */
static bool finish(struct listener *l, struct worker **workers, unsigned n)
{
	int64_t deadline = clock_mono_ms() + STOP_PATIENCE_MS;
	bool all = true;

	stop_say(&l->stop);
	while (atomic_load(&l->sessions) > 0 && clock_mono_ms() < deadline)
		(void)poll(NULL, 0, LOOK_MS);
	pool_close(l->pool);
	for (unsigned i = 0; i < n; i++)
		all = worker_join(workers[i], deadline) && all;
	return all && atomic_load(&l->sessions) == 0;
}

/* New terms, or the old ones where the new are no good. */
static void reload(struct listener *l)
{
	struct terms *t;
	struct err e = { 0 };

	log_line(LOG_INFO, "listen", "reloading %s", l->conf_path);
	if (terms_read(&t, l->conf_path, l->terms.terms, &e) < 0) {
		log_line(LOG_ERR, "listen", "reload failed, all stays as it was: %s", e.text);
		return;
	}
	const char *later;
	for (unsigned at = 0; (later = conf_listen_restart(&l->conf, &t->conf, &at));)
		log_line(LOG_WARNING, "listen", "warning: %s: a change of it takes a restart",
			later);
	pace_set(&l->pace, t->conf.rate, t->conf.quota, clock_mono_ms());
	terms_put(&l->terms, t);
	log_line(LOG_INFO, "listen", "reloaded");
}

static int run(struct listener *l, struct accepting *a, int signal_fd, struct err *e)
{
	struct figures_writer *writer = figures_writer_start(l, e);
	unsigned n = 0, most = (unsigned)l->conf.upstream_connections;
	struct worker **workers = calloc(most, sizeof *workers);
	int r = !writer ? -1 : workers ? 0 : err_set(e, EX_OSERR, "out of memory");

	while (r == 0 && n < most) {
		workers[n] = worker_start(l, e);
		if (workers[n])
			n++;
		else
			r = -1;
	}
	if (r == 0) {
		accept_log(a);
		log_line(LOG_INFO, "listen", "ready: upstream %s, %u connections", l->upstream.text,
			most);
		int signal;
		manager_ready();
		while ((signal = accept_loop(a, l, signal_fd)) == SIGHUP) {
			manager_reloading();
			reload(l);
			manager_ready();
		}
		manager_stopping();
		log_line(LOG_INFO, "listen", "stopping on signal %d", signal);
	}
	accept_close(a);
	if (!finish(l, workers, n)) {
		/* What still runs must not see the ground taken away. */
		log_line(LOG_WARNING, "listen", "warning: stopped with transactions under way");
		_exit(EX_OK);
	}
	figures_writer_join(writer);
	free(workers);
	return r;
}

static int start(struct listener *l, struct accepting *a, struct err *e)
{
	int signal_fd = catch_signals(e); /* before there are threads: all inherit it */

	if (signal_fd < 0)
		return -1;
	int r = give_up_root(l, e);
	if (r == 0)
		r = sasl_start(true, true, e);
	if (r == 0)
		r = journal_open(&l->journal,
			&(struct journal_options) {
				l->conf.journal, l->conf.keep_journal, &l->pace },
			e);
	if (r == 0) {
		l->pool = pool_new(
			FLYING_MESSAGES, FLYING_OCTETS, (unsigned)l->conf.upstream_connections);
		r = l->pool ? run(l, a, signal_fd, e) : err_set(e, EX_OSERR, "out of memory");
	}
	close(signal_fd);
	return r;
}

static int make(struct listener *l, struct err *e)
{
	uplink_init(&l->uplink);
	pace_init(&l->pace, l->conf.rate, l->conf.quota, clock_mono_ms());
	terms_now_init(&l->terms);
	l->guess = guess_new();
	l->visitors = visitors_new();
	if (!l->guess || !l->visitors)
		return err_set(e, EX_OSERR, "out of memory");
	return stop_init(&l->stop, e);
}

static void unmake(struct listener *l)
{
	journal_close(l->journal);
	pool_free(l->pool);
	visitors_free(l->visitors);
	guess_free(l->guess);
	terms_now_done(&l->terms);
	pace_done(&l->pace);
	uplink_done(&l->uplink);
	stop_done(&l->stop);
	tls_context_unref(l->upstream_tls);
	relay_done(&l->upstream);
	conf_listen_done(&l->conf);
}

static int listen_main(const struct options *o, struct err *e)
{
	static struct listener l; /* zero */
	struct accepting a = { .n = 0 };

	if (conf_listen_read(o->conf, &l.conf, e) < 0)
		return -1;
	if (o->check) {
		conf_listen_dump(&l.conf, stdout);
		conf_listen_done(&l.conf);
		return 0;
	}
	l.conf_path = o->conf;
	log_open(o->foreground ? LOG_TO_STDERR : l.conf.log);
	settle_process();
	make_room(&l);
	int r = make(&l, e);
	if (r == 0)
		r = terms_read(&l.terms.terms, o->conf, NULL, e);
	if (r == 0)
		r = read_secrets(&l, e);
	if (r == 0)
		r = accept_open(&a, &l.conf, e);
	if (r == 0)
		r = start(&l, &a, e);
	accept_close(&a);
	unmake(&l);
	return r;
}

/* By standard input, as arguments are for all to see. */
static int print_password(const char *region, struct err *e)
{
	char line[256], password[SES_PASSWORD_SIZE];

	if (!fgets(line, sizeof line, stdin))
		return err_set(e, EX_NOINPUT, "no secret on standard input");
	line[strcspn(line, "\r\n")] = '\0';
	int r = ses_password(span_of(region), span_of(line), password, e);
	if (r == 0)
		puts(password);
	wipe(line, sizeof line);
	wipe(password, sizeof password);
	return r;
}

int main(int argc, char **argv)
{
	struct options o;
	struct err e = { 0 };
	int code = read_options(argc, argv, &o);

	if (code >= 0)
		return code;
	if ((o.region ? print_password(o.region, &e) : listen_main(&o, &e)) == 0)
		return EX_OK;
	fprintf(stderr, "cenmail-listen: %s\n", e.text);
	if (!o.check && !o.foreground &&
		!o.region) /* whoever started it may not look at standard error */
		syslog(LOG_MAIL | LOG_ERR, "fatal: %s", e.text);
	return e.code ? e.code : EX_SOFTWARE;
}
