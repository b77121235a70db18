/*
 * A queue with its incoming/, and what the importer tells.
 */
#ifndef CENMAIL_INCOMING_FIXTURE_H
#define CENMAIL_INCOMING_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include "store/incoming.h"

#include <dirent.h>

struct told {
	unsigned taken, aside, cleared;
	char order[512]; /* senders of what was taken */
	char why[512];   /* of the last that was moved */
};

static inline void tell(void *arg, const struct incoming_news *n)
{
	struct told *t = arg;
	size_t used = strlen(t->order);

	switch (n->event) {
	case INCOMING_TAKEN:
		t->taken++;
		if (used < sizeof t->order - 64)
			snprintf(t->order + used, sizeof t->order - used, "%s ", n->m->sender);
		break;
	case INCOMING_ASIDE:
		t->aside++;
		snprintf(t->why, sizeof t->why, "%s", n->why);
		break;
	case INCOMING_CLEARED:
		t->cleared++;
		break;
	}
}

static inline struct told import(struct fixture *f)
{
	struct told t = { 0 };
	struct err e = { 0 };
	bool more = true;

	if (incoming_import(f->s, f->path, 1000, tell, &t, &more, &e) < 0)
		fail_msg("import: %s", e.text);
	assert_false(more);
	return t;
}

static inline void write_one(struct fixture *f, const struct store_submission *m)
{
	struct err e = { 0 };

	if (incoming_write(f->path, m, &e) < 0)
		fail_msg("write: %s", e.text);
}

static inline const char *in(struct fixture *f, const char *name)
{
	static char path[1024];

	snprintf(path, sizeof path, "%s/incoming/%s", f->dir, name);
	return path;
}

/* How many names the directory has, damaged/ not counted; the first is copied out. */
static inline unsigned names(struct fixture *f, const char *dir, char *first)
{
	DIR *d = opendir(in(f, dir));
	unsigned n = 0;

	assert_non_null(d);
	for (const struct dirent *x; (x = readdir(d));)
		if (x->d_name[0] != '.' && strcmp(x->d_name, "damaged") != 0 && n++ == 0 && first)
			snprintf(first, 300, "%s", x->d_name);
	closedir(d);
	return n;
}

static inline void empty_damaged(struct fixture *f)
{
	char name[300], path[512];

	while (names(f, "damaged", name) > 0) {
		snprintf(path, sizeof path, "damaged/%s", name);
		assert_int_equal(remove(in(f, path)), 0);
	}
}

static inline size_t slurp(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t n;

	assert_non_null(file);
	n = fread(out, 1, size, file);
	fclose(file);
	assert_true(n < size);
	return n;
}

static inline void spill(const char *path, const char *p, size_t n)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(p, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static inline void rich(struct fixture_mail *x)
{
	static const char content[] = "Subject: x\r\n\r\n\0\n\ncrc32c 00000000\n\xe4\xbd\xa0\r\n";

	fixture_mail(x, "", "a@example.com", "\"x' y\"@b", NULL);
	x->m.content = span_make(content, sizeof content - 1);
	x->m.eightbit = true;
	x->m.ret = "HDRS";
	x->m.envid = "abc";
	x->rcpt[0].notify = "SUCCESS,FAILURE";
	x->rcpt[1].orcpt = "rfc822;a@example.com";
}

#endif
