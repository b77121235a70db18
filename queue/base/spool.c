/*
 * Content as it comes in: in memory while small, then in a file without a name.
 */
#include "base/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void spool_init(struct spool *s, const char *dir)
{
	*s = (struct spool) { .dir = dir, .fd = -1 };
	buf_init(&s->mem, SPOOL_MEMORY);
}

void spool_release(struct spool *s)
{
	if (s->map)
		munmap(s->map, (size_t)s->map_size);
	if (s->fd >= 0)
		close(s->fd);
	buf_done(&s->mem);
	s->fd = -1;
	s->map = NULL;
	s->map_size = 0;
}

void spool_done(struct spool *s)
{
	if (!s)
		return;
	spool_release(s);
	s->size = 0;
}

/* For file systems without O_TMPFILE (overlayfs of older kernels, NFS). */
static int open_and_unlink(const char *dir)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/spool.XXXXXX", dir);

	if (n < 0 || (size_t)n >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = mkostemp(path, O_CLOEXEC); /* 0600 whatever the umask allows more */
	if (fd >= 0 && unlink(path) < 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int open_file(struct spool *s, struct err *e)
{
	s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		s->fd = open_and_unlink(s->dir);
	if (s->fd < 0)
		return err_sys(e, EX_TEMPFAIL, "can't create a temporary file in %s", s->dir);
	return 0;
}

static int write_all(struct spool *s, const char *p, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t w = write(s->fd, p, n);
		if (w < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(
				e, EX_TEMPFAIL, "can't write a temporary file in %s", s->dir);
		}
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

/* What is in memory goes to the file, which is made when there is none yet. */
static int flush_mem(struct spool *s, struct err *e)
{
	if (s->fd < 0 && open_file(s, e) < 0)
		return -1;
	if (write_all(s, s->mem.data, s->mem.len, e) < 0)
		return -1;
	buf_clear(&s->mem);
	return 0;
}

int spool_add(struct spool *s, const void *p, size_t n, struct err *e)
{
	assert(!s->map);
	if (n > SPOOL_MEMORY - s->mem.len && flush_mem(s, e) < 0)
		return -1;
	if (n > SPOOL_MEMORY) {
		if (write_all(s, p, n, e) < 0)
			return -1;
	} else {
		buf_add(&s->mem, p, n);
		if (s->mem.failed)
			return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	s->size += n;
	return 0;
}

int spool_span(struct spool *s, struct span *ret, struct err *e)
{
	if (s->fd < 0) {
		*ret = buf_span(&s->mem);
		return 0;
	}
	if (!s->map) {
		if (s->mem.len > 0 && flush_mem(s, e) < 0)
			return -1;
		if (s->size > SIZE_MAX)
			return err_set(e, EX_TEMPFAIL, "content too large for memory");
		void *map = mmap(NULL, (size_t)s->size, PROT_READ, MAP_PRIVATE, s->fd, 0);
		if (map == MAP_FAILED)
			return err_sys(e, EX_TEMPFAIL, "can't map a temporary file in %s", s->dir);
		s->map = map;
		s->map_size = s->size;
		buf_done(&s->mem);
	}
	*ret = span_make(s->map, (size_t)s->map_size);
	return 0;
}
