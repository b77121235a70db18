/*
 * Base64 (RFC 4648), by hand: OpenSSL's decoder skips what it does not understand, and the server
 * side must do without OpenSSL, as `sendmail -bs` is to share it.
 */
#include "base/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct span in, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)in.p;

	for (size_t i = 0; i < in.n; i += 3) {
		size_t n = in.n - i;
		unsigned v = (unsigned)p[i] << 16;
		if (n > 1)
			v |= (unsigned)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		char four[4] = { letters[v >> 18], letters[v >> 12 & 63],
			n > 1 ? letters[v >> 6 & 63] : '=', n > 2 ? letters[v & 63] : '=' };
		buf_add(out, four, sizeof four);
	}
}

static int value_of(char c)
{
	const char *at = memchr(letters, c, 64);
	return at ? (int)(at - letters) : -1;
}

/* Four letters, of which the last `pad` are '='. The bits that padding leaves over must be 0, so
 * that a value has one spelling only. */
static bool decode_four(const char *p, unsigned pad, struct buf *out)
{
	unsigned v = 0;

	for (unsigned i = 0; i < 4; i++) {
		int d = i < 4 - pad ? value_of(p[i]) : 0;
		if (d < 0)
			return false;
		v = v << 6 | (unsigned)d;
	}
	if (v & ((1u << 8 * pad) - 1))
		return false;
	char three[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };
	buf_add(out, three, 3 - pad);
	return !out->failed;
}

int base64_decode(struct span in, struct buf *out)
{
	if (in.n % 4 != 0)
		return -1;
	for (size_t i = 0; i < in.n; i += 4) {
		unsigned pad = 0;
		if (i + 4 == in.n && in.p[i + 3] == '=')
			pad = in.p[i + 2] == '=' ? 2 : 1;
		if (!decode_four(in.p + i, pad, out))
			return -1;
	}
	return 0;
}
