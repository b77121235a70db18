/*
 * SQLite opens a WAL with leave to create it, and as it can't know whether it was there, syncs the
 * directory beside the first commit: in each sendmail, under the lock. Our WAL is there since
 * --init and stays (rule 3). So it is opened without that leave, and only when it is missing (a
 * bare shell was the last to close) made.
 *
 * One that is there may have been made by a bare shell that only reads, which syncs nothing: what
 * is committed into it would go with its name when the power goes. So whoever of us makes or finds
 * one syncs the directory at once, and then marks the file, for the others, by the sticky bit,
 * which means nothing on a file.
 */
#include "store/vfs.h"

#include "store/lock.h"

#include <sqlite3.h>
#include <sys/stat.h>

#define SYNCED S_ISVTX

static sqlite3_vfs *original, ours;

/* The name of this WAL, which we have open, onto the disk. What can't be synced is no failure here,
 * as it is none to SQLite; it has no mark then, and the next one tries again. */
static void keep_name(const char *wal)
{
	struct stat st;

	if (stat(wal, &st) == 0 && !(st.st_mode & SYNCED) && lock_sync_directory(wal) == 0)
		(void)!chmod(wal, (st.st_mode & 0777) | SYNCED);
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	int rc, got = 0;

	if (!(flags & SQLITE_OPEN_WAL))
		return original->xOpen(vfs, name, file, flags, ret);
	rc = original->xOpen(vfs, name, file, flags & ~SQLITE_OPEN_CREATE, &got);
	/* For reading only: it was missing, and a shell made it just before SQLite's second try. */
	if (rc == SQLITE_OK && (got & SQLITE_OPEN_READONLY)) {
		file->pMethods->xClose(file);
		rc = SQLITE_CANTOPEN;
	}
	if (rc != SQLITE_OK)
		rc = original->xOpen(vfs, name, file, flags, &got);
	if (rc == SQLITE_OK)
		keep_name(name);
	if (ret)
		*ret = got;
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
