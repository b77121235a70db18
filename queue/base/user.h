/*
 * The user database, for names: who a caller is, and whether a bare name is an account.
 *
 * A sendmail that is linked statically (the default) reads /etc/passwd itself, as a static program
 * can't load the name service's plug-ins. Users of LDAP, sssd and their like are then not found,
 * and are called uidNUMBER; `make STATIC=no` asks the name service.
 */
#ifndef CENMAIL_USER_H
#define CENMAIL_USER_H

#include "base/err.h"

#include <sys/types.h>

#define USER_NAME_MAX  256
#define USER_GECOS_MAX 1024

struct user {
	char name[USER_NAME_MAX];   /* one that is longer is no user */
	char gecos[USER_GECOS_MAX]; /* cut */
	uid_t uid;
};

/* 1: there is one; 0: there is none; -1: it can't be found out now (EX_TEMPFAIL). */
int user_by_uid(uid_t uid, struct user *ret, struct err *e);
int user_by_name(const char *name, struct user *ret, struct err *e);

/* For tests: the same in another file. */
int user_in_file(const char *path, const char *name, uid_t uid, struct user *ret, struct err *e);

#endif
