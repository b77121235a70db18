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
 *
 * And SQLite reserves a new part of -shm by one octet a page. Where the file system's blocks are
 * smaller than a page (ext4 makes such ones on a small disk), or are copied when they are written,
 * that reserves nothing, and on a full disk the first write into the memory kills with SIGBUS. So
 * the kernel is asked for the pages at once, which answers instead (Linux 5.14; sendmail has a
 * handler besides).
 */
#include "store/vfs.h"

#include "store/lock.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define SYNCED S_ISVTX

static sqlite3_vfs *original, ours;
static const sqlite3_io_methods *original_methods;
static sqlite3_io_methods our_methods;

static int map_shared(sqlite3_file *file, int part, int size, int extend, void volatile **ret)
{
	int rc = original_methods->xShmMap(file, part, size, extend, ret);

	if (rc != SQLITE_OK || !extend || !*ret)
		return rc;
	if (madvise((void *)*ret, (size_t)size, MADV_POPULATE_WRITE) != 0 && errno == EFAULT)
		return SQLITE_IOERR_SHMSIZE;
	return SQLITE_OK;
}

/* The name of this WAL, which we have open, onto the disk. What can't be synced is no failure here,
 * as it is none to SQLite; it has no mark then, and the next one tries again. */
static void keep_name(const char *wal)
{
	struct stat st;

	if (stat(wal, &st) == 0 && !(st.st_mode & SYNCED) && lock_sync_directory(wal) == 0)
		(void)!chmod(wal, (st.st_mode & 0777) | SYNCED);
}

static int open_database(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	int rc = original->xOpen(vfs, name, file, flags, ret);

	if (rc != SQLITE_OK || file->pMethods->iVersion < 2)
		return rc;
	if (!original_methods) {
		original_methods = file->pMethods;
		our_methods = *original_methods;
		our_methods.xShmMap = map_shared;
	}
	if (file->pMethods == original_methods)
		file->pMethods = &our_methods;
	return SQLITE_OK;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	int rc, got = 0;

	if (flags & SQLITE_OPEN_MAIN_DB)
		return open_database(vfs, name, file, flags, ret);
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
