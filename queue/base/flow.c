/*
 * A hash of what makes a flow (FNV-1a), folded.
 */
#include "base/flow.h"

#include <stdint.h>

static uint64_t mix(uint64_t h, unsigned char c)
{
	return (h ^ c) * UINT64_C(0x100000001b3);
}

static long find_last(struct span s, char c)
{
	long at = (long)s.n - 1;
	while (at >= 0 && s.p[at] != c)
		at--;
	return at;
}

/* What stands before the extension: up to "+"; with "=" and no "+", up to the "-" before it. */
static struct span without_extension(struct span local)
{
	long plus = span_find(local, '+'), equal = span_find(local, '=');
	if (plus > 0)
		return span_make(local.p, (size_t)plus);
	if (equal <= 0)
		return local;
	struct span s = span_make(local.p, (size_t)equal);
	long dash = find_last(s, '-');
	return dash > 0 ? span_make(s.p, (size_t)dash) : s;
}

static uint64_t mix_lower(uint64_t h, struct span s, bool digits)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c - 'A' + 'a');
		if (digits || c < '0' || c > '9')
			h = mix(h, c);
	}
	return h;
}

unsigned flow_of(uid_t uid, struct span sender, unsigned recipients)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	long at = find_last(sender, '@');
	struct span local = at < 0 ? sender : span_make(sender.p, (size_t)at);
	for (unsigned i = 0; i < 32; i += 8)
		h = mix(h, (unsigned char)(uid >> i));
	h = mix(h, recipients > FLOW_MANY);
	h = mix_lower(h, without_extension(local), false);
	h = mix_lower(h, span_from(sender, local.n), true);
	h ^= h >> 32;
	h ^= h >> 16;
	return (unsigned)((h ^ h >> 8) % FLOW_COUNT);
}
