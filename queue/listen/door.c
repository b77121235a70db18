/*
 * The allow list and the clients.
 */
#include "listen/door.h"

#include "base/address.h"
#include "base/digest.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 4096

struct door_client {
	char name[256];
	unsigned char digest[DIGEST_SHA256];
	char *senders; /* patterns, each with its NUL, and an empty one at the end; NULL: any */
};

struct door {
	struct cidr *allow;
	unsigned allows;
	bool wants_names;
	struct door_client *client;
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
	if (s.n == 0 || s.n >= sizeof(((struct door_client *)0)->name) || s.p[0] == '[')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

/* `PATTERN,PATTERN…` into the form of struct door_client. NULL: one of them is empty, or there is
 * no memory. */
static char *read_senders(struct span s)
{
	char *out = calloc(1, s.n + 2);

	if (!out)
		return NULL;
	memcpy(out, s.p, s.n);
	bool empty = s.n == 0 || s.p[0] == ',' || s.p[s.n - 1] == ',';
	for (size_t i = 0; i < s.n; i++) {
		if (out[i] <= ' ' || out[i] > '~' || (out[i] == ',' && out[i + 1] == ','))
			empty = true;
		if (out[i] == ',')
			out[i] = '\0';
	}
	if (!empty)
		return out;
	free(out);
	return NULL;
}

/* NAME:HEX[:PATTERNS] */
static int read_fields(struct door_client *c, struct span line, struct err *e)
{
	long colon = span_find(line, ':');
	struct span name = span_make(line.p, colon < 0 ? 0 : (size_t)colon);
	struct span hex = span_from(line, name.n + (colon < 0 ? 0 : 1));
	long second = span_find(hex, ':');

	if (second >= 0) {
		c->senders = read_senders(span_from(hex, (size_t)second + 1));
		hex.n = (size_t)second;
		if (!c->senders)
			return err_set(e, EX_CONFIG,
				"behind the second colon are the senders that this client may"
				" have: a@example.com,*@example.net");
	}
	if (!is_name(name) || hex_decode(hex, c->digest, sizeof c->digest) < 0)
		return err_set(e, EX_CONFIG,
			"a line is NAME:SHA-256 of its secret in 64 hexadecimal digits"
			" (printf %%s SECRET | sha256sum), and may have :SENDER,SENDER behind it");
	memcpy(c->name, name.p, name.n);
	return 0;
}

static int read_line(struct door *d, struct span line, struct err *e)
{
	struct door_client *c = &d->client[d->clients++];

	if (read_fields(c, line, e) < 0)
		return -1;
	for (unsigned i = 0; i + 1 < d->clients; i++)
		if (strcmp(d->client[i].name, c->name) == 0)
			return err_set(e, EX_CONFIG, "this name is there twice");
	return 0;
}

static int read_lines(struct door *d, const char *path, FILE *f, struct err *e)
{
	char line[LINE_SIZE];

	for (unsigned n = 1; fgets(line, sizeof line, f); n++) {
		struct span s = span_of(line);
		if (s.n == sizeof line - 1)
			return err_set(e, EX_CONFIG, "%s:%u: too long a line", path, n);
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
	for (unsigned i = 0; i < d->clients; i++)
		free(d->client[i].senders);
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

const struct door_client *door_client(const struct door *d, const char *name)
{
	const struct door_client *found = NULL;

	for (unsigned i = 0; i < d->clients; i++)
		if (strcmp(d->client[i].name, name) == 0)
			found = &d->client[i];
	return found;
}

bool door_knows(const struct door *d, const char *name, struct span password)
{
	static const struct door_client nobody;
	const struct door_client *c = door_client(d, name);
	unsigned char digest[DIGEST_SHA256];

	if (digest_sha256(password, digest) < 0)
		return false;
	bool equal = digest_equal(digest, (c ? c : &nobody)->digest, sizeof digest);
	return equal && c;
}

bool door_same_secret(const struct door_client *a, const struct door_client *b)
{
	return digest_equal(a->digest, b->digest, sizeof a->digest);
}

bool door_may_send(const struct door_client *c, const char *sender)
{
	if (!c->senders)
		return true;
	for (const char *p = c->senders; *p; p += strlen(p) + 1)
		if (*sender ? address_match(p, span_of(sender)) : strcmp(p, "<>") == 0)
			return true;
	return false;
}
