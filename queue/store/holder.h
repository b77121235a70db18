/*
 * Who holds a lock that is not let go: from the kernel's list, for the words of an error. Naming
 * costs no lock and no open of the file itself.
 */
#ifndef CENMAIL_STORE_HOLDER_H
#define CENMAIL_STORE_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define HOLDER_NAME_MAX 64

enum holder_kind {
	HOLDER_FLOCK, /* flock(2) of the whole file; `octet` is not looked at */
	HOLDER_POSIX  /* fcntl(2), for writing, of a range that covers `octet` */
};

/* "process 123 (sqlite3)", "process 123 (sendmail, stopped)"; false, and "another process", when
 * that can't be told. */
bool holder_name(
	const struct stat *file, enum holder_kind kind, uint64_t octet, char out[HOLDER_NAME_MAX]);

#endif
