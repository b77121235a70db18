/*
 * callers AT_ONCE CALLS FILE PROGRAM ARGUMENT…: calls a program CALLS times, AT_ONCE of them at any
 * moment, each with FILE as its standard input, and says how long all of it took and then, a line
 * each, how long each call took, in microseconds from before the fork to after the wait. A call
 * that does not end with 0 ends it all.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE_MAX = 256 };

struct caller {
	pid_t pid;
	long began;
};

static long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void fail(const char *what, int number)
{
	fprintf(stderr, "callers: %s: %s\n", what, strerror(number));
	exit(1);
}

static void call(struct caller *c, posix_spawn_file_actions_t *files, char **argv)
{
	extern char **environ;

	c->began = now_us();
	int failed = posix_spawn(&c->pid, argv[0], files, NULL, argv, environ);
	if (failed)
		fail(argv[0], failed);
}

static struct caller *ended(struct caller *callers, int n, const char *program)
{
	int status;
	pid_t pid;

	do
		pid = wait(&status);
	while (pid < 0 && errno == EINTR);
	if (pid < 0)
		fail("wait", errno);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "callers: %s ended with status %#x\n", program, (unsigned)status);
		exit(1);
	}
	for (int i = 0; i < n; i++)
		if (callers[i].pid == pid)
			return &callers[i];
	fail("wait", ECHILD);
	return NULL;
}

int main(int argc, char **argv)
{
	struct caller callers[AT_ONCE_MAX];
	posix_spawn_file_actions_t files;
	int at_once, calls, begun = 0, done = 0;
	long began, all, *took;
	struct rusage used;

	if (argc < 5 || (at_once = atoi(argv[1])) < 1 || at_once > AT_ONCE_MAX ||
		(calls = atoi(argv[2])) < at_once || !(took = calloc((size_t)calls, sizeof(*took))))
		return 64;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, argv[3], O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);

	began = now_us();
	while (begun < at_once)
		call(&callers[begun++], &files, argv + 4);
	while (done < calls) {
		struct caller *c = ended(callers, at_once, argv[4]);
		took[done++] = now_us() - c->began;
		c->pid = 0;
		if (begun < calls) {
			call(c, &files, argv + 4);
			begun++;
		}
	}
	all = now_us() - began;

	getrusage(RUSAGE_CHILDREN, &used);
	printf("%ld\n%ld\n", all, used.ru_maxrss);
	for (int i = 0; i < calls; i++)
		printf("%ld\n", took[i]);
	return fflush(stdout) == 0 ? 0 : 1;
}
