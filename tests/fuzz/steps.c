/*
 * Time in proportion to the input, counted and not timed: the parsers are compiled so that every
 * basic block calls trace_pc below, and what libc does in a loop counts its octets. Each pattern,
 * repeated to N and to 2N octets, may take at most a little more than twice the steps.
 *
 *     steps N        (1048576) prints each pattern's steps; exits 1 where they are out of
 * proportion
 */
#include "base/address_list.h"
#include "base/recipients.h"
#include "sendmail/compose.h"
#include "sendmail/intake.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define UNCOUNTED __attribute__((no_sanitize("coverage")))

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);
UNCOUNTED void __sanitizer_cov_trace_pc(void)
{
	steps++;
}

/* By the linker's --wrap. */
void *__real_memchr(const void *p, int c, size_t n);
void *__wrap_memchr(const void *p, int c, size_t n);
void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);
void *__real_memmove(void *to, const void *from, size_t n);
void *__wrap_memmove(void *to, const void *from, size_t n);

UNCOUNTED void *__wrap_memchr(const void *p, int c, size_t n)
{
	const char *at = __real_memchr(p, c, n);
	steps += at ? (size_t)(at - (const char *)p) : n;
	return (void *)(uintptr_t)at;
}

UNCOUNTED void *__wrap_memcpy(void *to, const void *from, size_t n)
{
	steps += n;
	return __real_memcpy(to, from, n);
}

UNCOUNTED void *__wrap_memmove(void *to, const void *from, size_t n)
{
	steps += n;
	return __real_memmove(to, from, n);
}

static int count(void *arg, const struct mailbox *m, struct err *e)
{
	++*(size_t *)arg;
	return 0;
}

static void list(struct span s)
{
	size_t found = 0;
	address_list_parse(s, count, &found, NULL);
}

static void recipients(struct span s)
{
	const struct recipients_rules rules = {
		.domain = "example.com", .postmaster = "", .max = 1 << 20
	};
	struct recipients *r = recipients_new(&rules);

	if (r)
		recipients_add(r, s, NULL);
	recipients_free(r);
}

static int on_header(void *arg, const struct intake_header *h, struct spool *to, struct err *e)
{
	static const struct sender sender = { .address = "me@example.com",
		.rules = { .given = "me@example.com", .domain = "example.com" } };
	struct compose c = {
		.sender = &sender, .hostname = "host.example", .domain = "x", .id = "abc", .now = 1
	};
	struct header_facts facts;

	header_survey(h->fields, &facts);
	return compose_header(&c, h->fields, &facts, to, e);
}

/* In reads of a pipe's size. */
static void take(struct span s)
{
	struct intake in;
	struct spool spool;
	int r = 0;

	spool_init(&spool, "/tmp");
	intake_init(&in, true);
	in.on_header = on_header;
	in.to = &spool;
	in.size_max = UINT64_MAX;
	for (; s.n > 0 && r == 0; s = span_from(s, 4096))
		r = intake_add(&in, span_make(s.p, s.n < 4096 ? s.n : 4096), NULL);
	if (r == 0)
		intake_end(&in, NULL);
	intake_done(&in);
	spool_done(&spool);
}

/* What this test must be able to see: each octet looks back to the beginning. */
static void quadratic(struct span s)
{
	for (size_t i = 0; i < s.n; i += 64)
		span_find(span_make(s.p, i), '\n');
}

static const struct row {
	void (*run)(struct span s);
	const char *name, *begin, *unit;
} rows[] = {
	{ list, "list", "", "(" },
	{ list, "list", "", "((((\\)" },
	{ list, "list", "", "()" },
	{ list, "list", "", "\"" },
	{ list, "list", "", "\"\\\"" },
	{ list, "list", "", "<" },
	{ list, "list", "", "<a>," },
	{ list, "list", "", "=?" },
	{ list, "list", "", "=?x?q?" },
	{ list, "list", "", "=?x?q?y?=" },
	{ list, "list", "", "a@b," },
	{ list, "list", "", "a@b;" },
	{ list, "list", "", "@" },
	{ list, "list", "", "," },
	{ list, "list", "", "g:a;" },
	{ list, "list", "", "[" },
	{ list, "list", "", "a " },
	{ list, "list", "", "a(b)" },
	{ list, "list", "", "\r\n " },
	{ recipients, "recipients", "", "a@b," },
	{ recipients, "recipients", "", "a," },
	{ take, "header", "To: ", "a," },
	{ take, "header", "To: ", "a@b,\n " },
	{ take, "header", "", "X: y\n" },
	{ take, "header", "", ":" },
	{ take, "header", "", "A" },
	{ take, "header", "X: ", "y" },
	{ take, "header", "X: ", " " },
	{ take, "header", "X: ", "y " },
	{ take, "header", "X: y\n", " z\n" },
	{ take, "header", "X: ", "\r" },
	{ take, "header", "", "From \n" },
	{ take, "body", "\n", "." },
	{ take, "body", "\n", "\r" },
	{ take, "body", "\n", "x" },
	{ take, "body", "\n", "\xE5\xB1\xB1" },
	{ take, "body", "\n", "\xF0" },
	{ take, "body", "\n", "..\n" },
	{ quadratic, "quadratic, as a control", "", "x" },
};

static uint64_t steps_of(const struct row *row, char *text, size_t size)
{
	size_t begin = strlen(row->begin), unit = strlen(row->unit);

	for (size_t i = 0; i < size; i++)
		text[i] = i < begin ? row->begin[i] : row->unit[(i - begin) % unit];
	steps = 0;
	row->run(span_make(text, size));
	return steps;
}

int main(int argc, char **argv)
{
	size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) : 1 << 20;
	char *text = malloc(2 * most);
	int bad = 0;

	for (size_t i = 0; text && i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool control = rows[i].run == quadratic;
		/* A header must stay below its ceiling, and the control must come to an end. */
		size_t size = strcmp(rows[i].name, "header") == 0 ? most / 4
			      : control                           ? most / 16
								  : most;
		uint64_t one = steps_of(&rows[i], text, size),
			 two = steps_of(&rows[i], text, 2 * size);
		bool linear = two <= one * 22 / 10 + 100000;
		printf("%-10s %10llu %10llu  %.2f  ", rows[i].name, (unsigned long long)one,
			(unsigned long long)two, (double)two / (double)(one + 1));
		for (const char *p = rows[i].unit; *p; p++)
			printf(*p > ' ' && *p <= '~' ? "%c" : "\\x%02x", (unsigned char)*p);
		printf("%s\n", linear != control ? "" : "  OUT OF PROPORTION");
		bad += linear == control;
	}
	free(text);
	return text && bad == 0 ? 0 : 1;
}
