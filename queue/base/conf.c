/*
 * Reads a configuration file by its table. The whole file comes into memory first, so that nobody
 * who changes it meanwhile is met halfway.
 */
#include "base/buf.h"
#include "base/conf_table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20) /* bytes */
#define KEYS_MAX 64

int conf_shown(struct span s)
{
	return s.n < 60 ? (int)s.n : 60;
}

/* --- one line --- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, of words under 32 octets. */
static unsigned distance(struct span a, struct span b)
{
	unsigned row[32];

	if (a.n >= 32 || b.n >= 32)
		return 32;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned change = diagonal + (a.p[i - 1] != b.p[j - 1]);
			diagonal = row[j];
			row[j] = least(change, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[b.n];
}

static int unknown_key(const struct conf_table *t, struct span key, struct err *e)
{
	const char *near = NULL;
	unsigned best = 3; /* two typing mistakes at most */

	for (unsigned i = 0; i < t->n; i++) {
		unsigned d = distance(key, span_of(t->keys[i].name));
		if (d < best && d < key.n) {
			best = d;
			near = t->keys[i].name;
		}
	}
	return err_set(e, EX_CONFIG, "unknown key \"%.*s\"%s%s%s", conf_shown(key), key.p,
		near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

struct reader {
	const struct conf_table *table;
	void *c;
	unsigned line;
	unsigned seen[KEYS_MAX]; /* the line of each key, 0: not yet */
};

static int take_line(struct reader *r, struct span line, struct err *e)
{
	unsigned i = 0;

	line = span_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	for (size_t at = 0; at < line.n; at++)
		if (((unsigned char)line.p[at] < ' ' && line.p[at] != '\t') || line.p[at] == 127)
			return err_set(e, EX_CONFIG, "a control character (octet %u)",
				(unsigned char)line.p[at]);

	struct span value = line, key = span_word(&value);
	while (i < r->table->n && !span_eq(key, span_of(r->table->keys[i].name)))
		i++;
	if (i == r->table->n)
		return unknown_key(r->table, key, e);
	const struct conf_key *k = &r->table->keys[i];
	if (r->seen[i] != 0 && k->type != CONF_PAIRS)
		return err_set(e, EX_CONFIG, "\"%s\" is there already, in line %u; keep one",
			k->name, r->seen[i]);
	if (value.n == 0)
		return err_set(e, EX_CONFIG, "\"%s\" needs a value: %s", k->name, k->help);
	r->seen[i] = r->line;
	if (conf_value_set(k, r->c, value, e) < 0)
		return err_prefix(e, "%s: ", k->name);
	return 0;
}

static int take_file(struct reader *r, struct span text, const char *path, struct err *e)
{
	while (text.n > 0) {
		long end = span_find(text, '\n');
		struct span line = end < 0 ? text : span_make(text.p, (size_t)end);
		text = end < 0 ? span_from(text, text.n) : span_from(text, (size_t)end + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		r->line++;
		if (take_line(r, line, e) < 0)
			return err_prefix(e, "%s:%u: ", path, r->line);
	}
	return 0;
}

/* --- the file --- */

static int read_file(const char *path, const char *manual, struct buf *out, struct err *e)
{
	int result = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 && errno == ENOENT)
		return err_set(e, EX_CONFIG,
			"there is no configuration file %s; write one, %s has an example", path,
			manual);
	if (fd < 0)
		return err_sys(e,
			errno == EMFILE || errno == ENFILE || errno == ENOMEM ? EX_TEMPFAIL
									      : EX_CONFIG,
			"can't open the configuration file %s", path);
	for (;;) {
		char *to = buf_room(out, 4096);
		if (!to && out->starved)
			err_set(e, EX_TEMPFAIL, "%s: out of memory", path);
		else if (!to)
			err_set(e, EX_CONFIG, "%s: longer than a configuration can be (1 MiB)",
				path);
		if (!to)
			break;
		ssize_t n = read(fd, to, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_sys(e, EX_CONFIG, "can't read the configuration file %s", path);
			break;
		}
		if (n == 0) {
			result = 0;
			break;
		}
		buf_added(out, (size_t)n);
	}
	close(fd);
	return result;
}

static int set_defaults(const struct conf_table *t, void *c, struct err *e)
{
	memset(c, 0, t->size);
	for (unsigned i = 0; i < t->n; i++) {
		const struct conf_key *k = &t->keys[i];
		if (conf_value_default(k, c, e) < 0)
			return err_prefix(e, "the default of %s: ", k->name);
	}
	return 0;
}

int conf_table_read(const struct conf_table *t, const char *path, void *ret, struct err *e)
{
	struct reader r = { .table = t, .c = ret };
	struct buf text;
	int result = -1;

	assert(t->n <= KEYS_MAX);
	buf_init(&text, FILE_MAX + 4096);
	if (set_defaults(t, ret, e) < 0 || read_file(path, t->manual, &text, e) < 0)
		goto out;
	result = take_file(&r, buf_span(&text), path, e);
out:
	buf_done(&text);
	if (result < 0)
		conf_table_done(t, ret);
	return result;
}

void conf_table_done(const struct conf_table *t, void *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < t->n; i++)
		conf_value_done(&t->keys[i], c);
	memset(c, 0, t->size);
}

void conf_table_dump(const struct conf_table *t, const void *c, FILE *to)
{
	for (unsigned i = 0; i < t->n; i++) {
		fprintf(to, "# %s\n", t->keys[i].help);
		conf_value_dump(&t->keys[i], c, to);
	}
}
