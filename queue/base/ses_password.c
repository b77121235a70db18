/*
 * AWS's chain of HMACs, as a signature of version 4 for a date that never was.
 */
#include "base/ses_password.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/digest.h"

#define SECRET_MAX 128
#define VERSION    0x04

static bool is_word(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

int ses_password(struct span region, struct span secret, char out[SES_PASSWORD_SIZE], struct err *e)
{
	const struct span steps[] = { span_of("11111111"), region, span_of("ses"),
		span_of("aws4_request"), span_of("SendRawEmail") };
	char first[SECRET_MAX + 4] = "AWS4";
	unsigned char signature[1 + DIGEST_SHA256] = { VERSION };
	struct span key = span_make(first, 4 + secret.n);
	struct buf text;
	int r = 0;

	if (!is_word(region) || !is_word(secret) || secret.n > SECRET_MAX)
		return err_set(e, EX_CONFIG,
			"an IAM secret is one word, and so is its region, as ap-northeast-1");
	memcpy(first + 4, secret.p, secret.n);
	for (size_t i = 0; i < sizeof steps / sizeof *steps && r == 0; i++) {
		unsigned char next[DIGEST_SHA256];
		r = digest_hmac_sha256(key, steps[i], next);
		memcpy(signature + 1, next, sizeof next);
		wipe(next, sizeof next);
		key = span_make((const char *)signature + 1, DIGEST_SHA256);
	}
	buf_init_secret(&text, 64);
	base64_encode(span_make((const char *)signature, sizeof signature), &text);
	if (r < 0 || text.failed || text.len >= SES_PASSWORD_SIZE)
		r = err_set(e, EX_SOFTWARE, "the password can't be derived");
	else
		memcpy(out, buf_str(&text), text.len + 1);
	buf_done(&text);
	wipe(first, sizeof first);
	wipe(signature, sizeof signature);
	return r;
}
