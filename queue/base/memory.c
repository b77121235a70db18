/*
 * glibc gives back the top of the heap only, and a stack when its thread ends.
 */
#include "base/memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARGIN 8192 /* below here: what madvise() and a signal on the way may use */

static void give_back_stack(void)
{
	pthread_attr_t a;
	void *bottom;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &a) != 0)
		return;
	if (pthread_attr_getstack(&a, &bottom, &size) == 0) {
		uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
		uintptr_t low = (uintptr_t)bottom;
		uintptr_t here = (uintptr_t)__builtin_frame_address(0) - MARGIN;
		if (here > low && here - low < size)
			(void)madvise(bottom, (here - low) / page * page, MADV_DONTNEED);
	}
	pthread_attr_destroy(&a);
}

void memory_give_back(void)
{
	(void)malloc_trim(0);
	give_back_stack();
}
