/*
 * A submission touches some hundred pages once and then ends, so that half of its time may be page
 * faults: on a virtual machine one costs up to 50 microseconds, and a page that is asked for among
 * many one. A machine without that burden gains nothing and loses some microseconds.
 */
#include "sendmail/prefault.h"

#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, HEAP = 384 * 1024 }; /* what a message of a few KB needs */

extern char __executable_start[], etext[], __bss_start[], end[];

static void populate(char *from, const char *to, int how)
{
	from -= (uintptr_t)from % PAGE;
	if (to > from)
		madvise(from, (size_t)(to - from), how);
}

void prefault(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 * HEAP); /* so that this, too, is of the heap */
	mallopt(M_TRIM_THRESHOLD, 64 * HEAP);
	char *first = malloc(HEAP);
	if (first)
		populate(first, first + HEAP, MADV_POPULATE_WRITE);
	free(first);
	populate(__bss_start, end, MADV_POPULATE_WRITE);
	populate(__executable_start, etext, MADV_POPULATE_READ);
}
