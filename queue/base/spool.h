/*
 * struct spool: content of unknown length as it comes in. Up to SPOOL_MEMORY bytes stay in
 * memory, more go to an unlinked file in a directory of ours, which is mapped when it is read.
 * So a process that holds many messages stays small.
 */
#ifndef CENMAIL_SPOOL_H
#define CENMAIL_SPOOL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define SPOOL_MEMORY (256 * 1024)

struct spool {
	struct buf mem;  /* the bytes, or those not yet written to fd */
	const char *dir; /* borrowed: where the file is made when one is needed */
	int fd;          /* -1 while all is in memory */
	uint64_t size;   /* bytes added so far */
	void *map;       /* NULL until spool_span has mapped the file */
	uint64_t map_size;
};

void spool_init(struct spool *s, const char *dir);
void spool_done(struct spool *s);
/* The bytes go, their number stays. Only spool_done may follow. */
void spool_release(struct spool *s);
/* 0 or -1 (EX_TEMPFAIL: no space, no file). After a failure the spool can only be done with. */
int spool_add(struct spool *s, const void *p, size_t n, struct err *e);
/* All of the bytes, valid until spool_done. Nothing may be added after. */
int spool_span(struct spool *s, struct span *ret, struct err *e);

#endif
