/*
 * Certificates for tests, made by the library: self-signed, or signed by another one that was made
 * here. The files are in a temporary directory.
 */
#ifndef CENMAIL_TEST_PKI_H
#define CENMAIL_TEST_PKI_H

#include "base/digest.h"
#include "base/number.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

struct pki_pair {
	char certificate[128], key[128]; /* files */
	char pin[65];                    /* of the public key */
	char certificate_pin[65];
	X509 *x509;
	EVP_PKEY *pkey;
};

struct pki_options {
	const char *name;              /* a DNS name in subjectAltName; NULL: none */
	size_t name_n;                 /* its octets, where it holds NUL; 0: strlen */
	const char *ip;                /* an IPv4 address in subjectAltName */
	const char *cn;                /* NULL: "test" */
	int begins, days;              /* from today, in days, and for how long */
	const struct pki_pair *issuer; /* NULL: self-signed */
	bool ca;
};

static char pki_dir[64];
static unsigned pki_count;
static struct pki_pair *pki_made[32];

#define PKI_CHECK(x)                                                                               \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void pki_init(void)
{
	snprintf(pki_dir, sizeof pki_dir, "/tmp/cenmail-pki-XXXXXX");
	PKI_CHECK(mkdtemp(pki_dir));
}

static void pki_done(void)
{
	for (unsigned i = 0; i < pki_count; i++) {
		unlink(pki_made[i]->certificate);
		unlink(pki_made[i]->key);
		X509_free(pki_made[i]->x509);
		EVP_PKEY_free(pki_made[i]->pkey);
	}
	rmdir(pki_dir);
}

static void pki_add_names(X509 *x, const struct pki_options *o)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();

	if (o->name) {
		GENERAL_NAME *n = GENERAL_NAME_new();
		ASN1_IA5STRING *s = ASN1_IA5STRING_new();
		size_t len = o->name_n ? o->name_n : strlen(o->name);
		PKI_CHECK(ASN1_STRING_set(s, o->name, (int)len));
		GENERAL_NAME_set0_value(n, GEN_DNS, s);
		PKI_CHECK(sk_GENERAL_NAME_push(names, n));
	}
	if (o->ip) {
		GENERAL_NAME *n = GENERAL_NAME_new();
		GENERAL_NAME_set0_value(n, GEN_IPADD, a2i_IPADDRESS(o->ip));
		PKI_CHECK(sk_GENERAL_NAME_push(names, n));
	}
	if (o->name || o->ip)
		PKI_CHECK(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1);
	GENERAL_NAMES_free(names);
}

static EVP_PKEY *pki_new_key(void)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);

	PKI_CHECK(c && EVP_PKEY_keygen_init(c) == 1 &&
		  EVP_PKEY_CTX_set_ec_paramgen_curve_nid(c, NID_X9_62_prime256v1) == 1 &&
		  EVP_PKEY_keygen(c, &key) == 1);
	EVP_PKEY_CTX_free(c);
	return key;
}

static void pki_pin(int n, unsigned char *der, char hex[65])
{
	unsigned char sha[DIGEST_SHA256];

	PKI_CHECK(n > 0 && digest_sha256(span_make((char *)der, (size_t)n), sha) == 0);
	hex_encode(sha, sizeof sha, hex);
	OPENSSL_free(der);
}

static void pki_write(struct pki_pair *p)
{
	unsigned char *der = NULL;
	FILE *f = fopen(p->certificate, "we");
	PKI_CHECK(f && PEM_write_X509(f, p->x509) == 1 && fclose(f) == 0);
	f = fopen(p->key, "we");
	PKI_CHECK(f && fchmod(fileno(f), 0600) == 0 &&
		  PEM_write_PrivateKey(f, p->pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
		  fclose(f) == 0);
	int n = i2d_X509(p->x509, &der);
	pki_pin(n, der, p->certificate_pin);
	der = NULL;
	n = i2d_PUBKEY(p->pkey, &der);
	pki_pin(n, der, p->pin);
}

static void pki_make(struct pki_pair *p, const struct pki_options *o)
{
	const char *cn = o->cn ? o->cn : "test";

	PKI_CHECK(pki_count < sizeof pki_made / sizeof *pki_made);
	snprintf(p->certificate, sizeof p->certificate, "%s/%u.pem", pki_dir, pki_count);
	snprintf(p->key, sizeof p->key, "%s/%u.key", pki_dir, pki_count);
	p->pkey = pki_new_key();
	p->x509 = X509_new();
	PKI_CHECK(X509_set_version(p->x509, 2) == 1);
	ASN1_INTEGER_set(X509_get_serialNumber(p->x509), 1000 + (long)pki_count);
	X509_time_adj_ex(X509_getm_notBefore(p->x509), o->begins, o->begins ? 0 : -3600, NULL);
	X509_time_adj_ex(X509_getm_notAfter(p->x509), o->begins + o->days, 0, NULL);
	PKI_CHECK(X509_set_pubkey(p->x509, p->pkey) == 1);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(p->x509), "CN", MBSTRING_ASC,
		(const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(p->x509, X509_get_subject_name(o->issuer ? o->issuer->x509 : p->x509));
	if (o->ca) {
		BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
		b->ca = 0xff;
		PKI_CHECK(X509_add1_ext_i2d(p->x509, NID_basic_constraints, b, 1, 0) == 1);
		BASIC_CONSTRAINTS_free(b);
	}
	pki_add_names(p->x509, o);
	PKI_CHECK(X509_sign(p->x509, o->issuer ? o->issuer->pkey : p->pkey, EVP_sha256()) > 0);
	pki_write(p);
	pki_made[pki_count++] = p;
}

#endif
