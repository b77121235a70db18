/*
 * The file beside the journal.
 */
#include "listen/journal_lock.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/number.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define ALONE_MS   10000            /* how long to wait for the process before us to go */
#define RAN_AT     JOURNAL_MARK_HEX /* a line end, digits, a line end */
#define RAN_DIGITS 20
#define FILE_SIZE  (RAN_AT + RAN_DIGITS + 2)

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

int journal_lock_read(int fd, char ret_mark[JOURNAL_MARK_HEX + 1], int64_t *ret_ran, struct err *e)
{
	char text[FILE_SIZE];
	uint64_t ran = 0;
	ssize_t n = pread(fd, text, sizeof text, 0);

	if (n < 0)
		return err_sys(e, EX_TEMPFAIL, "the journal's lock file");
	size_t mark = n < JOURNAL_MARK_HEX ? (size_t)n : JOURNAL_MARK_HEX;
	memcpy(ret_mark, text, mark);
	ret_mark[mark] = '\0';
	if (n == FILE_SIZE)
		(void)number_parse(span_make(text + RAN_AT + 1, RAN_DIGITS), INT64_MAX, &ran);
	*ret_ran = (int64_t)ran;
	return 0;
}

void journal_lock_ran(int fd, int64_t ran)
{
	char text[FILE_SIZE - RAN_AT + 1];
	int n = snprintf(text, sizeof text, "\n%0*lld\n", RAN_DIGITS, (long long)ran);

	assert(n == FILE_SIZE - RAN_AT);
	(void)!pwrite(fd, text, (size_t)n, RAN_AT);
}

int journal_lock_mark(int fd, const char *mark, struct err *e)
{
	if (pwrite(fd, mark, JOURNAL_MARK_HEX, 0) != JOURNAL_MARK_HEX || fdatasync(fd) < 0)
		return err_sys(e, EX_TEMPFAIL, "the journal's lock file");
	return 0;
}
