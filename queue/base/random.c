/*
 * Random octets from getrandom(2).
 */
#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

void random_bytes(void *out, size_t n)
{
	unsigned char *p = out;
	int saved = errno;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort();
		}
		p += got;
		n -= (size_t)got;
	}
	errno = saved;
}

uint64_t random_below(uint64_t below)
{
	uint64_t r;

	assert(below > 0);
	/* Numbers under 2^64 mod below would make the small remainders likelier: draw again. */
	uint64_t least = -below % below;
	do
		random_bytes(&r, sizeof r);
	while (r < least);
	return r % below;
}
