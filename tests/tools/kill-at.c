/*
 * kill-at N UID PROGRAM ARGUMENT…: starts a program as UID, traced by root (so that a set-user-ID
 * bit is heeded), and kills it with SIGKILL as it enters its Nth system call; 0: never. Says how
 * many system calls it entered, and how it ended: "CALLS exit CODE" or "CALLS signal NUMBER".
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Waits for `go` to be closed: by then it is traced. */
static void run_traced(uid_t uid, char **argv, const int go[2])
{
	char c;

	close(go[1]);
	if (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		fail("can't become its caller");
	if (read(go[0], &c, 1) != 0)
		fail("pipe");
	execv(argv[0], argv);
	fail(argv[0]);
}

/* Goes on until the next system call is entered or left; a signal on the way is passed on. Whether
 * there was one: false, the process has ended. */
static int next_stop(pid_t pid, int *status)
{
	int sig = 0;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, sig) != 0 && errno != ESRCH) /* it is dying */
			fail("PTRACE_SYSCALL");
		if (waitpid(pid, status, 0) != pid)
			fail("waitpid");
		if (!WIFSTOPPED(*status))
			return 0;
		if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
			return 1;
		sig = WSTOPSIG(*status) == SIGTRAP ? 0 : WSTOPSIG(*status);
	}
}

int main(int argc, char **argv)
{
	long at, calls = 0;
	int status = 0, entering = 0; /* the first stop is the end of exec's own call */
	int go[2];
	pid_t pid;

	if (argc < 4)
		return 64;
	at = strtol(argv[1], NULL, 10);
	if (pipe2(go, O_CLOEXEC) != 0)
		fail("pipe");
	pid = fork();
	if (pid == 0)
		run_traced((uid_t)strtoul(argv[2], NULL, 10), argv + 3, go);
	/* Not PTRACE_TRACEME: the kernel would take it for traced by its caller. */
	if (pid < 0 || ptrace(PTRACE_SEIZE, pid, NULL,
			       PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC) != 0)
		fail("PTRACE_SEIZE");
	close(go[0]);
	close(go[1]);
	if (waitpid(pid, &status, 0) != pid || status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		fail("exec");

	while (next_stop(pid, &status)) {
		calls += entering;
		if (entering && calls == at)
			kill(pid, SIGKILL);
		entering = !entering;
	}
	if (WIFSIGNALED(status))
		printf("%ld signal %d\n", calls, WTERMSIG(status));
	else
		printf("%ld exit %d\n", calls, WEXITSTATUS(status));
	return 0;
}
