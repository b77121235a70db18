/*
 * The one place where this program starts another: cenmail-flush, by the path that was compiled in,
 * with the few environment variables that privilege_settle has left.
 */
#include "sendmail/queue_run.h"

#include "base/clock.h"
#include "base/log.h"
#include "sendmail/privilege.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct outcome_of_child { /* through the pipe */
	int result;
	unsigned due;
	struct err err;
};

static int check_caller(const struct conf_mail *conf, uid_t caller, struct err *e)
{
	if (geteuid() == 0)
		return 0;
	if (caller != geteuid())
		return err_set(e, EX_NOPERM, "-q is for root and the owner of the queue");
	if (access(conf->queue, R_OK | W_OK) != 0 && errno == EACCES)
		return err_set(e, EX_NOPERM, "-q: you may not write %s", conf->queue);
	return 0;
}

static bool chosen(void *arg, const struct store_listed *l)
{
	return options_chosen(arg, l->message, l->sender, l->address);
}

static int make_due(
	const struct options *o, const struct conf_mail *conf, unsigned *ret_n, struct err *e)
{
	struct store *store;
	int result;

	if (store_open(&store, conf->queue, STORE_HAND, conf->lock_wait, e) != 0)
		return -1;
	result = store_make_due(store, clock_wall_ms(), chosen, (void *)o, ret_n, e);
	store_close(store);
	return result;
}

/* Root's child: no file of the queue may become root's, and root does not open what its owner could
 * have prepared. */
static void child(const struct options *o, const struct conf_mail *conf, int fd)
{
	struct outcome_of_child out = { .result = -1 };

	if (privilege_join_queue(conf->queue, &out.err) == 0)
		out.result = make_due(o, conf, &out.due, &out.err);
	_exit(write(fd, &out, sizeof(out)) == sizeof(out) ? EX_OK : EX_OSERR);
}

static int make_due_as_owner(
	const struct options *o, const struct conf_mail *conf, unsigned *ret_n, struct err *e)
{
	struct outcome_of_child out;
	int fds[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_sys(e, EX_OSERR, "pipe");
	pid = fork();
	if (pid == 0)
		child(o, conf, fds[1]);
	close(fds[1]);
	do {
		n = pid < 0 ? -1 : read(fds[0], &out, sizeof(out));
	} while (n < 0 && pid > 0 && errno == EINTR);
	close(fds[0]);
	if (pid < 0)
		return err_sys(e, EX_OSERR, "fork");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(out))
		return err_set(e, EX_OSERR, "the process that changes the queue died (%d)", status);
	if (out.result != 0)
		return err_set(e, out.err.code, "%s", out.err.text);
	*ret_n = out.due;
	return 0;
}

static int start_flusher(const struct options *o, struct err *e)
{
	static const int ours[] = { SIGPIPE, SIGXFSZ, SIGTSTP, SIGTTIN, SIGTTOU };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		signal(ours[i], SIG_DFL);
	execl(CENMAIL_FLUSH, "cenmail-flush", "--once", o->verbose ? "-v" : (char *)NULL,
		(char *)NULL);
	return err_sys(e, EX_OSERR, CENMAIL_FLUSH ": can't be started");
}

int queue_run(const struct options *o, const struct conf_mail *conf, uid_t caller, struct err *e)
{
	unsigned due = 0;

	if (check_caller(conf, caller, e) != 0 ||
		(geteuid() == 0 ? make_due_as_owner(o, conf, &due, e)
				: make_due(o, conf, &due, e)) != 0)
		return -1;
	log_line(LOG_INFO, "sendmail", "uid=%u: -q, %u recipients became due", (unsigned)caller,
		due);
	if (o->verbose)
		fprintf(stderr, "sendmail: %u recipients that waited are due now\n", due);
	return start_flusher(o, e);
}
