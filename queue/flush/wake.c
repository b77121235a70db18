/*
 * What wakes a lingering flusher: a sender that closes queue.lock after its COMMIT, a file that
 * appears in incoming/, and writes to the WAL for changes by hand (rule 8 of cenmail-internals(7)).
 */
#include "flush/wake.h"

#include "store/incoming.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

int wake_open(const char *queue, struct err *e)
{
	struct buf path;
	int result = -1, dir = -1;
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	buf_init(&path, 4096);
	if (fd < 0) {
		err_sys(e, EX_OSERR, "inotify");
		goto out;
	}
	store_lock_path(queue, &path);
	if (inotify_add_watch(fd, buf_str(&path), IN_CLOSE_WRITE) < 0) {
		err_sys(e, EX_OSERR, "watching %s", buf_str(&path));
		goto out;
	}
	store_wal_path(queue, &path);
	if (inotify_add_watch(fd, buf_str(&path), IN_MODIFY) < 0) {
		err_sys(e, EX_OSERR, "watching %s", buf_str(&path));
		goto out;
	}
	dir = incoming_open(queue, e); /* that there is one */
	if (dir < 0)
		goto out;
	store_incoming_path(queue, &path);
	if (inotify_add_watch(fd, buf_str(&path), IN_MOVED_TO) < 0) {
		err_sys(e, EX_OSERR, "watching %s", buf_str(&path));
		goto out;
	}
	result = fd;
	fd = -1;
out:
	if (dir >= 0)
		close(dir);
	if (fd >= 0)
		close(fd);
	buf_done(&path);
	return result;
}

bool wake_drain(int fd)
{
	char events[4096] __attribute__((aligned(8)));
	bool any = false;

	while (read(fd, events, sizeof events) > 0)
		any = true;
	return any;
}
