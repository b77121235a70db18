/*
 * `cenmail-flush --init`: the one place that makes a queue, or brings one up to date. A kill at any
 * moment leaves either no queue.db or a whole one: it is built under another name, and linked to
 * its own when it is done.
 */
#include "store/internal.h"

#include "base/clock.h"
#include "store/init.h"
#include "store/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LOCK_WAIT_MS 90000 /* a flusher that lingers, and the next one, are gone by then */

static const char schema[] =
#include "queue/store/schema.sql.h"
	;

struct init {
	const char *path;
	struct buf dir, name, other; /* the directory; a path under way */
	int flush_fd, queue_fd;
	int64_t from; /* the version that was there; 0: none */
};

bool init_is_network(long type)
{
	static const long table[] = {
		0x6969,     /* NFS */
		0x517b,     /* SMB */
		0xff534d42, /* CIFS */
		0xfe534d42, /* SMB2 */
		0x00c36400, /* Ceph */
		0x5346414f, /* AFS of OpenAFS */
		0x6b414653, /* AFS of the kernel */
		0x01021997, /* 9P */
		0x73757245, /* Coda */
		0x0bd00bd0, /* Lustre */
		0x7461636f, /* OCFS2 */
		0x01161970, /* GFS2 */
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if ((uint32_t)type == (uint32_t)table[i])
			return true;
	return false;
}

static const char *beside(struct init *in, const char *suffix)
{
	buf_clear(&in->other);
	buf_add_str(&in->other, in->path);
	buf_add_str(&in->other, suffix);
	return buf_str(&in->other);
}

static const char *in_dir(struct init *in, const char *name)
{
	lock_path(in->path, name, &in->name);
	return buf_str(&in->name);
}

static int check_directory(struct init *in, struct err *e)
{
	const char *dir = buf_str(&in->dir);
	struct stat st;
	struct statfs fs;
	if (stat(dir, &st) < 0) {
		if (errno == ENOENT)
			return err_set(e, EX_CONFIG,
				"%s: the queue's directory does not exist;"
				" create it, mode 0700, owned by the user who runs the flusher",
				dir);
		return err_sys(e, EX_CONFIG, "%s", dir);
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(e, EX_CONFIG, "%s: is not a directory", dir);
	if (st.st_uid != geteuid())
		return err_set(e, EX_NOPERM,
			"%s: belongs to user %u; create the queue as that user", dir,
			(unsigned)st.st_uid);
	if (statfs(dir, &fs) < 0)
		return err_sys(e, EX_OSERR, "%s", dir);
	if (init_is_network(fs.f_type))
		return err_set(e, EX_CONFIG,
			"%s: is on a network file system, whose locks can't be"
			" relied on; the queue must be on a local disk",
			dir);
	return 0;
}

static int make_lock(struct init *in, const char *name, struct err *e)
{
	const char *path = in_dir(in, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	if (fd < 0)
		return err_sys(e, EX_CANTCREAT, "%s", path);
	return fd;
}

/* Harmless where they are there already. */
static int make_files(struct init *in, struct err *e)
{
	if ((in->flush_fd = make_lock(in, "flush.lock", e)) < 0 ||
		(in->queue_fd = make_lock(in, "queue.lock", e)) < 0)
		return -1;
	int fd = make_lock(in, "next.lock", e);
	if (fd < 0)
		return -1;
	close(fd);
	if (mkdir(in_dir(in, "incoming"), 0700) < 0 && errno != EEXIST)
		return err_sys(e, EX_CANTCREAT, "%s", buf_str(&in->name));
	return 0;
}

static int take_locks(struct init *in, struct err *e)
{
	int64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;
	if (lock_take(in->flush_fd, in_dir(in, "flush.lock"), deadline, e) < 0)
		return -1;
	return lock_take(in->queue_fd, in_dir(in, "queue.lock"), deadline, e);
}

static int sync_directory(struct init *in, struct err *e)
{
	return lock_sync_directory(in->path) == 0
		       ? 0
		       : err_sys(e, EX_IOERR, "%s: can't be synced", buf_str(&in->dir));
}

static int remove_draft(struct init *in, struct err *e)
{
	static const char *const suffix[] = { ".new", ".new-wal", ".new-shm", ".new-journal" };
	for (unsigned i = 0; i < 4; i++)
		if (unlink(beside(in, suffix[i])) < 0 && errno != ENOENT)
			return err_sys(e, EX_CANTCREAT, "%s", buf_str(&in->other));
	return 0;
}

/* An old WAL beside a new database would be played into it. */
static int check_no_wal(struct init *in, struct err *e)
{
	struct stat st;
	const char *wal = beside(in, "-wal");
	if (stat(wal, &st) == 0 && st.st_size > 0)
		return err_set(e, EX_CONFIG,
			"%s: is there without its database; put that back, or"
			" move this file away if it is lost",
			wal);
	if (unlink(wal) < 0 && errno != ENOENT)
		return err_sys(e, EX_CANTCREAT, "%s", wal);
	const char *shm = beside(in, "-shm");
	if (unlink(shm) < 0 && errno != ENOENT)
		return err_sys(e, EX_CANTCREAT, "%s", shm);
	return 0;
}

/* The whole database in queue.db.new: synced, and nothing of it left in a WAL. */
static int write_draft(struct init *in, struct err *e)
{
	struct db d;
	if (remove_draft(in, e) < 0 || db_open(&d, beside(in, ".new"), true, DB_BUSY_MS, e) < 0)
		return -1;
	char head[128];
	snprintf(head, sizeof head, "PRAGMA application_id=%d; PRAGMA user_version=%d",
		STORE_APPLICATION_ID, STORE_VERSION);
	int r = db_exec(&d, "BEGIN IMMEDIATE", e);
	if (r == 0)
		r = db_exec(&d, schema, e);
	if (r == 0)
		r = db_exec(&d, head, e);
	if (r == 0)
		r = db_exec(&d, "COMMIT", e);
	if (r == 0 && sqlite3_wal_checkpoint_v2(d.handle, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL,
			      NULL) != SQLITE_OK)
		r = db_err(&d, "can't be written", e);
	db_close(&d);
	return r;
}

static int create(struct init *in, struct err *e)
{
	if (check_no_wal(in, e) < 0 || write_draft(in, e) < 0)
		return -1;
	/* link, and not rename: it never takes the place of what is there. */
	if (link(beside(in, ".new"), in->path) < 0)
		return err_sys(e, EX_CANTCREAT, "%s", in->path);
	return 0;
}

static int quick_check(struct db *d, const char *path, struct err *e)
{
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(d->handle, "PRAGMA quick_check(1)", -1, &q, NULL) != SQLITE_OK)
		return db_err(d, "can't be checked", e);
	int r = db_step(d, q, e);
	const char *answer = r == 1 ? (const char *)sqlite3_column_text(q, 0) : NULL;
	if (r >= 0)
		r = answer && strcmp(answer, "ok") == 0
			    ? 0
			    : err_set(e, EX_CONFIG, "%s: is damaged: %s", path,
				      answer ? answer : "no answer");
	sqlite3_finalize(q);
	return r;
}

static int open_queue(struct init *in, struct db *d, struct err *e)
{
	if (db_open(d, in->path, false, DB_BUSY_MS, e) == 0)
		return 0;
	return e && e->code == EX_CONFIG
		       ? err_prefix(e, "not a queue that can be used; move it away, "
				       "or put back a good copy: ")
		       : -1;
}

/* Opens what is there as everybody will, which also makes the WAL that then stays. */
static int check_queue(struct init *in, bool thorough, struct err *e)
{
	struct db d;
	if (open_queue(in, &d, e) < 0)
		return -1;
	int r = store_check(&d, in->path, e);
	if (r == 0 && thorough)
		r = quick_check(&d, in->path, e);
	db_close(&d);
	return r;
}

/* The version of what is there. 0 or -1. */
static int read_version(struct init *in, int64_t *ret, struct err *e)
{
	struct db d;
	if (open_queue(in, &d, e) < 0)
		return -1;
	int r = store_version(&d, in->path, ret, e);
	db_close(&d);
	return r;
}

/* Under both locks: no flusher is there, and a sender that waits finds a version it does not know,
 * and takes the second way in. */
static int migrate_queue(struct init *in, struct err *e)
{
	struct db d;
	int64_t version;
	if (take_locks(in, e) < 0 || open_queue(in, &d, e) < 0)
		return -1;
	int r = store_version(&d, in->path, &version, e);
	if (r == 0 && migrate_knows(version)) { /* another --init may have been quicker */
		r = quick_check(&d, in->path, e);
		if (r == 0)
			r = migrate(&d, &in->from, e);
	}
	db_close(&d);
	return r;
}

/* 1 it is there, 0 it is not, -1. */
static int exists(const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) == 0)
		return 1;
	return errno == ENOENT ? 0 : err_sys(e, EX_CONFIG, "%s", path);
}

