/*
 * Giving up root for good.
 */
#include "base/become.h"

#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

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
	if (setgroups(0, NULL) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
		setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)
		return err_sys(
			e, EX_OSERR, "becoming the owner of %s (uid %u)", dir, (unsigned)st.st_uid);
	if (setuid(0) == 0)
		return err_set(e, EX_OSERR, "root could not be given up");
	return 0;
}
