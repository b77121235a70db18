/*
 * One file for all, slots.lock, in which byte uid * SLOTS_PER_UID + i stands for a uid's slot i and
 * is locked by whoever has it. Nothing is ever written there, and the file stays empty.
 */
#include "sendmail/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define FILE_NAME "slots.lock"

static int open_file(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, EX_CONFIG, "%s: the path is too long", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	return fd >= 0 ? fd : err_sys(e, EX_TEMPFAIL, "%s", path);
}

int slots_take(const char *dir, uid_t uid, struct err *e)
{
	int fd = open_file(dir, e);

	if (fd < 0)
		return -1;
	/* A lock of the open file, which is never closed: it dies with the process. */
	for (unsigned i = 0; i < SLOTS_PER_UID; i++) {
		struct flock slot = { .l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = (off_t)uid * SLOTS_PER_UID + i,
			.l_len = 1 };
		if (fcntl(fd, F_OFD_SETLK, &slot) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
			err_sys(e, EX_TEMPFAIL, "%s/" FILE_NAME, dir);
			close(fd);
			return -1;
		}
	}
	close(fd);
	return err_set(e, EX_TEMPFAIL,
		"uid %u has %u unfinished calls of sendmail: no more are taken until one ends",
		(unsigned)uid, SLOTS_PER_UID);
}
