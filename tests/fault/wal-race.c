/*
 * wal-race HOW QUEUE SECONDS WRITERS: commits, checkpoints and readers at once, in a process each,
 * with the window of SQLite's WAL-reset defect made wide. In it, a checkpoint that has read the
 * index of the WAL does not see that a commit has begun the WAL anew, and marks as copied what was
 * not. The one call out of SQLite within that window is xUnfetch of the VFS: here it sleeps.
 *
 *   locked    the store as it is, under flock on queue.lock
 *   unlocked  the same, with an flock that does nothing
 *   beside    the store as it is, and checkpoints by somebody who does not take the lock
 *   bare      SQLite alone: automatic checkpoints beside processes that checkpoint
 *
 * Says "COMMITTED LOST ANSWER": how many commits were acknowledged, how many of them are not there,
 * and what integrity_check says.
 */
#include "store/store.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMITS_MAX 1000000
#define DELAY_US    20000 /* now and then longer than a commit with its sync */

static enum { LOCKED, UNLOCKED, BESIDE, BARE } how;
static const char *queue;
static bool slowly; /* this process */
static int64_t end_ms;
static struct {
	atomic_uint begun;
	atomic_bool stored[COMMITS_MAX];
} * shared;

/* In the place of libc's. */
int flock(int fd, int operation)
{
	return how == UNLOCKED ? 0 : (int)syscall(SYS_flock, fd, operation);
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* --- a VFS that is slow where it matters --- */

static sqlite3_vfs *original, slow;
static sqlite3_io_methods slow_methods;

static int slow_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *p)
{
	struct timespec t = { 0, slowly ? rand() % DELAY_US * 1000 : 0 };
	nanosleep(&t, NULL);
	return SQLITE_OK; /* nothing is mapped: mmap_size is 0 */
}

static int slow_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
	int rc = original->xOpen(vfs, name, file, flags, ret);
	if (rc == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB) && file->pMethods->iVersion >= 3) {
		slow_methods = *file->pMethods;
		slow_methods.xUnfetch = slow_unfetch;
		file->pMethods = &slow_methods;
	}
	return rc;
}

static void register_slow(void)
{
	original = sqlite3_vfs_find(NULL);
	slow = *original;
	slow.zName = "slow";
	slow.xOpen = slow_open;
	if (sqlite3_vfs_register(&slow, 1) != SQLITE_OK)
		fail("sqlite3_vfs_register");
}

/* --- SQLite alone --- */

