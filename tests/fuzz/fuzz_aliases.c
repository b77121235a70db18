/*
 * The aliases file, as newaliases reads it and as each of its names is expanded. First octet: how
 * names without an alias are resolved.
 */
#include "fuzz.h"

#include "base/address.h"
#include "sendmail/aliases_check.h"

#include <sys/mman.h>
#include <unistd.h>

#define MAX 20 /* recipients */

static char path[64];

/* A file that is never on a disk. */
static void put_file(struct span text)
{
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("aliases", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	assert(ftruncate(fd, 0) == 0);
	assert(pwrite(fd, text.p, text.n, 0) == (ssize_t)text.n);
}

/* Every line is `path:LINE: words`, with a line that is in the file. */
static unsigned check_words(const char *said, struct span text)
{
	unsigned long lines = 1;
	unsigned count = 0;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	for (; *said; said += strcspn(said, "\n") + 1, count++) {
		expect(strncmp(said, path, strlen(path)) == 0, "no path", text);
		said += strlen(path);
		char *end;
		unsigned long line = *said == ':' ? strtoul(said + 1, &end, 10) : 0;
		expect(line >= 1 && line <= lines && end[0] == ':' && end[1] == ' ', "line", text);
	}
	return count;
}

/* Expands one alias: what comes of it are addresses, or a reason. */
static void expand(const struct recipients_rules *rules, struct span name, bool clean)
{
	struct recipients *r = recipients_new(rules);
	struct address a;
	struct err e = { 0 };
	int result;

	assert(r);
	result = recipients_add(r, name, &e);
	if (result == 0) {
		expect(recipients_count(r) > 0, "a black hole", name);
		expect(!clean || recipients_notes(r)[0] == '\0', "newaliases said nothing", name);
	} else {
		expect(e.code == EX_NOUSER || e.code == EX_DATAERR, "code", name);
		expect(!clean || recipients_are_full(r), "newaliases found it good", name);
		expect(recipients_count(r) == 0, "refused, and left behind", name);
	}
	for (unsigned i = 0; i < recipients_count(r); i++)
		expect(address_parse(span_of(recipients_at(r, i)), &a, NULL) == 0, "address", name);
	recipients_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make((const char *)data, size);
	uint8_t how = fuzz_octet(&text);
	struct recipients_rules rules = { .domain = how & 1 ? "example.com" : "",
		.postmaster = how & 2 ? "postmaster@example.com" : "",
		.aliases = path,
		.max = MAX };
	struct aliases *a;
	struct buf said;

	put_file(text);
	buf_init(&said, 1 << 21);
	assert(aliases_check(&rules, &said, NULL) == 0);
	/* NULs in the file cut what is said, as it is a string. */
	bool strings = span_find(text, '\0') < 0;
	bool clean = strings && check_words(buf_str(&said), text) == 0;
	assert(aliases_read(path, &a, NULL) == 0);
	for (size_t i = 0; i < aliases_count(a); i++) {
		struct alias *one = aliases_at(a, i);
		expect(one->name.n > 0 && one->line > 0, "an alias without name or line", text);
		if (address_is_local_part(one->name) && one->name.p[0] != '"') {
			expect(aliases_find(a, one->name) == one, "not found", one->name);
			expand(&rules, one->name, clean);
		}
	}
	aliases_free(a);
	buf_done(&said);
	return 0;
}