/* Under the locks, and once more looked for. */
static int create_if_none(struct init *in, struct err *e)
{
	if (take_locks(in, e) < 0)
		return -1;
	int there = exists(in->path, e);
	if (there == 0)
		return create(in, e);
	return there < 0 ? -1 : read_version(in, &in->from, e);
}

static int init(struct init *in, struct err *e)
{
	if (check_directory(in, e) < 0 || make_files(in, e) < 0)
		return -1;
	int there = exists(in->path, e);
	if (there < 0 || (there ? read_version(in, &in->from, e) : create_if_none(in, e)) < 0)
		return -1;
	bool old = migrate_knows(in->from);
	if (old && migrate_queue(in, e) < 0)
		return -1;
	/* A draft may be left of one that was killed just after it had linked it. */
	if (remove_draft(in, e) < 0 || check_queue(in, there && !old, e) < 0)
		return -1;
	return sync_directory(in, e);
}

int store_init(const char *path, int64_t *ret_from, int64_t *ret_to, struct err *e)
{
	struct init in = { .path = path, .flush_fd = -1, .queue_fd = -1 };
	buf_init(&in.dir, STORE_PATH_MAX);
	buf_init(&in.name, STORE_PATH_MAX);
	buf_init(&in.other, STORE_PATH_MAX);
	lock_path(path, ".", &in.dir);
	int r = strlen(path) > STORE_PATH_MAX - 32
			? err_set(e, EX_CONFIG, "%s: the path is too long", path)
			: init(&in, e);
	if (in.queue_fd >= 0)
		close(in.queue_fd);
	if (in.flush_fd >= 0)
		close(in.flush_fd);
	buf_done(&in.dir);
	buf_done(&in.name);
	buf_done(&in.other);
	if (r == 0) {
		*ret_from = in.from;
		*ret_to = STORE_VERSION;
	}
	return r;
}
