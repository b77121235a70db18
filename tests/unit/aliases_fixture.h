/*
 * An aliases file for a test: make_path and remove_path are its setup and teardown.
 */
#ifndef CENMAIL_ALIASES_FIXTURE_H
#define CENMAIL_ALIASES_FIXTURE_H

#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static inline int make_path(void **state)
{
	snprintf(path, sizeof(path), "/tmp/cenmail-aliases.XXXXXX");
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static inline int remove_path(void **state)
{
	return unlink(path);
}

static inline void write_aliases(struct span text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
	assert_int_equal(fclose(f), 0);
}

#endif
