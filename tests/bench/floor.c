/*
 * The floor of a submission: a static program that does nothing but open the queue, insert the rows
 * that sendmail would, and commit them with the same durability, under the same lock.
 *
 *     floor queue.db <message
 *
 * It trusts its input, its caller and the database; there is no configuration, no header is looked
 * at, and nothing is logged. What sendmail costs above it is the price of all that.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIZE_MAX_READ = 1024 * 1024 };

static sqlite3 *db;

static void check(int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return;
	fprintf(stderr, "floor: %s: %s\n", what, sqlite3_errmsg(db));
	exit(75);
}

static void run(const char *sql)
{
	check(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *q;

	check(sqlite3_prepare_v2(db, sql, -1, &q, NULL), sql);
	return q;
}

static void insert(sqlite3_int64 now, const char *data, size_t n)
{
	unsigned char key[32];
	sqlite3_stmt *q =
		prepare("INSERT INTO message(key,submitted,uid,sender,size,eightbit,message_id)"
			" VALUES(?1,?2,0,'root@example.com',?3,0,'<a@example.com>')");

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		exit(71);
	sqlite3_bind_blob(q, 1, key, 16, SQLITE_STATIC);
	sqlite3_bind_int64(q, 2, now);
	sqlite3_bind_int64(q, 3, (sqlite3_int64)n);
	check(sqlite3_step(q), "message");
	sqlite3_int64 id = sqlite3_last_insert_rowid(db);

	q = prepare("INSERT INTO content(message,crc,data) VALUES(?1,0,?2)");
	sqlite3_bind_int64(q, 1, id);
	sqlite3_bind_blob(q, 2, data, (int)n, SQLITE_STATIC);
	check(sqlite3_step(q), "content");

	q = prepare("INSERT INTO recipient(message,address,once,next_try,since)"
		    " VALUES(?1,'kunde@example.net',?2,?3,?3)");
	sqlite3_bind_int64(q, 1, id);
	sqlite3_bind_blob(q, 2, key + 16, 16, SQLITE_STATIC);
	sqlite3_bind_int64(q, 3, now);
	check(sqlite3_step(q), "recipient");

	q = prepare("INSERT INTO hour(at,submitted,bytes) VALUES(?1,1,?2) ON CONFLICT(at) DO UPDATE"
		    " SET submitted=submitted+1,bytes=bytes+excluded.bytes");
	sqlite3_bind_int64(q, 1, now / 3600000);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)n);
	check(sqlite3_step(q), "hour");
}

int main(int argc, char **argv)
{
	static char data[SIZE_MAX_READ];
	char lock[4096], wal[4096];
	struct stat st;
	size_t n = 0;
	ssize_t r;
	struct timespec ts;

	if (argc != 2)
		return 64;
	while ((r = read(0, data + n, sizeof(data) - n)) > 0)
		n += (size_t)r;
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	check(sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL), argv[1]);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_wal_autocheckpoint(db, 0);
	sqlite3_busy_timeout(db, 5000); /* who opens first rebuilds the WAL's index */
	run("PRAGMA synchronous=FULL");

	/* queue.db -> queue.lock */
	snprintf(lock, sizeof(lock), "%.*slock", (int)strlen(argv[1]) - 2, argv[1]);
	int fd = open(lock, O_RDWR | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) != 0)
		return 75;
	clock_gettime(CLOCK_REALTIME, &ts);
	run("BEGIN IMMEDIATE");
	insert((sqlite3_int64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000, data, n);
	run("COMMIT");
	/* As sendmail does, or the log would grow without end. */
	snprintf(wal, sizeof(wal), "%s-wal", argv[1]);
	if (stat(wal, &st) == 0 && st.st_size > 128 * 4120)
		sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return 0;
}
