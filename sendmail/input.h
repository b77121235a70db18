/*
 * Standard input, read to its end before anything is locked.
 */
#ifndef CENMAIL_INPUT_H
#define CENMAIL_INPUT_H

#include "sendmail/intake.h"

/* cron keeps its pipe open for as long as a job runs; a day is long enough. */
#define INPUT_DEADLINE_MS (24 * 60 * 60 * 1000LL)

/* Reads fd to its end, or to the lone dot, through `in`, which the caller has prepared. 0, or -1
 * (EX_NOINPUT: it can't be read, EX_IOERR: reading failed, EX_TEMPFAIL: the deadline, and
 * intake's). */
int input_read(int fd, int64_t deadline_mono_ms, struct intake *in, struct err *e);

#endif
