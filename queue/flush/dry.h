/*
 * `--dry-run`: what a flusher would do now, without doing any of it. It reads a page at a time and
 * takes no lock, so that it can stand beside a flusher that runs.
 */
#ifndef CENMAIL_DRY_H
#define CENMAIL_DRY_H

#include "flush/flusher.h"

/* Lists to stdout every recipient that is not settled: the next hop and the sender as it would be
 * sent, or why it waits. The routes are open, the store is not. 0 or -1. */
int dry_run(struct flusher *f, struct err *e);

#endif
