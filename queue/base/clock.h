/*
 * The clock, behind two calls so that tests can move it. Wall time goes into the database and
 * may step; deadlines inside a process are on the monotonic clock only.
 */
#ifndef CENMAIL_CLOCK_H
#define CENMAIL_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970, UTC. */
int64_t clock_wall_ms(void);
/* Milliseconds on the monotonic clock; only differences mean anything. */
int64_t clock_mono_ms(void);
/* Microseconds on the monotonic clock, for timings that are reported. */
int64_t clock_mono_us(void);

/* For tests: added to the wall clock from now on. */
void clock_shift_wall(int64_t ms);

/* RFC 5322 date-time in local time, with its offset: "Tue, 24 Nov 2026 04:14:10 +0000". The
 * result is always terminated; out needs CLOCK_DATE_SIZE bytes. */
#define CLOCK_DATE_SIZE 40
void clock_rfc5322(int64_t wall_ms, char out[CLOCK_DATE_SIZE]);

/* The timeout for poll(): milliseconds from now to an absolute monotonic deadline, 0 when it has
 * passed, never above INT_MAX. A deadline of INT64_MAX gives -1 (none). */
int clock_poll_timeout(int64_t deadline_mono_ms);

#endif
