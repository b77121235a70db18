/*
 * Ceilings cost a submission nothing where they are not set, and where they are the same at a
 * million messages as at none.
 *
 * user_max: a user has that many places, and each message of his that waits has one. A place whose
 * message has no recipient left to settle is free, whatever became of it: nobody has to clear it,
 * and nothing that is changed by hand can make it wrong. The first place looked at is a random one,
 * so that mostly the first is free.
 */
#include "store/capacity.h"
#include "store/internal.h"

#include "base/random.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#define MIN_FREE_SHARE 4    /* of a file system's size: the most that min_free comes to */
#define PLACES_TRIED   1024 /* at most: of more places a sample, which misses hardly ever */

int capacity_disk(const char *queue, uint64_t min_free, struct err *e)
{
	struct statvfs fs;
	struct buf dir;
	if (min_free == 0)
		return 0;
	buf_init(&dir, STORE_PATH_MAX);
	lock_path(queue, ".", &dir);
	int r = dir.failed || statvfs(buf_str(&dir), &fs) < 0 ? -1 : 0;
	buf_done(&dir);
	if (r < 0) /* who can't be asked is no reason; what is wrong will be seen */
		return 0;
	uint64_t free = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t share = (uint64_t)fs.f_blocks * fs.f_frsize / MIN_FREE_SHARE;
	if (min_free > share) /* or a small file system would never take mail */
		min_free = share;
	if (free >= min_free)
		return 0;
	return err_set(e, EX_TEMPFAIL,
		"%s: its file system has %llu MB left, and below %llu MB (min_free) no mail is "
		"taken: make room",
		queue, (unsigned long long)(free >> 20), (unsigned long long)(min_free >> 20));
}

static int64_t octets(const char *path)
{
	struct stat st;
	return stat(path, &st) < 0 ? 0 : st.st_size;
}

/* A statement that is used now, and hardly ever. */
static sqlite3_stmt *rare(struct store *s, enum sql which, struct err *e)
{
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(s->db.handle, sql_text(which), -1, &q, NULL) != SQLITE_OK)
		db_err(&s->db, "is not as this program knows it", e);
	return q;
}

static int check_size(struct store *s, uint64_t max, struct err *e)
{
	int64_t wal = octets(s->wal_path), pages = 0, free = 0, size = 0;
	/* What the files take is more than what the queue holds. */
	if (octets(sqlite3_db_filename(s->db.handle, "main")) + wal < (int64_t)max)
		return 0;
	if (db_pragma(&s->db, sql_text(SQL_PAGES), &pages, e) < 0 ||
		db_pragma(&s->db, sql_text(SQL_FREE_PAGES), &free, e) < 0 ||
		db_pragma(&s->db, "PRAGMA page_size", &size, e) < 0)
		return -1;
	int64_t held = (pages - free) * size + wal;
	if (held < (int64_t)max)
		return 0;
	return err_set(e, EX_UNAVAILABLE,
		"the queue holds %lld MB, and no more than %llu MB (queue_max) are taken",
		(long long)(held >> 20), (unsigned long long)(max >> 20));
}

/* 1 the place is taken, 0 it is free, -1. */
static int is_taken(struct store *s, sqlite3_stmt *q, uid_t uid, uint64_t place, struct err *e)
{
	sqlite3_bind_int64(q, 1, uid);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)place);
	int r = db_step(&s->db, q, e);
	if (r == 1)
		sqlite3_reset(q);
	return r;
}

/* 1 (*ret), 0 there is none, -1. */
static int find_place(struct store *s, uid_t uid, uint64_t max, uint64_t *ret, struct err *e)
{
	const uint64_t n = max < PLACES_TRIED ? max : PLACES_TRIED, first = random_below(max);
	sqlite3_stmt *q = rare(s, SQL_PLACE_TAKEN, e);
	int taken = q ? 1 : -1;
	for (uint64_t i = 0; i < n && taken == 1; i++) {
		*ret = (first + i * (max / n)) % max;
		taken = is_taken(s, q, uid, *ret, e);
	}
	sqlite3_finalize(q);
	return taken < 0 ? -1 : !taken;
}

static int take_place(struct store *s, uid_t uid, uint64_t place, int64_t id, struct err *e)
{
	sqlite3_stmt *q = rare(s, SQL_PLACE_TAKE, e);
	if (!q)
		return -1;
	sqlite3_bind_int64(q, 1, uid);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)place);
	sqlite3_bind_int64(q, 3, id);
	int r = db_step(&s->db, q, e);
	sqlite3_finalize(q);
	return r;
}

int capacity_queue(struct store *s, const struct store_submission *m, int64_t id, struct err *e)
{
	uint64_t place = 0;
	if (m->queue_max > 0 && check_size(s, m->queue_max, e) < 0)
		return -1;
	if (m->user_max == 0 || m->uid == 0)
		return 0;
	int r = find_place(s, m->uid, m->user_max, &place, e);
	if (r < 0)
		return -1;
	if (r == 0)
		return err_set(e, EX_UNAVAILABLE,
			"uid %u has %llu messages waiting (user_max): "
			"no more are taken until some of them have left",
			(unsigned)m->uid, (unsigned long long)m->user_max);
	return take_place(s, m->uid, place, id, e);
}
