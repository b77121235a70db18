/*
 * Users, without the name service's plug-ins where the program is static (CENMAIL_NSS is not set).
 */
#include "base/user.h"

#include "base/number.h"

#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>

static bool take(struct user *u, struct span name, struct span gecos, uid_t uid)
{
	if (name.n == 0 || name.n >= sizeof u->name)
		return false;
	if (gecos.n >= sizeof u->gecos)
		gecos.n = sizeof u->gecos - 1;
	memset(u, 0, sizeof *u);
	memcpy(u->name, name.p, name.n);
	memcpy(u->gecos, gecos.p, gecos.n);
	u->uid = uid;
	return true;
}

static struct span cut_field(struct span *line)
{
	long colon = span_find(*line, ':');
	struct span field = colon < 0 ? *line : span_make(line->p, (size_t)colon);
	*line = span_from(*line, field.n + 1);
	return field;
}

/* name:password:uid:gid:gecos:home:shell, passwd(5). "+" and "-" are the name service's. */
static bool parse(struct span line, struct user *u)
{
	struct span name = cut_field(&line);
	uint64_t uid = 0, gid = 0;
	cut_field(&line);
	return name.n > 0 && name.p[0] != '+' && name.p[0] != '-' && name.p[0] != '#' &&
	       number_parse(cut_field(&line), UINT32_MAX - 1, &uid) == 0 &&
	       number_parse(cut_field(&line), UINT32_MAX, &gid) == 0 &&
	       take(u, name, cut_field(&line), (uid_t)uid);
}

static int not_now(struct err *e)
{
	return err_sys(e, EX_TEMPFAIL, "the users of this host can't be read");
}

int user_in_file(const char *path, const char *name, uid_t uid, struct user *ret, struct err *e)
{
	char line[4096];
	struct user u;
	bool found = false, whole = true;
	int result;
	FILE *f = fopen(path, "re");
	if (!f && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return 0;
	if (!f)
		return not_now(e);
	while (!found && fgets(line, sizeof line, f)) {
		size_t n = strcspn(line, "\n");
		bool starts = whole;
		whole = line[n] == '\n' || feof(f);
		if (starts && whole && parse(span_make(line, n), &u))
			found = name ? strcmp(u.name, name) == 0 : u.uid == uid;
	}
	result = ferror(f) ? not_now(e) : found;
	fclose(f);
	if (result == 1)
		*ret = u;
	return result;
}

#ifdef CENMAIL_NSS
/* The name service has several words for "there is none" (getpwnam(3)). */
static int from_service(const struct passwd *pw, struct user *ret, struct err *e)
{
	if (!pw && (errno == ENOMEM || errno == EMFILE || errno == ENFILE || errno == EIO ||
			   errno == EINTR || errno == EAGAIN))
		return not_now(e);
	return pw && take(ret, span_of(pw->pw_name), span_of(pw->pw_gecos), pw->pw_uid);
}

int user_by_uid(uid_t uid, struct user *ret, struct err *e)
{
	errno = 0;
	return from_service(getpwuid(uid), ret, e);
}

int user_by_name(const char *name, struct user *ret, struct err *e)
{
	errno = 0;
	return from_service(getpwnam(name), ret, e);
}
#else
int user_by_uid(uid_t uid, struct user *ret, struct err *e)
{
	return user_in_file("/etc/passwd", NULL, uid, ret, e);
}

int user_by_name(const char *name, struct user *ret, struct err *e)
{
	return user_in_file("/etc/passwd", name, 0, ret, e);
}
#endif
