/*
 * The only file that asks the kernel for the time.
 */
#include "base/clock.h"

#include <assert.h>
#include <limits.h>

static int64_t shift_ms; /* set by tests, before they start threads */

static struct timespec now(clockid_t id)
{
	struct timespec t;
	int r = clock_gettime(id, &t);

	assert(r == 0);
	return t;
}

int64_t clock_wall_ms(void)
{
	struct timespec t = now(CLOCK_REALTIME);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + shift_ms;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t clock_mono_us(void)
{
	struct timespec t = now(CLOCK_MONOTONIC);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_shift_wall(int64_t ms)
{
	shift_ms += ms;
}

void clock_rfc5322(int64_t wall_ms, char out[CLOCK_DATE_SIZE])
{
	/* Not strftime's %a and %b: those follow the locale. */
	static const char day[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char month[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		"Sep", "Oct", "Nov", "Dec" };
	int64_t s = wall_ms / 1000 - (wall_ms % 1000 < 0);
	time_t t = (time_t)s;
	struct tm tm;

	if (!localtime_r(&t, &tm)) {
		t = 0; /* a year that does not fit: no date of a real clock */
		if (!localtime_r(&t, &tm))
			tm = (struct tm) { .tm_mday = 1, .tm_year = 70, .tm_wday = 4 };
	}
	long zone = tm.tm_gmtoff / 60;
	char sign = zone < 0 ? '-' : '+';
	if (zone < 0)
		zone = -zone;
	int n = snprintf(out, CLOCK_DATE_SIZE, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld",
		day[tm.tm_wday], tm.tm_mday, month[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
		tm.tm_min, tm.tm_sec, sign, zone / 60 % 100, zone % 60);
	assert(n > 0 && n < CLOCK_DATE_SIZE);
}

int clock_poll_timeout(int64_t deadline_mono_ms)
{
	if (deadline_mono_ms == INT64_MAX)
		return -1;
	int64_t t = clock_mono_ms();
	if (deadline_mono_ms <= t)
		return 0;
	/* t is positive, so the difference can't overflow. */
	int64_t left = deadline_mono_ms - t;
	return left > INT_MAX ? INT_MAX : (int)left;
}
