/*
 * The command is root's, out of the configuration; what a peer said is in variables of its
 * environment alone, and no part of any command line. A child watches over it: it keeps nothing of
 * the flusher's open, puts what the command says into the log, and kills it when its time is over.
 */
#include "flush/notify.h"

#include "base/clock.h"
#include "store/event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 30000

/* --- the watcher --- */

/* Locks, the queue and connections are the flusher's alone. */
static void close_from(int first)
{
	struct rlimit limit = { .rlim_cur = 1024 };

	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = first; fd < (int)limit.rlim_cur && fd < 65536; fd++)
		close(fd);
}

static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
}

static _Noreturn void run_command(const char *command, char *const *env, int out)
{
	const char *const argv[] = { "sh", "-c", command, NULL };
	int null = open("/dev/null", O_RDWR);

	setsid(); /* all that it starts can be killed at once */
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/") < 0)
		_exit(127);
	close_from(3);
	execve("/bin/sh", (char *const *)argv, env);
	_exit(127);
}

static void log_lines(struct buf *said)
{
	char line[500];

	for (struct span rest = buf_span(said); rest.n > 0;) {
		long end = span_find(rest, '\n');
		size_t n = end < 0 ? rest.n : (size_t)end;

		if (n > 0)
			log_line(LOG_INFO, "notify", "%s",
				log_printable(span_make(rest.p, n), line, sizeof line));
		rest = span_from(rest, n + 1);
	}
}

/* Until the command has closed its output, or its time is over. */
static void listen_to(int fd, int64_t deadline, struct buf *said)
{
	char piece[1024];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (clock_mono_ms() < deadline) {
		ssize_t n;

		if (poll(&p, 1, clock_poll_timeout(deadline)) <= 0)
			continue;
		n = read(fd, piece, sizeof piece);
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		if (n > 0 && said->len + (size_t)n <= NOTIFY_OUTPUT)
			buf_add(said, piece, (size_t)n);
	}
}

/* How it ended, in words; NULL: well. */
static const char *wait_for(pid_t pid, int64_t deadline, char *out, size_t size)
{
	int status = 0;
	bool late = false;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_mono_ms() >= deadline) {
			late = true;
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		poll(NULL, 0, 50);
	}
	kill(-pid, SIGKILL); /* what it left behind */
	if (late)
		snprintf(out, size, "took longer than %d s, and was killed", NOTIFY_LAST_MS / 1000);
	else if (WIFSIGNALED(status))
		snprintf(out, size, "was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		snprintf(out, size, "ended with %d", WEXITSTATUS(status));
	else
		return NULL;
	return out;
}

static _Noreturn void watch(const char *command, char *const *env)
{
	const int64_t deadline = clock_mono_ms() + NOTIFY_LAST_MS;
	struct buf said;
	char how[80];
	int out[2];
	pid_t pid;

	reset_signals();
	if (pipe2(out, O_CLOEXEC) < 0)
		_exit(1);
	pid = fork();
	if (pid == 0)
		run_command(command, env, out[1]);
	close(out[1]);
	buf_init(&said, NOTIFY_OUTPUT);
	if (pid > 0) {
		listen_to(out[0], deadline, &said);
		if (wait_for(pid, deadline, how, sizeof how))
			log_line(LOG_ERR, "notify", "the command of `notify` %s", how);
	}
	log_lines(&said);
	_exit(0);
}

/* The words stand in its environment, made printable. 0 or -1. */
static int run_beside(const struct conf_mail *conf, char *const *env, struct err *e)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return err_sys(e, EX_OSERR, "fork");
	if (pid > 0) {
		/* It leaves at once, so that nobody has to wait for the watcher. */
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return status == 0 ? 0 : err_set(e, EX_OSERR, "no process for it");
	}
	pid = fork();
	if (pid == 0) {
		setsid();
		/* The flusher's connection to the log is one of its descriptors. */
		if (conf->log == LOG_TO_SYSLOG) {
			closelog();
			close_from(0);
			open("/dev/null", O_RDWR);
			if (dup2(0, 1) < 0 || dup2(0, 2) < 0)
				_exit(1);
			log_open(conf->log);
		} else {
			close_from(3);
		}
		watch(conf->notify, env);
	}
	_exit(pid < 0);
}

/* --- the events --- */

#define WORDS 10

static void add_word(char **env, unsigned *n, const char *name, const char *value)
{
	char safe[600];

	log_printable(span_of(value), safe, sizeof safe);
	if (asprintf(&env[*n], "%s=%s", name, safe) < 0)
		env[*n] = NULL;
	else
		(*n)++;
}

static void tell(struct flusher *f, const struct store_event *v, int64_t now)
{
	const bool held = strcmp(v->road, STORE_HELD_ROAD) == 0;
	const char *road = v->road[0] ? v->road : "relay";
	const char *event = held ? v->over ? "released" : "held" : v->over ? "well" : "down";
	char *env[WORDS + 1] = { 0 };
	char since[CLOCK_DATE_SIZE], seconds[24];
	struct err why;
	unsigned n = 0;

	clock_rfc5322(v->began, since);
	snprintf(seconds, sizeof seconds, "%lld",
		(long long)((v->over ? v->ended : now) - v->began) / 1000);
	add_word(env, &n, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
	add_word(env, &n, "LC_ALL", "C");
	add_word(env, &n, "CENMAIL_EVENT", event);
	add_word(env, &n, "CENMAIL_ROAD", held ? "" : road);
	add_word(env, &n, "CENMAIL_REASON", v->reason);
	add_word(env, &n, "CENMAIL_SINCE", since);
	add_word(env, &n, "CENMAIL_SECONDS", seconds);
	add_word(env, &n, "CENMAIL_HOST", f->conf->hostname);
	log_line(LOG_INFO, "notify", "%s%s%s, for %s s: the command of `notify` is run", event,
		held ? "" : " ", held ? "" : road, seconds);
	if (run_beside(f->conf, env, &why) < 0)
		log_line(LOG_ERR, "notify", "the command of `notify` can't be run: %s", why.text);
	while (n > 0)
		free(env[--n]);
}

bool notify_tend(int64_t *next, struct flusher *f)
{
	const int64_t wall = clock_wall_ms();
	struct store_event v;
	struct err why;
	int r;

	if (!f->conf->notify[0] || clock_mono_ms() < *next)
		return false;
	*next = clock_mono_ms() + LOOK_MS;
	r = store_event_held(f->store, wall, &why);
	while (r >= 0 && (r = store_event_next(f->store, wall - NOTIFY_AFTER_MS, &v, &why)) == 1)
		tell(f, &v, wall);
	if (r < 0)
		log_line(LOG_WARNING, "notify", "warning: events wait: %s", why.text);
	return true;
}
