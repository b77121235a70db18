/*
 * Giving up root for good.
 */
#include "base/become.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

int become(uid_t uid, gid_t gid, struct err *e)
{
	uid_t r, f, s;

	assert(uid != 0);
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		return err_sys(e, EX_OSERR, "can't become uid %u", (unsigned)uid);
	if (getresuid(&r, &f, &s) != 0 || r != uid || f != uid || s != uid || setuid(0) == 0)
		return err_set(e, EX_OSERR, "uid %u was not taken for good", (unsigned)uid);
	return 0;
}

int become_owner_of(const char *dir, struct err *e)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (lstat(dir, &st) != 0)
		return err_sys(e, EX_CONFIG,
			"%s: create it with `install -d -o cenmail -g cenmail -m 0700 %s`", dir,
			dir);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, EX_CONFIG, "%s: is not a directory", dir);
	if (st.st_uid == 0)
		return 0;
	return become(st.st_uid, st.st_gid, e);
}
