/*
 * The script of faults: which answer, or misbehaviour, comes in place of SES's own. The file is
 * looked at before every decision, so that a test can change it while the stand-in runs; a changed
 * file begins to count anew. The format is in ses-stand-in.c.
 */
#ifndef SES_FAULTS_H
#define SES_FAULTS_H

#include <fnmatch.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FAULTS_MAX 64

struct fault {
	char step[16];
	char pattern[128]; /* "": any address */
	unsigned long skip, count;
	char what[512]; /* the reply, or the action */
};

static struct {
	pthread_mutex_t lock;
	struct stat seen;
	struct fault v[FAULTS_MAX];
	unsigned n;
} faults = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* `STEP [<PATTERN>] [SKIP+]COUNT WHAT`; false when the line is no such thing. */
static bool fault_parse(const char *line, struct fault *f)
{
	int at = 0, more = 0;
	char count[32];
	memset(f, 0, sizeof *f);
	if (sscanf(line, "%15s %n", f->step, &at) != 1)
		return false;
	line += at;
	if (*line == '<') {
		if (sscanf(line, "<%127[^>]> %n", f->pattern, &more) != 1)
			return false;
		line += more;
	}
	if (sscanf(line, "%31s %511[^\n]", count, f->what) != 2)
		return false;
	char *plus = strchr(count, '+');
	if (plus)
		f->skip = strtoul(count, NULL, 10);
	const char *n = plus ? plus + 1 : count;
	f->count = *n == '*' ? ~0ul : strtoul(n, NULL, 10);
	return true;
}

static void faults_read(const char *path)
{
	struct stat st;
	char line[1024];
	if (stat(path, &st) != 0) {
		faults.n = 0;
		memset(&faults.seen, 0, sizeof faults.seen);
		return;
	}
	if (st.st_ino == faults.seen.st_ino && st.st_size == faults.seen.st_size &&
		st.st_mtim.tv_sec == faults.seen.st_mtim.tv_sec &&
		st.st_mtim.tv_nsec == faults.seen.st_mtim.tv_nsec)
		return;
	FILE *in = fopen(path, "re");
	if (!in)
		return;
	faults.seen = st;
	faults.n = 0;
	while (fgets(line, sizeof line, in)) {
		if (line[0] == '\n' || line[0] == '#')
			continue;
		if (faults.n == FAULTS_MAX || !fault_parse(line, &faults.v[faults.n])) {
			fprintf(stderr, "ses-stand-in: bad line in %s: %s", path, line);
			exit(1); /* a fault that is not injected would make a test worthless */
		}
		faults.n++;
	}
	fclose(in);
}

/* Whether a fault is due at this step; address may be "". Copies its action to `what`. */
static bool fault_due(
	const char *path, const char *step, const char *address, char *what, size_t size)
{
	bool due = false;
	if (!path)
		return false;
	pthread_mutex_lock(&faults.lock);
	faults_read(path);
	for (unsigned i = 0; i < faults.n && !due; i++) {
		struct fault *f = &faults.v[i];
		if (strcmp(f->step, step) != 0 || !f->count)
			continue;
		if (f->pattern[0] && fnmatch(f->pattern, address, FNM_CASEFOLD) != 0)
			continue;
		if (f->skip) {
			f->skip--;
			continue;
		}
		if (f->count != ~0ul)
			f->count--;
		snprintf(what, size, "%s", f->what);
		due = true;
	}
	pthread_mutex_unlock(&faults.lock);
	return due;
}

#endif
