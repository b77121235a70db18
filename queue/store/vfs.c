/*
 * SQLite opens a WAL with leave to create it, and as it can't know whether it was there, syncs the
 * directory beside the first commit: in each sendmail, under the lock. Our WAL is there since
 * --init and stays (rule 3). So it is opened without that leave. When it is missing (a bare shell
 * was the last to close) it is made, and the directory synced at once: whoever makes it may only
 * read, and the next, who commits, finds it there.
 */
#include "store/vfs.h"

#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static sqlite3_vfs *original, ours;

/* What can't be synced is no failure here, as it is none to SQLite. */
static void sync_directory(const char *name)
{
	char path[PATH_MAX];
	const char *slash = strrchr(name, '/');
	int n = slash ? (int)(slash - name) + 1 : 2;

	if (snprintf(path, sizeof path, "%.*s", n, slash ? name : "./") >= (int)sizeof path)
		return;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	int rc;

	if (!(flags & SQLITE_OPEN_WAL))
		return original->xOpen(vfs, name, file, flags, ret);
	rc = original->xOpen(vfs, name, file, flags & ~SQLITE_OPEN_CREATE, ret);
	if (rc == SQLITE_OK)
		return rc;
	rc = original->xOpen(vfs, name, file, flags, ret);
	if (rc == SQLITE_OK)
		sync_directory(name);
	return rc;
}

const char *vfs_name(void)
{
	if (original)
		return ours.zName;
	original = sqlite3_vfs_find(NULL);
	if (!original)
		return NULL;
	ours = *original;
	ours.zName = "cenmail";
	ours.xOpen = open_file;
	if (sqlite3_vfs_register(&ours, 0) == SQLITE_OK)
		return ours.zName;
	original = NULL;
	return NULL;
}
