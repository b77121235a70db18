/*
 * Digests by their published vectors, and base64 both ways.
 */
#include "base/base64.h"
#include "base/digest.h"
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void sha256(void **state)
{
	/* FIPS 180-2 appendix B.1, and the empty message */
	unsigned char out[DIGEST_SHA256];
	char hex[2 * DIGEST_SHA256 + 1];

	assert_int_equal(digest_sha256(span_of("abc"), out), 0);
	hex_encode(out, sizeof out, hex);
	assert_string_equal(
		hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_sha256(span_of(""), out), 0);
	hex_encode(out, sizeof out, hex);
	assert_string_equal(
		hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void hmac_sha256(void **state)
{
	/* RFC 4231 test case 2, and the empty key and message */
	unsigned char out[DIGEST_SHA256];
	char hex[2 * DIGEST_SHA256 + 1];

	assert_int_equal(
		digest_hmac_sha256(span_of("Jefe"), span_of("what do ya want for nothing?"), out),
		0);
	hex_encode(out, sizeof out, hex);
	assert_string_equal(
		hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	assert_int_equal(digest_hmac_sha256(span_of(""), span_of(""), out), 0);
	hex_encode(out, sizeof out, hex);
	assert_string_equal(
		hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void equal(void **state)
{
	assert_true(digest_equal("abc", "abc", 3));
	assert_true(digest_equal("abc", "abd", 2));
	assert_false(digest_equal("abc", "abd", 3));
	assert_true(digest_equal("a", "b", 0));
}

static void base64_vectors(void **state)
{
	/* RFC 4648 section 10, and what PLAIN sends */
	static const struct {
		const char *raw;
		size_t n;
		const char *text;
	} t[] = {
		{ "", 0, "" },
		{ "f", 1, "Zg==" },
		{ "fo", 2, "Zm8=" },
		{ "foo", 3, "Zm9v" },
		{ "foob", 4, "Zm9vYg==" },
		{ "fooba", 5, "Zm9vYmE=" },
		{ "foobar", 6, "Zm9vYmFy" },
		{ "\0u\0p", 4, "AHUAcA==" },
		{ "\xff\xfe\xfb\xff", 4, "//77/w==" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf b;
		buf_init(&b, 100);
		base64_encode(span_make(t[i].raw, t[i].n), &b);
		assert_string_equal(buf_str(&b), t[i].text);
		buf_clear(&b);
		assert_int_equal(base64_decode(span_of(t[i].text), &b), 0);
		assert_true(span_eq(buf_span(&b), span_make(t[i].raw, t[i].n)));
		buf_done(&b);
	}
}

static void base64_refused(void **state)
{
	static const char *const bad[] = { "Z", "Zg",
		"Zg=", "Zg===", "====", "=Zg=", "Z===", "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm9v Zm9",
		"Zm9-", "Zm9_", "Zh==", "Zm9=", "Zg=A", "\xC3\xA9Zg", "Zm9vZg=" };
	struct buf b;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		buf_init(&b, 100);
		if (base64_decode(span_of(bad[i]), &b) != -1)
			fail_msg("taken: %s", bad[i]);
		buf_done(&b);
	}
	buf_init(&b, 100);
	assert_int_equal(base64_decode(span_make("Zm9\0", 4), &b), -1);
	buf_done(&b);
	buf_init(&b, 5); /* the ceiling holds */
	assert_int_equal(base64_decode(span_of("Zm9vYmFy"), &b), -1);
	assert_string_equal(buf_str(&b), "foo");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256),
		cmocka_unit_test(hmac_sha256),
		cmocka_unit_test(equal),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
