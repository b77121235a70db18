/*
 * Names that a message hangs on are synced before it is said to be kept: of incoming/ itself, of
 * what is moved into damaged/, of a WAL that was made anew. fsync and fdatasync are looked in on.
 */
#include "tests/unit/incoming_fixture.h"

#include <sys/syscall.h>

static char synced[16][128]; /* the last paths that were synced, the newest first */

static int look_in(int fd, long call)
{
	char link[64];

	memmove(synced[1], synced[0], sizeof synced - sizeof synced[0]);
	memset(synced[0], 0, sizeof synced[0]);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (readlink(link, synced[0], sizeof synced[0] - 1) < 0)
		return -1;
	return (int)syscall(call, fd);
}

int fsync(int fd)
{
	return look_in(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return look_in(fd, SYS_fdatasync);
}

static void forget(void)
{
	memset(synced, 0, sizeof synced);
}

/* How many syncs ago it was synced; -1: not since forget. */
static int since(const char *path)
{
	for (int i = 0; i < 16; i++)
		if (strcmp(synced[i], path) == 0)
			return i;
	return -1;
}

/* It may be another sender that has made it, and has not come to sync its name yet. */
static void the_directory_that_another_made(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;

	assert_int_equal(rmdir(in(f, "")), 0);
	assert_int_equal(mkdir(in(f, ""), 0700), 0);
	forget();
	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	write_one(f, &x.m);
	assert_true(since(f->dir) >= 0);
}

/* Where it is now, before where it no longer is. */
static void what_is_moved_aside(void **state)
{
	struct fixture *f = *state;
	char at[96], to[112];

	snprintf(at, sizeof at, "%s/incoming", f->dir);
	snprintf(to, sizeof to, "%s/damaged", at);
	spill(in(f, "stranger"), "x", 1);
	forget();
	assert_int_equal(import(f).aside, 1);
	assert_true(since(at) >= 0);
	assert_true(since(to) > since(at));
}

/* Whoever commits next finds it there, and takes it for one that --init has left. */
static void a_wal_that_a_reader_made(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct store *reader;
	struct err e = { 0 };
	char wal[128];
	int64_t id;

	fixture_close(f);
	snprintf(wal, sizeof wal, "%s-wal", f->path);
	assert_int_equal(unlink(wal), 0);
	forget();
	assert_int_equal(store_open(&reader, f->path, STORE_LIST, 5000, &e), 0);
	assert_int_equal(access(wal, F_OK), 0);
	assert_true(since(f->dir) >= 0);
	/* And then no commit has to: that is what it is for. */
	fixture_open(f);
	forget();
	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	assert_int_equal(store_put(f->s, &x.m, &id, &e), 0);
	assert_true(since(wal) >= 0);
	assert_int_equal(since(f->dir), -1);
	store_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(the_directory_that_another_made),
		unit(what_is_moved_aside),
		unit(a_wal_that_a_reader_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
