/*
 * incoming/, the flusher's side: files are taken into the database, by one flusher at a time; and
 * the list of them.
 */
#include "store/incoming.h"

#include "store/incoming_file.h"
#include "store/incoming_names.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX      65536 /* looked at in one go */
#define TMP_MAX_AGE_MS (INT64_C(24) * 3600 * 1000)

/* --- what lies there --- */

enum kind { COMPLETE, HALF, FOREIGN };

struct names {
	char **name; /* owned */
	size_t n, room;
	size_t half; /* of them half-written */
};

static void names_done(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->name[i]);
	free(l->name);
}

static enum kind kind_of(const char *name)
{
	size_t n = strspn(name, "0123456789");

	if (n != INCOMING_DIGITS || name[n] != '-' ||
		strspn(name + n + 1, "0123456789abcdef") != INCOMING_NAME - INCOMING_DIGITS - 1)
		return FOREIGN;
	if (name[INCOMING_NAME] == '\0')
		return COMPLETE;
	return strcmp(name + INCOMING_NAME, INCOMING_TMP) == 0 ? HALF : FOREIGN;
}

static bool add_name(struct names *l, const char *name)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		char **grown = realloc(l->name, room * sizeof *grown);

		if (!grown)
			return false;
		l->name = grown;
		l->room = room;
	}
	l->half += kind_of(name) == HALF;
	l->name[l->n] = strdup(name);
	return l->name[l->n] && ++l->n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those half-written stay for a day, and are not to crowd out the others. */
static bool is_wanted(const struct names *l, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "damaged") == 0)
		return false;
	return kind_of(name) != HALF || l->half < NAMES_MAX / 2;
}

/* Sorted. 0, or -1 (and the list can be done with). */
static int read_names(int dir, struct names *l, struct err *e)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int result = 0;

	if (!d) {
		err_sys(e, EX_TEMPFAIL, "incoming/ can't be read");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (result == 0 && l->n < NAMES_MAX && (errno = 0, entry = readdir(d)))
		if (is_wanted(l, entry->d_name) && !add_name(l, entry->d_name))
			result = err_set(e, EX_TEMPFAIL, "out of memory for names");
	if (result == 0 && errno != 0)
		result = err_sys(e, EX_TEMPFAIL, "incoming/ can't be read");
	closedir(d);
	if (l->n > 0)
		qsort(l->name, l->n, sizeof *l->name, by_name);
	return result;
}

/* --- the importer --- */

struct import {
	struct store *s;
	int dir;
	void (*tell)(void *arg, const struct incoming_news *n);
	void *arg;
	bool changed;    /* the directory */
	unsigned failed; /* could be neither taken nor moved; err has the last reason */
};

static void say(struct import *in, enum incoming_event event, const char *name, const char *why)
{
	in->changed = true;
	in->tell(in->arg, &(struct incoming_news) { .event = event, .name = name, .why = why });
}

/* Into damaged/, in the place of nothing that is there. */
static void move_aside(struct import *in, const char *name, const char *why, struct err *e)
{
	char to[300];
	int r = -1;

	if (mkdirat(in->dir, "damaged", 0700) < 0 && errno != EEXIST) {
		in->failed++;
		err_sys(e, EX_TEMPFAIL, "incoming/damaged");
		return;
	}
	for (int i = 0; i < 100; i++) {
		snprintf(to, sizeof to, i ? "damaged/%s.%d" : "damaged/%s", name, i);
		r = renameat2(in->dir, name, in->dir, to, RENAME_NOREPLACE);
		if (r == 0 || errno != EEXIST)
			break;
	}
	/* Its new name is synced before the old one's end is: a crash leaves one of them. */
	if (r == 0) {
		if (incoming_sync_names(in->dir, "damaged") < 0) {
			in->failed++;
			err_sys(e, EX_TEMPFAIL, "incoming/damaged can't be synced");
		}
		say(in, INCOMING_ASIDE, name, why);
	} else if (errno != ENOENT) {
		in->failed++;
		err_sys(e, EX_TEMPFAIL, "incoming/%s: %s, and it can't be moved aside", name, why);
	}
}

