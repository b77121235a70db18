/*
 * The names in incoming/, for the two sides of it: INCOMING_DIGITS of milliseconds since 1970, '-',
 * the key in hexadecimal digits, and INCOMING_TMP while it is being written.
 */
#ifndef CENMAIL_STORE_INCOMING_NAMES_H
#define CENMAIL_STORE_INCOMING_NAMES_H

#define INCOMING_DIGITS 15
#define INCOMING_NAME   (INCOMING_DIGITS + 1 + 32)
#define INCOMING_TMP    ".tmp"

/* Makes durable what names are in a directory that is found from `dir`. 0 or -1 with errno. */
int incoming_sync_names(int dir, const char *path);

#endif
