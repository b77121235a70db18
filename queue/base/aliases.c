/*
 * Reads the aliases file into a sorted table. Its words are an operator's: a wrong line costs that
 * line, never the mail of the others.
 */
#include "base/aliases.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct aliases {
	const char *path; /* borrowed, for problems; valid while reading only */
	struct buf file, text, problems;
	struct alias *v;
	size_t n, cap;
};

__attribute__((format(printf, 3, 4))) static void problem(
	struct aliases *a, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_printf(&a->problems, "%s:%u: ", a->path, line);
	buf_vprintf(&a->problems, fmt, ap);
	buf_add_char(&a->problems, '\n');
	va_end(ap);
}

static int read_all(int fd, struct buf *to)
{
	for (;;) {
		char *room = buf_room(to, 65536);
		if (!room)
			return -1;
		ssize_t n = read(fd, room, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		buf_added(to, (size_t)n);
	}
}

/* 0 also when there is no file. */
static int read_file(struct aliases *a, struct err *e)
{
	struct stat st;
	int result = -1;
	int fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || fstat(fd, &st) != 0)
		err_sys(e,
			errno == EMFILE || errno == ENFILE || errno == ENOMEM ? EX_TEMPFAIL
									      : EX_CONFIG,
			"aliases file %s", a->path);
	else if (!S_ISREG(st.st_mode) || st.st_size > ALIASES_MAX)
		err_set(e, EX_CONFIG, "aliases file %s: is no regular file, or over %d octets",
			a->path, ALIASES_MAX);
	else if (read_all(fd, &a->file) != 0 && !a->file.failed)
		err_sys(e, EX_CONFIG, "aliases file %s can't be read", a->path);
	else if (a->file.failed)
		err_set(e, a->file.starved ? EX_TEMPFAIL : EX_CONFIG, "aliases file %s: %s",
			a->path, a->file.starved ? "out of memory" : "grows while it is read");
	else
		result = 0;
	if (fd >= 0)
		close(fd);
	return result;
}

/* The items of a value are split at commas outside quotes and comments. */
static size_t item_length(struct span s)
{
	bool quoted = false;
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		else if (s.p[i] == '"' && depth == 0)
			quoted = !quoted;
		else if (s.p[i] == '(' && !quoted)
			depth++;
		else if (s.p[i] == ')' && depth > 0)
			depth--;
		else if (s.p[i] == ',' && !quoted && depth == 0)
			return i;
	}
	return s.n;
}

bool alias_next(struct span *rest, struct span *ret, enum alias_kind *ret_kind)
{
	struct span item, inner;

	do {
		size_t n = item_length(*rest);
		if (rest->n == 0)
			return false;
		item = span_trim(span_make(rest->p, n));
		*rest = span_from(*rest, n + 1);
	} while (item.n == 0);
	inner = item.p[0] == '"' ? span_from(item, 1) : item;
	*ret = item;
	*ret_kind = span_starts_nocase(inner, "|")           ? ALIAS_PROGRAM
		    : span_starts_nocase(inner, "/")         ? ALIAS_FILE
		    : span_starts_nocase(inner, ":include:") ? ALIAS_INCLUDE
							     : ALIAS_ADDRESS;
	return true;
}

const char *alias_kind_name(enum alias_kind k)
{
	switch (k) {
	case ALIAS_ADDRESS:
		return "an address";
	case ALIAS_PROGRAM:
		return "a program";
	case ALIAS_FILE:
		return "a file";
	case ALIAS_INCLUDE:
		return "a list in a file";
	}
	return "";
}

/* One logical line, continuation lines joined. */
static void add_line(struct aliases *a, struct span s, unsigned line)
{
	long colon;

	s = span_trim(s);
	if (s.n == 0)
		return;
	if (s.p[0] == '"') {
		size_t close = 1;
		while (close < s.n && s.p[close] != '"')
			close += s.p[close] == '\\' ? 2 : 1;
		colon = span_find(span_from(s, close), ':');
		colon = colon < 0 ? -1 : colon + (long)close;
	} else {
		colon = span_find(s, ':');
	}
	struct span name = span_trim(span_make(s.p, colon < 0 ? 0 : (size_t)colon));
	if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"')
		name = span_make(name.p + 1, name.n - 2);
	if (name.n == 0) {
		problem(a, line, "`name: address, address` is meant");
		return;
	}
	if (a->n == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 32;
		struct alias *v = realloc(a->v, cap * sizeof(*v));
		if (!v) {
			a->text.failed = true;
			return;
		}
		a->v = v;
		a->cap = cap;
	}
	a->v[a->n++] = (struct alias) {
		.name = name, .value = span_from(s, (size_t)colon + 1), .line = line
	};
}

