/*
 * cenmail-flush: started by cron; pushes what is due to the relay and writes the verdicts back.
 * Parses, reads its configuration and secrets as root, becomes the owner of the queue, takes its
 * turn, runs, reports.
 */
#include "flush/dry.h"
#include "flush/flusher.h"
#include "flush/flying.h"
#include "flush/progress.h"
#include "flush/turn.h"
#include "flush/upkeep.h"

#include "base/become.h"
#include "base/clock.h"
#include "wire/sasl.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct arguments {
	const char *conf;
	bool verbose, once, init, check, vacuum, dry;
};

static const char usage[] =
	"usage: cenmail-flush [-v] [--once] [-C FILE]   send what is due\n"
	"       cenmail-flush --init [-C FILE]   create the queue, or bring it up to date\n"
	"       cenmail-flush --vacuum [-C FILE]   "
	"remove what is old, and give its room back, now\n"
	"       cenmail-flush --dry-run | --check-config [-C FILE]\n"
	"  -C FILE         the configuration; default CENMAIL_CONF or " CENMAIL_SYSCONFDIR
	"/cenmail.conf\n"
	"  -v              say at the end what was done, and on a terminal how far it is\n"
	"  --once          go when nothing is due, and at once where a flusher runs already\n"
	"  --init          create the queue that the configuration names, or migrate it\n"
	"  --vacuum        remove what is no longer kept, and make the queue's file as small as it "
	"can be\n"
	"  --dry-run       list what would be sent now and how, and what waits and why; send "
	"nothing\n"
	"  --check-config  print every key with its value in force\n"
	"  --help, --version\n";

/* 1: go on; 0: done (help, version); -1: usage. */
static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{ "init", no_argument, NULL, 'i' },
		{ "once", no_argument, NULL, 'o' },
		{ "check-config", no_argument, NULL, 'c' },
		{ "vacuum", no_argument, NULL, 'a' },
		{ "dry-run", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	*a = (struct arguments) { .conf = secure_getenv("CENMAIL_CONF") };
	while ((c = getopt_long(argc, argv, "C:v", longs, NULL)) != -1) {
		if (c == 'C')
			a->conf = optarg;
		else if (c == 'v')
			a->verbose = true;
		else if (c == 'i')
			a->init = true;
		else if (c == 'o')
			a->once = true;
		else if (c == 'c')
			a->check = true;
		else if (c == 'a')
			a->vacuum = true;
		else if (c == 'd')
			a->dry = true;
		else if (c == 'h')
			return fputs(usage, stdout) < 0 ? -1 : 0;
		else if (c == 'V')
			return puts("cenmail-flush " CENMAIL_VERSION) < 0 ? -1 : 0;
		else
			return -1;
	}
	if (!a->conf || !a->conf[0])
		a->conf = CENMAIL_SYSCONFDIR "/cenmail.conf";
	return optind == argc ? 1 : -1;
}

static int fail(const struct err *e, bool logged)
{
	fprintf(stderr, "cenmail-flush: %s\n", e->text);
	if (logged)
		log_line(LOG_ERR, "flush", "%s", e->text);
	return e->code ? e->code : EX_SOFTWARE;
}

static int become_owner(const char *queue, struct err *e)
{
	struct buf dir;
	const char *slash = strrchr(queue, '/');
	int result;

	buf_init(&dir, 4096);
	buf_add(&dir, queue, slash ? (size_t)(slash - queue) : 0);
	if (dir.len == 0)
		buf_add_str(&dir, slash ? "/" : ".");
	result = become_owner_of(buf_str(&dir), e);
	buf_done(&dir);
	return result;
}

static int init(const struct conf_mail *c, struct err *e)
{
	int64_t from, to;

	if (store_init(c->queue, &from, &to, e) < 0)
		return -1;
	if (from == 0)
		printf("%s: created\n", c->queue);
	else if (from == to)
		printf("%s: is there, and up to date\n", c->queue);
	else
		printf("%s: brought from version %lld to %lld\n", c->queue, (long long)from,
			(long long)to);
	return 0;
}

static int add_headers(struct flusher *f, struct err *e)
{
	const struct conf_list *h = &f->conf->header;

	buf_init(&f->headers, 65536);
	for (unsigned i = 0; i < h->n; i++)
		buf_printf(&f->headers, "%s: %s\r\n", h->v[i].first, h->v[i].rest);
	return f->headers.failed ? err_set(e, EX_CONFIG, "header: more than 64 KB of them") : 0;
}

