/*
 * LD_PRELOAD: memory runs out at the Nth allocation of a program, once or from then on. Every
 * malloc, calloc and realloc counts, those of the C library and of SQLite too.
 *
 *   FAIL_MALLOC=17 | 17+ | 0     the 17th fails | it and all that follow | none
 *   FAIL_MALLOC_COUNT=FILE       of 8 octets: how many there were, even of a program that was
 * killed
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static _Atomic uint64_t own, *count = &own;
static uint64_t at; /* 0: none fails */
static bool on, lasting;

__attribute__((constructor)) static void begin(void)
{
	const char *where = getenv("FAIL_MALLOC"), *to = getenv("FAIL_MALLOC_COUNT");
	char *rest;
	int fd = to ? open(to, O_RDWR | O_CLOEXEC) : -1;

	if (!where || fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	count = map;
	at = strtoull(where, &rest, 10);
	lasting = *rest == '+';
	on = true;
}

static bool fails(void)
{
	if (!on)
		return false;
	uint64_t n = atomic_fetch_add(count, 1) + 1;
	if (at == 0 || n < at || (n > at && !lasting))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}
