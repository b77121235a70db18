/*
 * The file beside the journal.
 */
#include "listen/journal_lock.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define ALONE_MS 10000 /* how long to wait for the process before us to go */

int journal_lock(const char *path, struct err *e)
{
	struct buf lock;
	int64_t deadline = clock_mono_ms() + ALONE_MS;

	buf_init(&lock, 4096);
	buf_printf(&lock, "%s.lock", path);
	int fd = open(buf_str(&lock), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? err_sys(e, EX_CANTCREAT, "%s", buf_str(&lock)) : 0;
	while (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (clock_mono_ms() >= deadline)
			r = err_set(e, EX_TEMPFAIL, "%s: another cenmail-listen is using it", path);
		(void)usleep(20000);
	}
	buf_done(&lock);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int journal_lock_read(int fd, char ret_mark[JOURNAL_MARK_HEX + 1], struct err *e)
{
	ssize_t n = pread(fd, ret_mark, JOURNAL_MARK_HEX, 0);

	if (n < 0)
		return err_sys(e, EX_TEMPFAIL, "the journal's lock file");
	ret_mark[n] = '\0';
	return 0;
}

int journal_lock_write(int fd, const char *mark, struct err *e)
{
	if (pwrite(fd, mark, JOURNAL_MARK_HEX, 0) != JOURNAL_MARK_HEX || fdatasync(fd) < 0)
		return err_sys(e, EX_TEMPFAIL, "the journal's lock file");
	return 0;
}
