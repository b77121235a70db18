/*
 * The queue's lock files: flock(2), which dies with its holder, waited for in the kernel.
 */
#ifndef CENMAIL_STORE_LOCK_H
#define CENMAIL_STORE_LOCK_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* The path of `name` in the directory of the database. out is emptied first. */
void lock_path(const char *queue, const char *name, struct buf *out);
/* What kept such a path from being made: 0 nothing, -1 it is too long (EX_CONFIG), or there is no
 * memory (EX_TEMPFAIL). */
int lock_path_failed(const struct buf *path, const char *queue, struct err *e);
/* Onto the disk: the names in the directory in which that path is. 0, or -1 with errno. */
int lock_sync_directory(const char *path);
/* Opens for writing, so that closing it wakes the flusher; never creates. A descriptor or -1. */
int lock_open(const char *path, struct err *e);
/* Waits for the lock until the monotonic deadline. 0, or -1: EX_TEMPFAIL, and the holder is named
 * when the time has passed. While it has to wait it uses SIGALRM and ITIMER_REAL, and puts back
 * what was there. */
int lock_take(int fd, const char *path, int64_t deadline_ms, struct err *e);
void lock_release(int fd);

#endif
