/*
 * Certificates: what is looked at, and how it is said. Peer text never gets into the words.
 */
#include "wire/certificate.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/number.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes what an i2d_ function gave. */
static int hash_der(int n, unsigned char *der, unsigned char out[DIGEST_SHA256])
{
	if (n <= 0)
		return -1;
	int r = digest_sha256(span_make((const char *)der, (size_t)n), out);
	OPENSSL_free(der);
	return r;
}

static int hash_certificate(X509 *x, unsigned char out[DIGEST_SHA256])
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	return hash_der(n, der, out);
}

static int hash_key(X509 *x, unsigned char out[DIGEST_SHA256])
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	return hash_der(n, der, out);
}

static bool is_pinned(X509 *x, const struct certificate_rule *rule)
{
	unsigned char certificate[DIGEST_SHA256], key[DIGEST_SHA256];

	if (hash_certificate(x, certificate) < 0 || hash_key(x, key) < 0)
		return false;
	for (unsigned i = 0; i < rule->pins; i++)
		if (digest_equal(rule->pin[i], certificate, DIGEST_SHA256) ||
			digest_equal(rule->pin[i], key, DIGEST_SHA256))
			return true;
	return false;
}

/* The public key's pin in hexadecimal. 0 or -1. */
static int key_pin(X509 *x, char hex[65])
{
	unsigned char key[DIGEST_SHA256];

	if (hash_key(x, key) < 0)
		return -1;
	hex_encode(key, sizeof key, hex);
	return 0;
}

/* X509_cmp_time answers 0 for a date that it can't read: that is neither. */
static int check_dates(X509 *x)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);

	if (X509_cmp_time(X509_get0_notBefore(x), &now) != -1)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	if (X509_cmp_time(X509_get0_notAfter(x), &now) != 1)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	return X509_V_OK;
}

static int check_pinned(X509 *x, const struct certificate_rule *rule)
{
	return is_pinned(x, rule) ? check_dates(x) : X509_V_ERR_CERT_REJECTED;
}

/* --- words --- */

static const char *date_text(const ASN1_TIME *t, char out[32])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, 32, "a date that can't be read");
	return out;
}

/* The faults that are told without the certificate's dates or the host's name. */
static const char *words_of(int code, bool pinned)
{
	static const struct {
		int code;
		const char *words;
	} t[] = {
		{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
			"self-signed certificate (give its pin=, or the file with its CA as ca=)" },
		{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
			"a self-signed CA that is not known here (give the file with it as ca=, or "
			"pin=)" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
			"its certificate's issuer is not known here (install ca-certificates, or "
			"give ca= or pin=)" },
		{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
			"its certificate's issuer is not known here (install ca-certificates, or "
			"give ca= or pin=)" },
	};
	if (pinned && code == X509_V_ERR_CERT_REJECTED)
		return "no pin matches (if its key was changed, compare it there, then add the new "
		       "pin)";
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		if (t[i].code == code)
			return t[i].words;
	return X509_verify_cert_error_string(code);
}

struct fault {
	int code;   /* X509_V_ERR_… */
	X509 *leaf; /* the peer's own */
	X509 *at;   /* in which certificate of the chain the fault is */
	const struct certificate_rule *rule;
};

static void explain(const struct fault *f, char *out, size_t size)
{
	char words[384], date[32], hex[2 * DIGEST_SHA256 + 1];
	const char *whose = f->at == f->leaf ? "" : "'s issuer";

	if (f->code == X509_V_ERR_CERT_HAS_EXPIRED)
		snprintf(words, sizeof words, "its certificate%s expired on %s", whose,
			date_text(X509_get0_notAfter(f->at), date));
	else if (f->code == X509_V_ERR_CERT_NOT_YET_VALID)
		snprintf(words, sizeof words,
			"its certificate%s is not valid before %s (is this host's clock right?)",
			whose, date_text(X509_get0_notBefore(f->at), date));
	else if (f->code == X509_V_ERR_HOSTNAME_MISMATCH ||
		 f->code == X509_V_ERR_IP_ADDRESS_MISMATCH)
		snprintf(words, sizeof words,
			"its certificate is not for %s (use a name it is for, or pin=)",
			f->rule->host);
	else
		snprintf(words, sizeof words, "%s", words_of(f->code, f->rule->pins > 0));
	/* The pin first: a long host name must not cut it off. */
	snprintf(out, size, "pin=sha256:%s: %s", key_pin(f->leaf, hex) == 0 ? hex : "unknown",
		words);
}

/* --- what is accepted --- */

bool certificate_accept(
	X509_STORE_CTX *store, const struct certificate_rule *rule, char *why, size_t size)
{
	struct fault f = { .leaf = X509_STORE_CTX_get0_cert(store), .rule = rule };

	f.at = f.leaf;
	if (rule->pins > 0) {
		f.code = check_pinned(f.leaf, rule);
	} else if (X509_verify_cert(store) != 1) {
		f.code = X509_STORE_CTX_get_error(store);
		if (f.code == X509_V_OK)
			f.code = X509_V_ERR_UNSPECIFIED;
		if (X509_STORE_CTX_get_current_cert(store))
			f.at = X509_STORE_CTX_get_current_cert(store);
	}
	X509_STORE_CTX_set_error(store, f.code);
	if (f.code != X509_V_OK)
		explain(&f, why, size);
	return f.code == X509_V_OK;
}

bool certificate_accept_again(X509 *x, const struct certificate_rule *rule, char *why, size_t size)
{
	const struct fault f = {
		.code = rule->pins > 0 ? check_pinned(x, rule) : check_dates(x),
		.leaf = x,
		.at = x,
		.rule = rule,
	};
	if (f.code != X509_V_OK)
		explain(&f, why, size);
	return f.code == X509_V_OK;
}

/* --- files --- */

static int no_passphrase(char *p, int size, int writing, void *arg)
{
	return 0; /* never ask on a terminal */
}

X509 *certificate_read(const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f) {
		err_sys(e, EX_CONFIG, "can't open the certificate %s", path);
		return NULL;
	}
	X509 *x = PEM_read_X509(f, NULL, no_passphrase, NULL);
	fclose(f);
	if (!x)
		err_set(e, EX_CONFIG, "%s: no certificate in PEM form", path);
	ERR_clear_error();
	return x;
}

static EVP_PKEY *read_key(FILE *f, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fileno(f), &st) < 0) {
		err_sys(e, EX_CONFIG, "can't look at the key %s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(e, EX_CONFIG, "%s is not a regular file", path);
		return NULL;
	}
	if (st.st_mode & S_IRWXO) {
		err_set(e, EX_CONFIG,
			"%s: others may read or change this key (mode %04o); do: chmod 600 %s",
			path, (unsigned)(st.st_mode & 07777), path);
		return NULL;
	}
	EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
	if (!key)
		err_set(e, EX_CONFIG, "%s: no key in PEM form without a passphrase", path);
	ERR_clear_error();
	return key;
}

EVP_PKEY *certificate_read_key(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f) {
		err_sys(e, EX_CONFIG, "can't open the key %s", path);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	EVP_PKEY *key = read_key(f, path, e);
	fclose(f); /* stdio's copy of the key goes back to the heap: it is OpenSSL's as well */
	return key;
}
