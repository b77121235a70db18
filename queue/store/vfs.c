/*
 * SQLite opens a WAL with leave to create it, and as it can't know whether it was there, syncs the
 * directory beside the first commit: in each sendmail, under the lock. Our WAL is there since
 * --init and stays (rule 3). So it is opened without that leave, and only when it is missing (a
 * bare shell was the last to close) made as SQLite makes it, directory and all.
 */
#include "store/vfs.h"

#include <sqlite3.h>
#include <stddef.h>

static sqlite3_vfs *original, ours;

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	if (flags & SQLITE_OPEN_WAL) {
		int rc = original->xOpen(vfs, name, file, flags & ~SQLITE_OPEN_CREATE, ret);
		if (rc == SQLITE_OK)
			return rc;
	}
	return original->xOpen(vfs, name, file, flags, ret);
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
