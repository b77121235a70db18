/*
 * incoming/, the sender's side: a file for who can't have the database. No lock of ours: a name
 * appears by rename.
 */
#include "store/incoming.h"

#include "store/incoming_file.h"
#include "store/incoming_names.h"
#include "store/internal.h"
#include "store/lock.h"

#include "base/crc.h"
#include "base/number.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* EX_CONFIG: it is not there, or not for us, and time mends nothing. */
static int no_directory(const char *path, struct err *e)
{
	bool config = errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM ||
		      errno == ELOOP || errno == ENAMETOOLONG;

	return err_sys(e, config ? EX_CONFIG : EX_TEMPFAIL, "%s", path);
}

int incoming_sync_names(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -1 : fsync(fd);

	if (fd >= 0)
		close(fd);
	return r;
}

static int open_directory(const char *path, struct err *e)
{
	struct stat st;
	int fd;

	bool made = mkdir(path, 0700) == 0;
	if ((made && chmod(path, 0700) < 0) || (!made && errno != EEXIST))
		return no_directory(path, e);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return no_directory(path, e);
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid())
		return fd;
	close(fd);
	return err_set(e, EX_CONFIG, "%s: belongs to another user", path);
}

int incoming_open(const char *queue, struct err *e)
{
	struct buf path;
	int fd;

	buf_init(&path, STORE_PATH_MAX);
	store_incoming_path(queue, &path);
	fd = lock_path_failed(&path, queue, e) < 0 ? -1 : open_directory(buf_str(&path), e);
	buf_done(&path);
	return fd;
}

/* --- the writer --- */

static int write_all(int fd, const char *p, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno != EINTR)
			return err_sys(e, EX_TEMPFAIL, "a file in incoming/ can't be written");
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
	return 0;
}

static int write_file(int fd, const struct store_submission *m, struct err *e)
{
	struct buf header;
	char trailer[INCOMING_TRAILER + 1];
	int result = -1;

	if (incoming_file_header(m, &header, e) < 0)
		goto out;
	incoming_file_trailer(
		crc32c(crc32c(0, header.data, header.len), m->content.p, m->content.n), trailer);
	if (write_all(fd, header.data, header.len, e) < 0 ||
		write_all(fd, m->content.p, m->content.n, e) < 0 ||
		write_all(fd, trailer, INCOMING_TRAILER, e) < 0)
		goto out;
	if (fchmod(fd, 0600) < 0 || fsync(fd) < 0)
		err_sys(e, EX_TEMPFAIL, "a file in incoming/ can't be synced");
	else
		result = 0;
out:
	buf_done(&header);
	return result;
}

static void make_name(const struct store_submission *m, char out[INCOMING_NAME + 1])
{
	char key[33];
	int64_t at = m->submitted < 0 ? 0 : m->submitted % INT64_C(1000000000000000);

	hex_encode(m->key, sizeof m->key, key);
	snprintf(out, INCOMING_NAME + 1, "%0*lld-%s", INCOMING_DIGITS, (long long)at, key);
}

static int write_in(int dir, const struct store_submission *m, struct err *e)
{
	char name[INCOMING_NAME + 1], tmp[INCOMING_NAME + sizeof INCOMING_TMP];
	int fd, result;

	make_name(m, name);
	snprintf(tmp, sizeof tmp, "%s" INCOMING_TMP, name);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, EX_TEMPFAIL, "a file in incoming/ can't be made");
	result = write_file(fd, m, e);
	if (close(fd) < 0 && result == 0)
		result = err_sys(e, EX_TEMPFAIL, "a file in incoming/ can't be written");
	if (result == 0 && renameat(dir, tmp, dir, name) < 0)
		result = err_sys(e, EX_TEMPFAIL, "a file in incoming/ can't be renamed");
	if (result < 0) {
		unlinkat(dir, tmp, 0);
	} else if (fsync(dir) < 0) {
		result = err_sys(e, EX_TEMPFAIL, "incoming/ can't be synced");
		unlinkat(dir, name, 0);
	}
	return result;
}

int incoming_write(const char *queue, const struct store_submission *m, struct err *e)
{
	int dir = incoming_open(queue, e);
	int result;

	assert(m->rcpts > 0);
	if (dir < 0)
		return -1;
	/* The name of the directory too, whoever has made it: he may not have come to that yet. */
	if (incoming_sync_names(dir, "..") < 0)
		result = err_sys(e, EX_TEMPFAIL, "incoming/ can't be synced");
	else
		result = write_in(dir, m, e);
	close(dir);
	return result;
}
