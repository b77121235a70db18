/*
 * SQLite's own way to files, but for two things: a WAL that is there is opened, not created, and a
 * full disk is an error, not a SIGBUS.
 */
#ifndef CENMAIL_STORE_VFS_H
#define CENMAIL_STORE_VFS_H

/* The name to open with; NULL: the default, where it can't be had. Not for two threads at once
 * the first time. */
const char *vfs_name(void);

#endif
