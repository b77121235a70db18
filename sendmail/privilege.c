/*
 * The start-up ritual of a program that anybody may run with an environment of his choice. Nothing
 * here may read the arguments, the environment's values, or a file.
 */
#include "sendmail/privilege.h"

#include "base/become.h"
#include "sendmail/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define TIMER_SLACK_NS 50000UL /* the kernel's own default */
#define FAREWELL_S     5       /* to say why nothing was done */

/* A descriptor below 3 that is closed would be given to the database by the next open, and then be
 * written to as standard error. Input that was closed stays unreadable: it is no empty message. */
static int open_standard_descriptors(struct err *e)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		int got = open("/dev/null", O_WRONLY);
		if (got != fd)
			return err_sys(e, EX_OSERR,
				"descriptor %d is closed and /dev/null can't replace it", fd);
	}
	return 0;
}

/* Timers, alarm and signal state are inherited through exec. Hang-up, interrupt and quit stay
 * ignored where they are: nohup(1), and a shell's jobs in the background. */
static void clear_signals(void)
{
	static const int ignored[] = { SIGXFSZ, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU };
	static const int usual[] = { SIGALRM, SIGVTALRM, SIGPROF, SIGCHLD, SIGXCPU, SIGTERM };
	static const struct itimerval off;
	sigset_t none;

	setitimer(ITIMER_REAL, &off, NULL); /* alarm(2) is the same timer */
	setitimer(ITIMER_VIRTUAL, &off, NULL);
	setitimer(ITIMER_PROF, &off, NULL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		signal(usual[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What libraries read from the environment (SQLITE_TMPDIR, NSS and locale paths) is not the
 * caller's to choose. TZ names a file; CENMAIL_CONF is read by secure_getenv alone. */
static int empty_environment(bool secure, struct err *e)
{
	const char *conf = secure ? NULL : secure_getenv("CENMAIL_CONF");
	const char *tz = secure ? NULL : secure_getenv("TZ");

	if (clearenv() != 0 || setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) != 0 ||
		(conf && setenv("CENMAIL_CONF", conf, 1) != 0) || (tz && setenv("TZ", tz, 1) != 0))
		return err_sys(e, EX_TEMPFAIL, "can't set the environment");
	return 0;
}

static void forbid_core(bool secure)
{
	static const struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (secure)
		prctl(PR_SET_DUMPABLE, 0);
}

static void raise_limit(int what, rlim_t want)
{
	struct rlimit l = { want, want };
	if (setrlimit(what, &l) == 0 || getrlimit(what, &l) != 0)
		return; /* a container's root may not raise the hard limit: what it has must do */
	l.rlim_cur = l.rlim_max;
	setrlimit(what, &l);
}

/* A caller may have lowered what the process that writes the queue needs. */
static void reset_limits(void)
{
	static const int unlimited[] = { RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_DATA,
		RLIMIT_RSS, RLIMIT_NPROC };

	for (size_t i = 0; i < sizeof(unlimited) / sizeof(unlimited[0]); i++)
		raise_limit(unlimited[i], RLIM_INFINITY);
	raise_limit(RLIMIT_NOFILE, 1024);
	raise_limit(RLIMIT_STACK, 8 * 1024 * 1024);
}

/* Whoever waits for the lock waits as long as the slowest holder takes: one at the lowest
 * priority, tied to the one processor that its caller keeps busy, or with timers that may be late
 * by hours, would hold up everybody. */
static void reset_priority(void)
{
	static const struct sched_param zero;
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	sched_setscheduler(0, SCHED_OTHER, &zero);
	setpriority(PRIO_PROCESS, 0, 0);
#ifdef SYS_ioprio_set
	syscall(SYS_ioprio_set, 1, 0, 0);
#endif
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
}

/* A process at 1000 is the first to be killed when memory is short. */
static void reset_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t written = write(fd, "0", 1);
	(void)written; /* some containers forbid it, and it is no great loss */
	close(fd);
}

static int become_spool_owner(struct err *e)
{
	struct stat st;

	if (lstat(CENMAIL_SPOOLDIR, &st) != 0)
		return err_sys(
			e, EX_CONFIG, CENMAIL_SPOOLDIR ": the queue's directory; install it again");
	if (!S_ISDIR(st.st_mode) || st.st_uid == 0)
		return err_set(e, EX_CONFIG,
			CENMAIL_SPOOLDIR
			": is no directory, or root's; it has to belong to the user of "
			"the queue: install it again");
	return become(st.st_uid, st.st_gid, e);
}

/* Set-user-ID root, started by somebody else. */
static int drop_root(uid_t caller, struct err *e)
{
	if (become_spool_owner(e) != 0)
		return -1;
#ifdef SYS_close_range
	syscall(SYS_close_range, 3U, ~0U, 0U);
#endif
	if (chdir("/") != 0)
		return err_sys(e, EX_OSERR, "/");
	return slots_take(CENMAIL_SPOOLDIR, caller, e);
}

static int settle(uid_t real, uid_t effective, bool secure, struct err *e)
{
	if (effective == 0) {
		/* While the real uid is the caller's, he may lower the priority again behind our
		 * back. */
		if (setresuid(0, 0, 0) != 0)
			return err_sys(
				e, EX_OSERR, "can't leave the caller's uid %u", (unsigned)real);
		reset_limits();
		reset_priority();
	}
	if (effective != real)
		reset_oom_score();
	if (open_standard_descriptors(e) != 0)
		return -1;
	clear_signals();
	umask(077);
	forbid_core(secure);
	if (effective != real && effective != 0)
		return err_set(e, EX_CONFIG,
			"installed set-user-ID to uid %u: it has to be owned by root, mode 4755, "
			"or without the bit",
			(unsigned)effective);
	if (effective != real && drop_root(real, e) != 0)
		return -1;
	if (effective == real && getgid() != getegid() &&
		setresgid(getgid(), getgid(), getgid()) != 0)
		return err_sys(e, EX_OSERR, "can't give up the set-group-ID group");
	forbid_core(secure); /* a change of ids makes a process dumpable again */
	return empty_environment(secure, e);
}

int privilege_settle(struct privilege *ret, struct err *e)
{
	uid_t real = getuid(), effective = geteuid();
	bool secure = getauxval(AT_SECURE) != 0 || real != effective || getgid() != getegid();

	*ret = (struct privilege) { .caller = real, .secure = secure };
	if (settle(real, effective, secure, e) != 0) {
		/* Who is refused holds no slot: he must not stay on by reading slowly. */
		if (secure)
			alarm(FAREWELL_S);
		return -1;
	}
	return 0;
}

const char *privilege_hint(void)
{
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || geteuid() == 0)
		return "";
	return " (this process may not gain rights, by no_new_privs, which systemd's "
	       "NoNewPrivileges= "
	       "sets: so the set-user-ID bit has no effect)";
}

int privilege_join_queue(const char *queue, struct err *e)
{
	char dir[4096];
	struct stat st;
	const char *slash = strrchr(queue, '/');

	if (geteuid() != 0 || !slash || (size_t)(slash - queue) + 1 >= sizeof(dir))
		return 0;
	memcpy(dir, queue, (size_t)(slash - queue) + 1);
	dir[slash - queue + 1] = '\0';
	if (stat(dir, &st) != 0 || st.st_uid == 0)
		return 0;
	return become(st.st_uid, st.st_gid, e);
}
