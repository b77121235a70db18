/*
 * clock, random, crc, spool, log: what touches the kernel.
 */
#include "base/clock.h"
#include "base/crc.h"
#include "base/log.h"
#include "base/random.h"
#include "base/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void dates(void **state)
{
	char out[CLOCK_DATE_SIZE];

	setenv("TZ", "UTC0", 1);
	tzset();
	clock_rfc5322(1795493650123, out);
	assert_string_equal(out, "Tue, 24 Nov 2026 04:14:10 +0000");
	clock_rfc5322(-1, out);
	assert_string_equal(out, "Wed, 31 Dec 1969 23:59:59 +0000");
	setenv("TZ", "XXX-5:45", 1);
	tzset();
	clock_rfc5322(0, out);
	assert_string_equal(out, "Thu, 1 Jan 1970 05:45:00 +0545");
	setenv("TZ", "XXX3:30", 1);
	tzset();
	clock_rfc5322(0, out);
	assert_string_equal(out, "Wed, 31 Dec 1969 20:30:00 -0330");
	clock_rfc5322(INT64_MAX, out); /* whatever it says, it ends and it fits */
	assert_true(strlen(out) < CLOCK_DATE_SIZE);
	clock_rfc5322(INT64_MIN, out);
	assert_true(strlen(out) < CLOCK_DATE_SIZE);
	unsetenv("TZ");
	tzset();
}

static void clocks(void **state)
{
	int64_t wall = clock_wall_ms(), mono = clock_mono_ms();

	assert_true(wall > 1700000000000);
	clock_shift_wall(-86400000);
	assert_true(clock_wall_ms() < wall - 86000000);
	clock_shift_wall(86400000);
	assert_true(clock_wall_ms() >= wall);
	assert_true(clock_mono_ms() >= mono);
	assert_true(clock_mono_us() / 1000 >= mono);
	assert_int_equal(clock_poll_timeout(INT64_MAX), -1);
	assert_int_equal(clock_poll_timeout(mono), 0);
	assert_int_equal(clock_poll_timeout(INT64_MIN), 0);
	assert_int_equal(clock_poll_timeout(INT64_MAX - 1), INT_MAX);
	int left = clock_poll_timeout(clock_mono_ms() + 60000);
	assert_in_range(left, 1, 60000);
}

static void random_is_spread(void **state)
{
	unsigned seen = 0;
	unsigned char a[16] = { 0 }, b[16] = { 0 };

	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	for (int i = 0; i < 400; i++) {
		uint64_t r = random_below(5);
		assert_in_range(r, 0, 4);
		seen |= 1u << r;
	}
	assert_int_equal(seen, 31);
	assert_int_equal(random_below(1), 0);
	assert_true(random_below(UINT64_MAX) < UINT64_MAX);
}

static void crc_vectors(void **state)
{
	/* RFC 3720 appendix B.4, and the usual check value */
	unsigned char v[32];

	assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
	assert_int_equal(crc32c(0, "", 0), 0);
	memset(v, 0, sizeof v);
	assert_int_equal(crc32c(0, v, 32), 0x8A9136AAu);
	assert_int_equal(crc32c_by_table(0, v, 32), 0x8A9136AAu);
	memset(v, 0xff, sizeof v);
	assert_int_equal(crc32c(0, v, 32), 0x62A8AB43u);
	for (int i = 0; i < 32; i++)
		v[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, v, 32), 0x46DD794Eu);
	assert_int_equal(crc32c_by_table(0, v, 32), 0x46DD794Eu);
}

static void crc_in_pieces_both_ways(void **state)
{
	unsigned char data[300];

	random_bytes(data, sizeof data);
	uint32_t whole = crc32c(0, data, sizeof data);
	assert_int_equal(crc32c_by_table(0, data, sizeof data), whole);
	for (size_t cut = 0; cut <= sizeof data; cut++) {
		uint32_t c = crc32c(0, data, cut), t = crc32c_by_table(0, data, cut);
		assert_int_equal(crc32c(c, data + cut, sizeof data - cut), whole);
		assert_int_equal(crc32c_by_table(t, data + cut, sizeof data - cut), whole);
	}
}

