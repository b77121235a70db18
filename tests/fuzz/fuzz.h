/*
 * What a fuzz target is made of. `make fuzzers` links each tests/fuzz/fuzz_NAME.c with libFuzzer,
 * the library and the sanitizers; corpus/NAME.txt is its corpus (see fuzz.py). A target asserts
 * what its parser promises for every input, not only that it does not crash.
 */
#ifndef CENMAIL_FUZZ_H
#define CENMAIL_FUZZ_H

#include "base/span.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert that shows what it was about. */
static inline void expect(bool good, const char *what, struct span about)
{
	if (good)
		return;
	fprintf(stderr, "%s: \"", what);
	for (size_t i = 0; i < about.n && i < 2000; i++) {
		unsigned char c = (unsigned char)about.p[i];
		fprintf(stderr, c < ' ' || c > '~' || c == '\\' ? "\\x%02x" : "%c", c);
	}
	fprintf(stderr, "\"\n");
	abort();
}

/* Takes octets off the front, as choices that the rest of the input does not hold. */
static inline uint8_t fuzz_octet(struct span *s)
{
	uint8_t c = s->n > 0 ? (uint8_t)s->p[0] : 0;
	*s = span_from(*s, 1);
	return c;
}

#endif
