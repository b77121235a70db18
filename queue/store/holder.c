/*
 * /proc/locks, a line a lock:
 *
 *     1: FLOCK  ADVISORY  WRITE 4711 08:01:131077 0 EOF
 *     2: POSIX  ADVISORY  WRITE 4712 08:01:131079 120 120
 *     2: -> POSIX …                                          somebody who waits
 */
#include "store/holder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

static bool is_it(const char *line, const struct stat *file, enum holder_kind kind, uint64_t octet,
	long *ret_pid)
{
	char type[16], mode[16], end[24];
	unsigned major_no, minor_no;
	unsigned long inode;
	unsigned long long first, last;

	if (sscanf(line, "%*u: %15s %*s %15s %ld %x:%x:%lu %llu %23s", type, mode, ret_pid,
		    &major_no, &minor_no, &inode, &first, end) != 8)
		return false;
	if (inode != file->st_ino || makedev(major_no, minor_no) != file->st_dev || *ret_pid <= 0)
		return false;
	if (kind == HOLDER_FLOCK)
		return strcmp(type, "FLOCK") == 0;
	if (strcmp(type, "POSIX") != 0 || strcmp(mode, "WRITE") != 0 || octet < first)
		return false;
	return strcmp(end, "EOF") == 0 || (sscanf(end, "%llu", &last) == 1 && octet <= last);
}

static long find(const struct stat *file, enum holder_kind kind, uint64_t octet)
{
	char line[256];
	long pid = 0, found = 0;
	FILE *f = fopen("/proc/locks", "re");

	if (!f)
		return 0;
	while (!found && fgets(line, sizeof line, f))
		if (is_it(line, file, kind, octet, &pid))
			found = pid;
	fclose(f);
	return found;
}

/* `PID (NAME) STATE …`, and a name may have blanks and brackets. False: it can't be read. */
static bool read_stat(long pid, char comm[32], bool *ret_stopped)
{
	char path[64], line[128] = "", *first, *last;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	(void)!fgets(line, sizeof line, f);
	fclose(f);
	first = strchr(line, '(');
	last = strrchr(line, ')');
	if (!first || !last || last < first)
		return true;
	snprintf(comm, 32, "%.*s", (int)(last - first - 1), first + 1);
	*ret_stopped = last[1] == ' ' && (last[2] == 'T' || last[2] == 't');
	return true;
}

bool holder_name(
	const struct stat *file, enum holder_kind kind, uint64_t octet, char out[HOLDER_NAME_MAX])
{
	long pid = find(file, kind, octet);
	char comm[32] = "?";
	bool stopped = false;

	snprintf(out, HOLDER_NAME_MAX, "another process");
	if (pid == 0)
		return false;
	if (read_stat(pid, comm, &stopped) || errno != ENOENT)
		snprintf(out, HOLDER_NAME_MAX, "process %ld (%s%s)", pid, comm,
			stopped ? ", stopped" : "");
	else /* the lock is the open file's, and lives on in its children */
		snprintf(out, HOLDER_NAME_MAX, "a child of process %ld, which has ended,", pid);
	return true;
}