/* Physical lines of the file to logical ones. They are joined in place in text, which never grows
 * past the file's size and so never moves. */
static void add_lines(struct aliases *a)
{
	struct span rest = buf_span(&a->file);
	unsigned line = 0, first = 0;
	size_t from = 0;

	while (rest.n > 0) {
		long nl = span_find(rest, '\n');
		struct span s = span_make(rest.p, nl < 0 ? rest.n : (size_t)nl);
		rest = span_from(rest, s.n + 1);
		line++;
		if (s.n > 0 && s.p[s.n - 1] == '\r')
			s.n--;
		struct span t = span_trim(s);
		if (t.n == 0 || t.p[0] == '#')
			continue;
		if (s.p[0] != ' ' && s.p[0] != '\t') {
			add_line(a, span_make(a->text.data + from, a->text.len - from), first);
			from = a->text.len;
			first = line;
		} else if (first == 0) {
			problem(a, line, "a line that goes on, and nothing before it");
			continue;
		}
		buf_add_span(&a->text, s);
		buf_add_char(&a->text, ' ');
	}
	add_line(a, span_make(a->text.data + from, a->text.len - from), first);
}

static int compare_names(struct span a, struct span b)
{
	for (size_t i = 0; i < a.n && i < b.n; i++) {
		int x = a.p[i] >= 'A' && a.p[i] <= 'Z' ? a.p[i] + 32 : a.p[i];
		int y = b.p[i] >= 'A' && b.p[i] <= 'Z' ? b.p[i] + 32 : b.p[i];
		if (x != y)
			return x < y ? -1 : 1;
	}
	return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

static int by_name_and_line(const void *p, const void *q)
{
	const struct alias *a = p, *b = q;
	int c = compare_names(a->name, b->name);
	return c != 0 ? c : a->line < b->line ? -1 : a->line > b->line;
}

/* The first definition of a name holds. */
static void sort(struct aliases *a)
{
	size_t kept = 0;

	if (a->n > 0)
		qsort(a->v, a->n, sizeof(*a->v), by_name_and_line);
	for (size_t i = 0; i < a->n; i++) {
		if (kept > 0 && compare_names(a->v[kept - 1].name, a->v[i].name) == 0)
			problem(a, a->v[i].line, "defines again what line %u defines: not used",
				a->v[kept - 1].line);
		else
			a->v[kept++] = a->v[i];
	}
	a->n = kept;
}

int aliases_read(const char *path, struct aliases **ret, struct err *e)
{
	struct aliases *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, EX_TEMPFAIL, "out of memory");
	a->path = path;
	buf_init(&a->file, ALIASES_MAX + 65536);
	buf_init(&a->problems, 64 * 1024);
	if (read_file(a, e) != 0) {
		aliases_free(a);
		return -1;
	}
	buf_init(&a->text, a->file.len + 2);
	if (buf_room(&a->text, a->file.len + 2))
		add_lines(a);
	sort(a);
	if (a->text.failed || a->problems.starved) {
		aliases_free(a);
		return err_set(e, EX_TEMPFAIL, "out of memory");
	}
	buf_done(&a->file);
	a->path = NULL;
	*ret = a;
	return 0;
}

void aliases_free(struct aliases *a)
{
	if (!a)
		return;
	buf_done(&a->file);
	buf_done(&a->text);
	buf_done(&a->problems);
	free(a->v);
	free(a);
}

struct alias *aliases_find(struct aliases *a, struct span name)
{
	size_t low = 0, high = a->n;

	if (name.n >= 2 && name.p[0] == '"')
		name = span_make(name.p + 1, name.n - 2);
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = compare_names(a->v[mid].name, name);
		if (c == 0)
			return &a->v[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

void alias_note(struct buf *out, const char *path, const struct alias *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_printf(out, "%s:%u: alias %.*s: ", path, a->line, (int)a->name.n, a->name.p);
	buf_vprintf(out, fmt, ap);
	buf_add_char(out, '\n');
	va_end(ap);
}

void aliases_reset(struct aliases *a)
{
	for (size_t i = 0; i < a->n; i++)
		a->v[i].state = ALIAS_UNUSED;
}

size_t aliases_count(const struct aliases *a)
{
	return a->n;
}

struct alias *aliases_at(struct aliases *a, size_t i)
{
	return &a->v[i];
}

const char *aliases_problems(struct aliases *a)
{
	return buf_str(&a->problems);
}