static sqlite3 *bare_open(void)
{
	sqlite3 *db;
	if (sqlite3_open_v2(queue, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		fail(queue);
	sqlite3_busy_timeout(db, 5000);
	sqlite3_exec(db, "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=8", NULL, NULL, NULL);
	return db;
}

static bool bare_put(unsigned id)
{
	char sql[200];
	sqlite3 *db = bare_open();
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	snprintf(sql, sizeof sql, "INSERT INTO t VALUES(%u,randomblob(%u))", id, id % 9000);
	bool stored = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
	sqlite3_close(db);
	return stored;
}

/* --- the store --- */

static bool store_put_one(unsigned id)
{
	static char content[9000];
	char address[64];
	struct store *s;
	struct err e;
	int64_t number;
	snprintf(address, sizeof address, "r%u@example.net", id);
	struct store_rcpt to = { .address = address };
	struct store_submission m = { .submitted = clock_wall_ms(),
		.sender = "s@example.com",
		.message_id = "",
		.content = span_make(content, id % sizeof content),
		.rcpt = &to,
		.rcpts = 1 };
	memcpy(m.key, &id, sizeof id);
	if (store_open(&s, queue, STORE_SUBMIT, 5000, &e) < 0)
		return false;
	bool stored = store_put(s, &m, &number, &e) == 0;
	store_close(s);
	return stored;
}

/* --- the processes --- */

static void write_until_end(void)
{
	while (clock_mono_ms() < end_ms) {
		unsigned id = atomic_fetch_add(&shared->begun, 1);
		if (id >= COMMITS_MAX)
			return;
		bool stored = how == BARE ? bare_put(id) : store_put_one(id);
		atomic_store(&shared->stored[id], stored);
	}
}

static void pause_us(int most)
{
	struct timespec t = { 0, rand() % most * 1000 };
	nanosleep(&t, NULL);
}

static void checkpoint_until_end(void)
{
	struct store *s = NULL;
	struct err e;
	sqlite3 *db = how == BARE || how == BESIDE ? bare_open() : NULL;
	if (!db && store_open(&s, queue, STORE_FLUSH, 5000, &e) < 0)
		fail(e.text);
	while (clock_mono_ms() < end_ms) {
		if (db)
			sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		else
			store_checkpoint(s, true);
		pause_us(slowly ? DELAY_US : DELAY_US / 10);
	}
}

static void checkpoint_slowly(void)
{
	slowly = true;
	checkpoint_until_end();
}

static void read_until_end(void)
{
	sqlite3 *db = bare_open();
	sqlite3_stmt *q;
	while (clock_mono_ms() < end_ms) {
		if (sqlite3_prepare_v2(db, "SELECT count(*) FROM sqlite_master", -1, &q, NULL) ==
			SQLITE_OK)
			sqlite3_step(q);
		pause_us(DELAY_US / 10); /* its transaction is open */
		sqlite3_finalize(q);
	}
}

static void start(void (*fn)(void), int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			srand((unsigned)getpid());
			fn();
			_exit(0);
		}
	}
}

/* --- what became of it --- */

static void create(void)
{
	struct err e;
	int64_t from, to;
	sqlite3 *db;
	if (how != BARE) {
		if (store_init(queue, &from, &to, &e) < 0)
			fail(e.text);
		return;
	}
	if (sqlite3_open(queue, &db) != SQLITE_OK ||
		sqlite3_exec(db,
			"PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY,x)", NULL,
			NULL, NULL) != SQLITE_OK)
		fail(queue);
	sqlite3_close(db);
}

static void report(void)
{
	sqlite3 *db = bare_open();
	sqlite3_stmt *q;
	unsigned committed = 0, lost = 0, all = atomic_load(&shared->begun);
	const char *sql = how == BARE ? "SELECT id FROM t"
				      : "SELECT CAST(substr(recipient,2) AS INTEGER) FROM mailq";
	bool *there = calloc(COMMITS_MAX, sizeof *there);
	if (!there || sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
		fail("report");
	while (sqlite3_step(q) == SQLITE_ROW)
		there[sqlite3_column_int(q, 0)] = true;
	sqlite3_finalize(q);
	for (unsigned i = 0; i < all && i < COMMITS_MAX; i++) {
		committed += shared->stored[i];
		lost += shared->stored[i] && !there[i];
	}
	sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, NULL);
	const char *answer = sqlite3_step(q) == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0)
							   : sqlite3_errmsg(db);
	printf("%u %u %s\n", committed, lost, answer);
	sqlite3_finalize(q);
	sqlite3_close(db);
	free(there);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 64;
	how = strcmp(argv[1], "locked") == 0   ? LOCKED
	      : strcmp(argv[1], "beside") == 0 ? BESIDE
	      : strcmp(argv[1], "bare") == 0   ? BARE
					       : UNLOCKED;
	queue = argv[2];
	shared = mmap(
		NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	register_slow();
	create();
	end_ms = clock_mono_ms() + strtol(argv[3], NULL, 10) * 1000;
	start(write_until_end, (int)strtol(argv[4], NULL, 10));
	start(checkpoint_until_end, 1);
	start(checkpoint_slowly, 1);
	if (how != BARE) /* a reader keeps commits from beginning the WAL anew */
		start(read_until_end, 2);
	int status, failed = 0;
	while (wait(&status) > 0)
		failed += status != 0;
	report();
	return failed > 0;
}
