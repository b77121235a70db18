/*
 * Digests by OpenSSL, with the calls that 1.1.1 and 3 have in common.
 */
#include "base/digest.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

int digest_sha256(struct span in, unsigned char out[DIGEST_SHA256])
{
	unsigned n = 0;

	if (EVP_Digest(in.p, in.n, out, &n, EVP_sha256(), NULL) != 1 || n != DIGEST_SHA256)
		return -1;
	return 0;
}

int digest_hmac_sha256(struct span key, struct span in, unsigned char out[DIGEST_SHA256])
{
	unsigned n = 0;

	if (key.n > INT_MAX ||
		!HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)in.p, in.n, out,
			&n) ||
		n != DIGEST_SHA256)
		return -1;
	return 0;
}

bool digest_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
