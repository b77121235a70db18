/*
 * The command line: the input is the arguments, each ended by a NUL. The first is the name that
 * the program was called by.
 */
#include "fuzz.h"

#include "sendmail/options.h"

#define ARGS 64

/* Splits a terminated copy of the input. */
static int split(char *copy, size_t n, char **argv)
{
	int argc = 0;

	for (size_t at = 0; at < n && argc < ARGS; at += strlen(copy + at) + 1)
		argv[argc++] = copy + at;
	argv[argc] = NULL;
	return argc;
}

static void check_within(const char *p, const char *copy, size_t n)
{
	expect(!p || (p >= copy && p <= copy + n), "a string that is no argument's",
		span_make(copy, n));
}

static void check_taken(const struct options *o, char **argv, int argc, struct span in)
{
	expect(o->rcpts <= (unsigned)argc, "more recipients than arguments", in);
	for (unsigned i = 0; i < o->rcpts; i++) {
		char **at = o->rcpt + i;
		expect(at > argv && at < argv + argc, "recipients outside the arguments", in);
	}
	check_within(o->sender, in.p, in.n);
	check_within(o->full_name, in.p, in.n);
	check_within(o->envid, in.p, in.n);
	expect(!o->full_name || strlen(o->full_name) <= OPTIONS_NAME_MAX, "a long name", in);
	expect(!o->envid || (*o->envid && strlen(o->envid) <= 100), "a long envelope id", in);
	expect(memchr(o->notify, '\0', sizeof(o->notify)) != NULL, "notify", in);
	expect(!strstr(o->notify, "NEVER") || strcmp(o->notify, "NEVER") == 0, "NEVER alone", in);
	expect(!o->ret || !strcmp(o->ret, "FULL") || !strcmp(o->ret, "HDRS"), "ret", in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[ARGS + 1], *copy = malloc(size + 1), *kept = malloc(size + 1);
	struct options o, again;
	struct err e = { 0 };

	assert(copy && kept);
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	memcpy(kept, copy, size + 1);
	int argc = split(copy, size, argv);
	int r = options_parse(argc, argv, &o, &e);
	expect(memcmp(kept, copy, size + 1) == 0, "the arguments were changed",
		span_make(kept, size));
	if (r == 0) {
		check_taken(&o, argv, argc, span_make(copy, size));
		expect(options_parse(argc, argv, &again, &e) == 0 && again.mode == o.mode &&
				again.rcpts == o.rcpts && again.sender == o.sender,
			"not the same again", span_make(copy, size));
	} else {
		expect(e.code == EX_USAGE && e.text[0], "refused without words",
			span_make(copy, size));
	}
	free(copy);
	free(kept);
	return 0;
}
