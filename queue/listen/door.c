/*
 * The allow list and the clients.
 */
#include "listen/door.h"

#include "base/digest.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
	char name[256];
	unsigned char digest[DIGEST_SHA256];
};

struct door {
	struct cidr *allow;
	unsigned allows;
	bool wants_names;
	struct entry *client;
	unsigned clients;
};

static int read_allow(struct door *d, const struct conf_list *l, struct err *e)
{
	d->allow = calloc(l->n + 1, sizeof *d->allow);
	if (!d->allow)
		return err_set(e, EX_OSERR, "out of memory");
	for (unsigned i = 0; i < l->n; i++)
		if (cidr_parse(span_of(l->v[i].first), &d->allow[d->allows++], e) < 0)
			return -1;
	return 0;
}

/* A name that starts with '[' could pass for a client's address in the journal. */
static bool is_name(struct span s)
{
	if (s.n == 0 || s.n >= sizeof(((struct entry *)0)->name) || s.p[0] == '[')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static int read_line(struct door *d, struct span line, struct err *e)
{
	struct entry *entry = &d->client[d->clients];
	long colon = span_find(line, ':');
	struct span name = span_make(line.p, colon < 0 ? 0 : (size_t)colon);

	if (!is_name(name) || hex_decode(span_from(line, (size_t)colon + 1), entry->digest,
				      sizeof entry->digest) < 0)
		return err_set(e, EX_CONFIG,
			"a line is NAME:SHA-256 of its secret in 64 hexadecimal digits"
			" (printf %%s SECRET | sha256sum)");
	memcpy(entry->name, name.p, name.n);
	for (unsigned i = 0; i < d->clients; i++)
		if (strcmp(d->client[i].name, entry->name) == 0)
			return err_set(e, EX_CONFIG, "this name is there twice");
	d->clients++;
	return 0;
}

static int read_lines(struct door *d, const char *path, FILE *f, struct err *e)
{
	char line[512];

	for (unsigned n = 1; fgets(line, sizeof line, f); n++) {
		struct span s = span_of(line);
		if (s.n > 0 && s.p[s.n - 1] == '\n')
			s.n--;
		s = span_trim(s);
		if (s.n == 0 || s.p[0] == '#')
			continue;
		if (d->clients == DOOR_CLIENTS_MAX)
			return err_set(e, EX_CONFIG, "%s:%u: more than %d clients", path, n,
				DOOR_CLIENTS_MAX);
		if (read_line(d, s, e) < 0)
			return err_prefix(e, "%s:%u: ", path, n);
	}
	return ferror(f) ? err_sys(e, EX_CONFIG, "%s: can't be read", path) : 0;
}

static int read_clients(struct door *d, const char *path, struct err *e)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f) {
		err_sys(e, EX_CONFIG, "%s: can't be read", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	int r = -1;
	d->client = calloc(DOOR_CLIENTS_MAX, sizeof *d->client);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 022))
		err_set(e, EX_CONFIG,
			"%s: has to be a plain file that only its owner can write: chmod 640 %s",
			path, path);
	else if (!d->client)
		err_set(e, EX_OSERR, "out of memory");
	else
		r = read_lines(d, path, f, e);
	fclose(f);
	return r;
}

int door_open(struct door **ret, const struct conf_listen *c, struct err *e)
{
	struct door *d = calloc(1, sizeof *d);

	if (!d)
		return err_set(e, EX_OSERR, "out of memory");
	d->wants_names = c->clients[0];
	if (read_allow(d, &c->allow, e) < 0 ||
		(d->wants_names && read_clients(d, c->clients, e) < 0)) {
		door_close(d);
		return -1;
	}
	*ret = d;
	return 0;
}

void door_close(struct door *d)
{
	if (!d)
		return;
	free(d->allow);
	free(d->client);
	free(d);
}

bool door_allows(const struct door *d, const struct sockaddr *sa)
{
	for (unsigned i = 0; i < d->allows; i++)
		if (cidr_has(&d->allow[i], sa))
			return true;
	return false;
}

bool door_wants_names(const struct door *d)
{
	return d->wants_names;
}

bool door_knows(const struct door *d, const char *name, struct span password)
{
	static const struct entry nobody;
	const struct entry *found = &nobody;
	unsigned char digest[DIGEST_SHA256];

	for (unsigned i = 0; i < d->clients; i++)
		if (strcmp(d->client[i].name, name) == 0)
			found = &d->client[i];
	if (digest_sha256(password, digest) < 0)
		return false;
	bool equal = digest_equal(digest, found->digest, sizeof digest);
	return equal && found != &nobody;
}