/* Adds `size` octets in pieces of `piece` and compares what comes back. */
static void spool_case(const char *dir, size_t size, size_t piece, bool file)
{
	struct spool s;
	struct span got;
	struct err e = { 0 };
	char *data = malloc(size + 1);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 7 + i / 251);
	spool_init(&s, dir);
	for (size_t at = 0; at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		if (spool_add(&s, data + at, n, &e) < 0)
			fail_msg("%s", e.text);
	}
	assert_int_equal(s.size, size);
	assert_int_equal(s.fd >= 0, file);
	if (file) {
		struct stat st;
		assert_int_equal(fstat(s.fd, &st), 0);
		assert_int_equal(st.st_nlink, 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(spool_span(&s, &got, &e), 0);
		assert_true(span_eq(got, span_make(data, size)));
	}
	spool_done(&s);
	spool_done(&s);
	free(data);
}

static void spools(void **state)
{
	mode_t mask = umask(077);

	spool_case("/nonexistent", 0, 1, false);
	spool_case("/nonexistent", SPOOL_MEMORY, 1000, false);
	spool_case("/tmp", SPOOL_MEMORY + 1, 1000, true);
	spool_case("/tmp", SPOOL_MEMORY + 1, SPOOL_MEMORY + 1, true);
	spool_case("/tmp", 3 * SPOOL_MEMORY + 17, 65536, true);
	spool_case("/tmp", 2 * SPOOL_MEMORY, SPOOL_MEMORY, true);
	umask(mask);
	spool_done(NULL);
}

static void spool_that_has_no_place(void **state)
{
	struct spool s;
	struct err e = { 0 };
	static char big[SPOOL_MEMORY + 1];

	spool_init(&s, "/nonexistent");
	assert_int_equal(spool_add(&s, big, sizeof big, &e), -1);
	assert_int_equal(e.code, EX_TEMPFAIL);
	assert_non_null(strstr(e.text, "/nonexistent"));
	spool_done(&s);
}

/* In place of the C library's, under both of its names (with clang one is a macro). */
#undef syslog
static char logged[LOG_LINE_MAX + 100], ident[100];
static int logged_priority;

void openlog(const char *name, int option, int facility)
{
	assert_int_equal(option & LOG_PID, LOG_PID);
	assert_int_equal(facility, LOG_MAIL);
	snprintf(ident, sizeof ident, "%s", name);
}

void syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	logged_priority = priority;
	va_start(ap, fmt);
	vsnprintf(logged, sizeof logged, fmt, ap);
	va_end(ap);
}

void __syslog_chk(int priority, int flag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	logged_priority = priority;
	va_start(ap, fmt);
	vsnprintf(logged, sizeof logged, fmt, ap);
	va_end(ap);
}

static void log_to_syslog(void **state)
{
	char long_text[3000];

	log_open(LOG_TO_SYSLOG);
	errno = 7;
	log_line(LOG_WARNING, "smtp", "%s", "status=sent (250 ok\r\nfake line\x1b[2J \xE6 %n)");
	assert_int_equal(errno, 7);
	assert_string_equal(ident, "cenmail/smtp");
	assert_string_equal(logged, "status=sent (250 ok??fake line?[2J ? %n)");
	assert_int_equal(logged_priority, LOG_WARNING);
	memset(long_text, 'x', sizeof long_text);
	long_text[sizeof long_text - 1] = '\0';
	log_line(LOG_INFO, "qmgr", "%s", long_text);
	assert_string_equal(ident, "cenmail/qmgr");
	assert_int_equal(strlen(logged), LOG_LINE_MAX);
	log_open(LOG_TO_STDERR);
}

static void log_to_stderr(void **state)
{
	char got[200] = "", want[200];
	int p[2], saved = dup(STDERR_FILENO);

	assert_int_equal(pipe(p), 0);
	dup2(p[1], STDERR_FILENO);
	log_line(LOG_INFO, "listen", "%s is %d", "it", 42);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(p[1]);
	assert_true(read(p[0], got, sizeof got - 1) > 0);
	close(p[0]);
	snprintf(want, sizeof want, "cenmail/listen[%d]: it is 42\n", (int)getpid());
	assert_string_equal(got, want);
}

static void printable(void **state)
{
	char out[8];

	assert_string_equal(log_printable(span_make("a\0\tb~\x7F", 6), out, sizeof out), "a??b~?");
	assert_string_equal(log_printable(span_of("123456789"), out, sizeof out), "1234567");
	assert_string_equal(log_printable(span_of("123"), out, 1), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates),
		cmocka_unit_test(clocks),
		cmocka_unit_test(random_is_spread),
		cmocka_unit_test(crc_vectors),
		cmocka_unit_test(crc_in_pieces_both_ways),
		cmocka_unit_test(spools),
		cmocka_unit_test(spool_that_has_no_place),
		cmocka_unit_test(log_to_syslog),
		cmocka_unit_test(log_to_stderr),
		cmocka_unit_test(printable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
