/*
 * What the stand-in remembers for the test: a line of JSON for each accepted message, its content
 * when asked, and counters. A line is one write(2), made before the message is answered for.
 */
#ifndef SES_RECORD_H
#define SES_RECORD_H

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "io.h"

/* X(name, what is counted) */
#define COUNTERS(X)                                                                                \
	X(connections, "accepted, those over --max-connections too")                               \
	X(open, "of them open now")                                                                \
	X(most_open, "at once")                                                                    \
	X(handshakes, "TLS sessions that came up")                                                 \
	X(resumed, "of them, those that went on from an earlier one")                              \
	X(authenticated, "AUTH answered with 235")                                                 \
	X(auth_refused, "AUTH answered with 535")                                                  \
	X(commands, "lines")                                                                       \
	X(pipelined, "times a client spoke before it was answered")                                \
	X(messages, "accepted")                                                                    \
	X(recipients, "of accepted messages")                                                      \
	X(bytes, "of accepted messages")                                                           \
	X(refused, "messages refused at the final dot")                                            \
	X(throttled, "of them by --rate")                                                          \
	X(idled, "connections ended by --idle")                                                    \
	X(faults, "times the script of faults had its way")

#define COUNTER_DECLARE(name, what) atomic_ulong name;
static struct {
	COUNTERS(COUNTER_DECLARE)
} counters;

static struct {
	const char *dir; /* NULL: nothing is written */
	int fd;
	bool keep;
	atomic_ulong serial;
} record;

struct text { /* a line under construction; memory comes in doubling steps */
	char *p;
	size_t n, cap;
};

static void text_add(struct text *t, const char *s, size_t n)
{
	if (t->n + n > t->cap) {
		t->cap = 2 * (t->n + n) + 256;
		t->p = realloc(t->p, t->cap);
		if (!t->p)
			abort();
	}
	memcpy(t->p + t->n, s, n);
	t->n += n;
}

__attribute__((format(printf, 2, 3))) static void text_printf(struct text *t, const char *fmt, ...)
{
	char small[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof small, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof small)
		abort();
	text_add(t, small, (size_t)n);
}

/* A JSON string. Octets above 127 are written as U+0080 to U+00FF, one for one. */
static void text_json(struct text *t, const char *s)
{
	text_add(t, "\"", 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			text_printf(t, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			text_printf(t, "\\u%04x", c);
		else
			text_add(t, s, 1);
	}
	text_add(t, "\"", 1);
}

static void sha256_hex(const char *p, size_t n, char hex[65])
{
	unsigned char md[32];
	if (EVP_Digest(p, n, md, NULL, EVP_sha256(), NULL) != 1)
		abort();
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
}

/* An id in SES's form: 0107, milliseconds, something like a UUID, six zeros. */
static void record_id(char *id, size_t size)
{
	unsigned long n = atomic_fetch_add(&record.serial, 1) + 1;
	snprintf(id, size, "0107%012" PRIx64 "-%08x-5e50-4000-8000-%012lx-000000",
		(uint64_t)now_ms(CLOCK_REALTIME), (unsigned)getpid(), n);
}

static void write_all(int fd, const char *p, size_t n, const char *what)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k <= 0) {
			perror(what);
			_exit(1);
		}
		p += k;
		n -= (size_t)k;
	}
}

static void record_content(const char *id, const char *p, size_t n)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s.eml", record.dir, id);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(path);
		_exit(1);
	}
	write_all(fd, p, n, path);
	close(fd);
}

struct accepted {
	const char *id, *sender;
	char *const *rcpt;
	unsigned rcpts;
	const char *content;
	size_t size;
	unsigned long connection, bare; /* bare: CR, LF, NUL that no mail may hold */
	bool tls, eightbit;
};

static void record_message(const struct accepted *m)
{
	atomic_fetch_add(&counters.messages, 1);
	atomic_fetch_add(&counters.recipients, m->rcpts);
	atomic_fetch_add(&counters.bytes, m->size);
	if (!record.dir)
		return;
	if (record.keep)
		record_content(m->id, m->content, m->size);
	char hex[65];
	sha256_hex(m->content, m->size, hex);
	struct text t = { 0 };
	text_printf(&t, "{\"id\":\"%s\",\"sender\":", m->id);
	text_json(&t, m->sender);
	text_printf(&t, ",\"recipients\":[");
	for (unsigned i = 0; i < m->rcpts; i++) {
		if (i)
			text_add(&t, ",", 1);
		text_json(&t, m->rcpt[i]);
	}
	text_printf(&t,
		"],\"size\":%zu,\"sha256\":\"%s\",\"connection\":%lu,\"bare\":%lu,\"tls\":%s,"
		"\"eightbit\":%s,\"time\":%" PRId64 "}\n",
		m->size, hex, m->connection, m->bare, m->tls ? "true" : "false",
		m->eightbit ? "true" : "false", now_ms(CLOCK_REALTIME));
	write_all(record.fd, t.p, t.n, "messages.jsonl");
	free(t.p);
}

/* The counters, as one JSON object on a line. */
static void counters_write(int fd)
{
	struct text t = { 0 };
#define COUNTER_TEXT(name, what)                                                                   \
	text_printf(&t, "%s\"" #name "\":%lu", t.n ? "," : "{", atomic_load(&counters.name));
	COUNTERS(COUNTER_TEXT)
	text_add(&t, "}\n", 2);
	write_all(fd, t.p, t.n, "counters");
	free(t.p);
}

static void record_counters(void)
{
	char path[4096];
	if (!record.dir)
		return;
	snprintf(path, sizeof path, "%s/counters.json", record.dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0) {
		counters_write(fd);
		close(fd);
	}
}

static void record_open(const char *dir, bool keep)
{
	char path[4096];
	record.dir = dir;
	record.keep = keep;
	if (!dir)
		return;
	snprintf(path, sizeof path, "%s/messages.jsonl", dir);
	record.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (record.fd < 0) {
		perror(path);
		exit(1);
	}
}

#endif
