/*
 * Functions that this project does not use, each with what to use instead. Force-included by the
 * Makefile, so that a call is an error at compile time. Includes the headers that declare them
 * first, because poisoning a name makes every later mention of it an error.
 */
#ifndef CENMAIL_BANNED_H
#define CENMAIL_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* With clang, FORTIFY_SOURCE makes macros of these, which can't be poisoned. */
#undef sprintf
#undef vsprintf

/* strings: struct buf (buf_add, buf_printf), snprintf with its result checked, memcpy */
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf stpcpy strtok gets
/* numbers: number_parse (base/number.h), which refuses signs, spaces and overflow */
#pragma GCC poison atoi atol atoll atof
/* time: gmtime_r, localtime_r; the clock itself is base/clock.h */
#pragma GCC poison gmtime localtime ctime asctime
/* the environment: secure_getenv, which a set-user-ID program never heeds */
#pragma GCC poison getenv
/* files: mkstemp, O_TMPFILE; processes: posix_spawn or fork and exec */
#pragma GCC poison mktemp tmpnam tempnam system popen

#endif
