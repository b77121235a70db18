/*
 * Opening, closing, and the write transaction: queue.lock first, then SQLite's own lock, then the
 * version, then the work, COMMIT, the checkpoint when the WAL has grown, and last the lock is let
 * go. Inside it there is no network, no descriptor of the caller's, and no log.
 */
#include "store/internal.h"

#include "base/clock.h"
#include "store/holder.h"

#include <assert.h>
#include <sys/stat.h>
#include <unistd.h>

#define INIT_HINT "create one with `cenmail-flush --init`"

static int on_commit(void *arg, sqlite3 *h, const char *name, int pages)
{
	((struct store *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

static int check_version(int64_t version, const char *path, struct err *e)
{
	if (version == STORE_VERSION)
		return 0;
	return err_set(e, EX_CONFIG,
		"%s: is of version %lld, and this program knows version %d: %s", path,
		(long long)version, STORE_VERSION,
		version < STORE_VERSION ? "migrate it with `cenmail-flush --init`"
					: "this program is too old for it");
}

int store_version(struct db *d, const char *path, int64_t *ret, struct err *e)
{
	int64_t application = 0;
	if (db_pragma(d, "PRAGMA application_id", &application, e) < 0 ||
		db_pragma(d, "PRAGMA user_version", ret, e) < 0)
		return -1;
	if (application != STORE_APPLICATION_ID)
		return err_set(e, EX_CONFIG, "%s: is not a cenmail queue; " INIT_HINT, path);
	return 0;
}

int store_check(struct db *d, const char *path, struct err *e)
{
	int64_t version = 0;
	return store_version(d, path, &version, e) < 0 ? -1 : check_version(version, path, e);
}

static int open_database(struct store *s, const char *path, struct err *e)
{
	const char *sql[SQL_COUNT];
	struct err why;
	if (db_open(&s->db, path, false, s->lock_wait, &why) < 0)
		return why.code == EX_CONFIG
			       ? err_set(e, EX_CONFIG, "%s: is not a cenmail queue; " INIT_HINT,
					 why.text)
			       : err_set(e, why.code, "%s", why.text);
	s->db.busy_ms = s->lock_wait;
#ifdef SQLITE_DBCONFIG_ENABLE_VIEW /* 3.30: what we read are tables */
	sqlite3_db_config(s->db.handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
#endif
	sqlite3_wal_hook(s->db.handle, on_commit, s);
	/* One read transaction for all that is read at the start. */
	if (db_exec(&s->db, "BEGIN", e) < 0 || store_check(&s->db, path, e) < 0)
		return -1;
	sql_of_role(s->role, sql);
	if (db_prepare(&s->db, sql, SQL_COUNT, e) < 0)
		return -1;
	/* What is deleted is overwritten where that costs no more writes. */
	if (s->role == STORE_FLUSH && db_exec(&s->db, "PRAGMA secure_delete=FAST", e) < 0)
		return -1;
	return db_exec(&s->db, "COMMIT", e);
}

/* A process with one thread: SQLite need not lock its own memory, nor count it. Heeded before its
 * first use only, and refused without harm after. */
static void be_alone(void)
{
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int store_open(struct store **ret, const char *path, enum store_role role, int64_t lock_wait_ms,
	struct err *e)
{
	struct store *s = calloc(1, sizeof *s);
	struct buf lock;
	buf_init(&lock, STORE_PATH_MAX);
	store_lock_path(path, &lock);
	if (!s || lock.failed) {
		free(s);
		buf_done(&lock);
		return err_set(e, EX_TEMPFAIL, "%s: out of memory, or the path is too long", path);
	}
	if (role == STORE_SUBMIT)
		be_alone();
	s->role = role;
	s->lock_wait = lock_wait_ms;
	s->until = role == STORE_SUBMIT ? clock_mono_ms() + lock_wait_ms : 0;
	s->lock = -1;
	s->lock_path = buf_take(&lock);
	store_wal_path(path, &lock);
	s->wal_path = buf_take(&lock);
	if (!s->wal_path) {
		err_set(e, EX_TEMPFAIL, "out of memory");
		goto fail;
	}
	if (open_database(s, path, e) < 0)
		goto fail;
	/* The flusher keeps it open: its closing would wake itself. */
	if (role == STORE_FLUSH && (s->lock = lock_open(s->lock_path, e)) < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	store_close(s);
	return -1;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	db_close(&s->db);
	if (s->lock >= 0)
		close(s->lock);
	free(s->lock_path);
	free(s->wal_path);
	free(s);
}

/* SQLite's lock for writers: one octet of the -shm file. */
#define WRITER_OCTET 120

/* Whoever has a transaction open is what the others wait for, in the end. */
static void name_writer(struct store *s, struct err *e)
{
	char who[HOLDER_NAME_MAX];
	struct buf shm;
	struct stat st;
	if (!e)
		return;
	buf_init(&shm, STORE_PATH_MAX);
	buf_printf(&shm, "%s-shm", sqlite3_db_filename(s->db.handle, "main"));
	if (stat(buf_str(&shm), &st) == 0 && holder_name(&st, HOLDER_POSIX, WRITER_OCTET, who))
		err_set(e, e->code, "%s; %s has a transaction open", e->text, who);
	buf_done(&shm);
}

void store_leave(struct store *s)
{
	static struct store *left;
	store_close(left);
	left = s;
}

#define BARRIER_MS 200 /* connections wait meanwhile */

/* Takes queue.lock; what then is left of lock_wait is for SQLite's own lock. */
static int take_lock(struct store *s, struct err *e)
{
	int64_t deadline = s->until ? s->until : clock_mono_ms() + s->lock_wait;
	s->until = 0;
	if (s->lock < 0 && (s->lock = lock_open(s->lock_path, e)) < 0)
		return -1;
	if (lock_take(s->lock, s->lock_path, deadline, e) < 0) {
		name_writer(s, e);
		return -1;
	}
	int64_t left = deadline - clock_mono_ms();
	s->db.busy_ms = left > 0 ? left : 1;
	return 0;
}

/* A submitter closes the lock: that is what wakes the flusher (rule 8). */
static void let_go(struct store *s)
{
	s->db.busy_ms = s->lock_wait;
	if (s->role == STORE_FLUSH) {
		lock_release(s->lock);
		return;
	}
	if (s->lock >= 0)
		close(s->lock);
	s->lock = -1;
}

static void roll_back(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db.handle))
		db_step(&s->db, db_stmt(&s->db, SQL_ROLLBACK), NULL);
}

int store_in_place(struct store *s, struct err *e)
{
	int moved = 0;
	if (sqlite3_file_control(s->db.handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved) ==
			SQLITE_OK &&
		!moved)
		return 0;
	return err_set(e, EX_CONFIG, "%s: is no longer where it was opened",
		sqlite3_db_filename(s->db.handle, "main"));
}

static int begin_checked(struct store *s, struct err *e)
{
	if (db_step(&s->db, db_stmt(&s->db, SQL_BEGIN), e) < 0) {
		name_writer(s, e);
		return -1;
	}
	sqlite3_stmt *q = db_stmt(&s->db, SQL_VERSION);
	if (db_step(&s->db, q, e) < 0)
		return -1;
	int64_t version = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return check_version(version, sqlite3_db_filename(s->db.handle, "main"), e);
}

int store_begin(struct store *s, struct err *e)
{
	assert(s->role != STORE_LIST);
	if (take_lock(s, e) < 0)
		goto fail;
	if (begin_checked(s, e) < 0) {
		roll_back(s);
		goto fail;
	}
	return 0;
fail:
	let_go(s);
	return -1;
}

/* Under the lock. */
static void checkpoint(struct store *s)
{
	if (db_checkpoint(&s->db))
		s->wal_pages = 0;
}

int store_end(struct store *s, int r, struct err *e)
{
	if (r == 0) {
		r = db_step(&s->db, db_stmt(&s->db, SQL_COMMIT), e);
		if (r < 0)
			err_prefix(e, "unknown whether it was stored: ");
		else if (s->wal_pages >= STORE_WAL_PAGES)
			checkpoint(s);
	}
	roll_back(s);
	let_go(s);
	return r;
}

/* What others committed counts too, so the file is asked, and not the last commit of ours. */
int64_t store_wal_size(const struct store *s)
{
	struct stat st;
	return stat(s->wal_path, &st) < 0 ? 0 : st.st_size;
}

int64_t store_checkpoint(struct store *s, bool idle)
{
	int64_t size = store_wal_size(s);
	if (size == 0 || (!idle && size < (int64_t)STORE_WAL_PAGES * STORE_FRAME))
		return size;
	if (take_lock(s, NULL) == 0)
		checkpoint(s);
	let_go(s);
	return store_wal_size(s);
}

int store_barrier(struct store *s, struct err *e)
{
	int r = take_lock(s, e);
	/* A bare shell has no queue.lock. It writes the WAL, which is what woke us, and then syncs
	 * it, and only then can its change be seen: until then it has SQLite's own lock. */
	if (r == 0) {
		s->db.busy_ms = BARRIER_MS;
		r = db_step(&s->db, db_stmt(&s->db, SQL_BEGIN), e);
		if (r < 0)
			name_writer(s, e);
		roll_back(s);
	}
	let_go(s);
	return r;
}

bool store_int(sqlite3_stmt *q, int col, int64_t lo, int64_t hi, int64_t *ret)
{
	if (sqlite3_column_type(q, col) != SQLITE_INTEGER)
		return false;
	int64_t v = sqlite3_column_int64(q, col);
	if (v < lo || v > hi)
		return false;
	*ret = v;
	return true;
}

bool store_text(sqlite3_stmt *q, int col, size_t max, struct span *ret)
{
	if (sqlite3_column_type(q, col) != SQLITE_TEXT)
		return false;
	const char *p = (const char *)sqlite3_column_text(q, col);
	size_t n = (size_t)sqlite3_column_bytes(q, col);
	if (!p || n > max || memchr(p, 0, n))
		return false;
	*ret = span_make(p, n);
	return true;
}

void store_copy(sqlite3_stmt *q, int col, char *out, size_t size)
{
	struct span s = { "", 0 };
	if (!store_text(q, col, size - 1, &s))
		s.n = 0;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}