static void say_figures(const struct flush_stats *s, int64_t took_ms)
{
	printf("flushed %llu messages (%llu recipients): %llu sent, %llu deferred, %llu failed, "
	       "%llu held; %llu connections, %llu bytes out, %llu bytes in, %.3f s\n",
		(unsigned long long)s->messages, (unsigned long long)s->recipients,
		(unsigned long long)s->sent, (unsigned long long)s->deferred,
		(unsigned long long)s->failed, (unsigned long long)s->held,
		(unsigned long long)s->connections, (unsigned long long)s->out,
		(unsigned long long)s->in, (double)took_ms / 1000);
}

static void say_who_runs(const char *queue)
{
	char who[HOLDER_NAME_MAX];

	store_lock_holder(queue, "flush.lock", who);
	printf("another flusher runs, %s: it has been woken by what changed\n", who);
}

static int flush(struct flusher *f, const struct arguments *a, int signal_fd, struct err *e)
{
	const char *queue = f->conf->queue;
	int turn_fd = -1, result = -1;
	int64_t began;
	int got;

	if (sasl_start(true, false, e) < 0 || route_open_all(f, e) < 0 || add_headers(f, e) < 0 ||
		!(f->files = turn_files_new(a->conf, f, e)) || become_owner(queue, e) < 0 ||
		settle_open(f, e) < 0)
		goto out;
	if (a->dry) {
		result = dry_run(f, e);
		goto out;
	}
	if (a->verbose)
		f->progress = progress_new(STDOUT_FILENO);
	progress_say(f->progress, "waits for the flusher that runs");
	f->linger = f->conf->linger > 0;
	got = turn_take(f, a->once, signal_fd, &turn_fd, e);
	if (got <= 0) {
		if (got == 0 && a->verbose)
			say_who_runs(queue);
		result = got;
		goto out;
	}
	if (store_open(&f->store, queue, STORE_FLUSH, f->conf->lock_wait, e) < 0)
		goto out;
	if (flying_open(f, e) < 0 || road_read(f, e) < 0)
		goto out;
	road_forget(f);
	began = clock_mono_ms();
	result = flusher_run(f, signal_fd, e);
	road_write(f, true, clock_mono_ms());
	route_close_all(f);
	progress_free(f->progress);
	f->progress = NULL;
	if (a->verbose && result == 0)
		say_figures(&f->stats, clock_mono_ms() - began);
out:
	progress_free(f->progress);
	route_close_all(f);
	settle_close(f);
	flying_close(f);
	store_close(f->store);
	buf_done(&f->headers);
	idset_done(&f->in_hand);
	idset_done(&f->spared);
	turn_files_free(f->files);
	if (turn_fd >= 0)
		close(turn_fd);
	return result;
}

int main(int argc, char **argv)
{
	struct arguments a;
	struct conf_mail conf;
	struct flusher f = { .conf = &conf };
	struct err e = { 0 };
	sigset_t set;
	int go = parse(argc, argv, &a);
	int result;

	if (go < 0)
		fputs(usage, stderr);
	if (go <= 0)
		return go < 0 ? EX_USAGE : EX_OK;
	if (conf_mail_read(a.conf, &conf, &e) < 0)
		return fail(&e, false);
	log_open(conf.log);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (a.check) {
		conf_mail_dump(&conf, stdout);
		result = 0;
	} else if (a.init) {
		result = become_owner(conf.queue, &e) < 0 ? -1 : init(&conf, &e);
	} else if (a.vacuum) {
		sigprocmask(SIG_UNBLOCK, &set, NULL); /* it may be ended at any moment */
		result = become_owner(conf.queue, &e) < 0 ? -1 : upkeep_all(&conf, &e);
	} else {
		if (a.once)
			conf.linger = 0;
		if (a.dry)
			sigprocmask(SIG_UNBLOCK, &set, NULL);
		int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

		result = signals < 0 ? err_sys(&e, EX_OSERR, "signalfd")
				     : flush(&f, &a, signals, &e);
		if (signals >= 0)
			close(signals);
	}
	if (result < 0)
		result = fail(&e, conf.log == LOG_TO_SYSLOG);
	conf_mail_done(&conf);
	return result;
}