/* A sender that lives has it for seconds. */
static void clear_half(struct import *in, const char *name)
{
	struct stat st;

	if (fstatat(in->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		clock_wall_ms() - (int64_t)st.st_mtime * 1000 > TMP_MAX_AGE_MS &&
		unlinkat(in->dir, name, 0) == 0)
		say(in, INCOMING_CLEARED, name, "half-written, and a day old");
}

/* COMMIT first, then the name goes: a crash between the two leaves both, and the key makes the next
 * time a no-op. 0, or -1: the queue can't be written. */
static int take_one(struct import *in, const char *name, struct err *e)
{
	struct incoming_file f;
	struct incoming_news news = { .event = INCOMING_TAKEN, .name = name };
	struct err why = { 0 };
	int result = 0;

	if (incoming_file_read(in->dir, name, false, &f, &why) < 0) {
		if (why.code == EX_DATAERR) {
			move_aside(in, name, why.text, e);
		} else if (why.code != EX_NOINPUT) {
			in->failed++;
			*e = why;
		}
		return 0;
	}
	if (store_put(in->s, &f.m, &news.id, &why) == 0) {
		in->changed = true;
		if (unlinkat(in->dir, name, 0) < 0) {
			in->failed++;
			err_sys(e, EX_TEMPFAIL,
				"incoming/%s: is in the queue, and can't be removed", name);
		}
		news.m = &f.m;
		in->tell(in->arg, &news);
	} else if (why.code == EX_DATAERR) {
		move_aside(in, name, why.text, e);
	} else {
		*e = why;
		result = -1;
	}
	incoming_file_done(&f);
	return result;
}

static int take_all(
	struct import *in, const struct names *l, unsigned most, bool *ret_more, struct err *e)
{
	unsigned tried = 0; /* those that failed stay, and take nobody's turn */

	for (size_t i = 0; i < l->n; i++) {
		switch (kind_of(l->name[i])) {
		case HALF:
			clear_half(in, l->name[i]);
			break;
		case FOREIGN:
			move_aside(in, l->name[i], "it is no message of ours", e);
			break;
		case COMPLETE:
			if (tried >= most + in->failed) {
				*ret_more = true;
				return 0;
			}
			tried++;
			if (take_one(in, l->name[i], e) < 0)
				return -1;
			break;
		}
	}
	*ret_more = l->n == NAMES_MAX && in->changed; /* else it would be the same names again */
	return 0;
}

int incoming_import(struct store *s, const char *queue, unsigned most,
	void (*tell)(void *arg, const struct incoming_news *n), void *arg, bool *ret_more,
	struct err *e)
{
	struct import in = { .s = s, .dir = incoming_open(queue, e), .tell = tell, .arg = arg };
	struct names l = { 0 };
	bool more = false;
	int result = -1;

	if (in.dir < 0)
		return -1;
	if (read_names(in.dir, &l, e) == 0)
		result = take_all(&in, &l, most, &more, e);
	if (in.changed && fsync(in.dir) < 0 && result == 0)
		result = err_sys(e, EX_TEMPFAIL, "incoming/ can't be synced");
	names_done(&l);
	close(in.dir);
	if (result < 0)
		return -1;
	*ret_more = more;
	return in.failed ? -1 : 0;
}

int incoming_list(const char *queue, void (*fn)(void *arg, const struct store_submission *m),
	void *arg, struct err *e)
{
	struct names l = { 0 };
	struct incoming_file f;
	int dir = incoming_open(queue, e);
	int result;

	if (dir < 0)
		return -1;
	result = read_names(dir, &l, e);
	for (size_t i = 0; result == 0 && i < l.n; i++)
		if (kind_of(l.name[i]) == COMPLETE &&
			incoming_file_read(dir, l.name[i], true, &f, NULL) == 0) {
			fn(arg, &f.m);
			incoming_file_done(&f);
		}
	names_done(&l);
	close(dir);
	return result;
}
