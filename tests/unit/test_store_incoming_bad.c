/*
 * incoming/: what can't be trusted is moved aside, is kept, and is in nobody's way.
 */
#include "tests/unit/incoming_fixture.h"

#include "base/crc.h"
#include "store/incoming_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>

static char stays[300]; /* a name that can't be removed, as an immutable file's can't */

int unlinkat(int dir, const char *name, int flags)
{
	if (strcmp(name, stays) == 0) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

static void every_flipped_bit_is_seen(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x, good;
	char name[300], file[4096], path[1024];
	struct told t;
	size_t n;

	rich(&x);
	write_one(f, &x.m);
	names(f, "", name);
	snprintf(path, sizeof path, "%s", in(f, name));
	n = slurp(path, file, sizeof file);
	for (size_t i = 0; i < n; i++) {
		file[i] ^= (char)(1 << i % 8);
		spill(path, file, n);
		file[i] ^= (char)(1 << i % 8);
		t = import(f);
		if (t.taken != 0 || t.aside != 1)
			fail_msg("octet %zu of %zu: taken %u, aside %u", i, n, t.taken, t.aside);
		empty_damaged(f); /* no more than 100 of one name are kept */
	}
	for (size_t cut = 0; cut < n; cut += cut < n - 40 ? 37 : 1) {
		spill(path, file, cut);
		t = import(f);
		assert_true(t.taken == 0 && t.aside == 1);
		empty_damaged(f);
	}
	ask_is(f, "select count(*) from message", "0");
	fixture_mail(&good, "x\r\n", "a@example.com", NULL);
	write_one(f, &good.m);
	assert_int_equal(import(f).taken, 1);
}

/* A file whose checksum is right and whose lines are these. */
static void forge(struct fixture *f, const char *text)
{
	char trailer[INCOMING_TRAILER + 1], path[1024];
	FILE *file;

	incoming_file_trailer(crc32c(0, text, strlen(text)), trailer);
	snprintf(
		path, sizeof path, "%s", in(f, "001800000000000-00000000000000000000000000000001"));
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file, "%s%s", text, trailer);
	fclose(file);
}

static void values_are_believed_in_nothing(void **state)
{
#define TOP "cenmail incoming 1\nkey 00000000000000000000000000000001\n"
#define WHO "submitted 1800000000000\nuid 1\nsender a@x\nmessage-id <a>\neightbit 0\n"
#define END "size 3\n\nx\r\n"
	static const struct {
		const char *what, *text;
		bool good;
	} t[] = {
		{ "as it should be", TOP WHO "recipient b@x\n" END, true },
		{ "another version",
			"cenmail incoming 2\nkey 00000000000000000000000000000001\n" WHO
			"recipient b@x\n" END,
			false },
		{ "no recipient", TOP WHO END, false },
		{ "not an address", TOP WHO "recipient b@x>\n" END, false },
		{ "a bare name", TOP WHO "recipient b\n" END, false },
		{ "a short key", "cenmail incoming 1\nkey 01\n" WHO "recipient b@x\n" END, false },
		{ "a sender of nonsense",
			TOP "submitted 1\nuid 1\nsender a b@x\nmessage-id \neightbit 0\nrecipient "
			    "b@x\n" END,
			false },
		{ "null sender",
			TOP
			"submitted 1\nuid 1\nsender \nmessage-id \neightbit 1\nrecipient b@x\n" END,
			true },
		{ "time below 0",
			TOP "submitted -1\nuid 1\nsender \nmessage-id \neightbit 0\nrecipient "
			    "b@x\n" END,
			false },
		{ "time beyond",
			TOP "submitted 253402300800000\nuid 1\nsender \nmessage-id \neightbit "
			    "0\nrecipient b@x\n" END,
			false },
		{ "uid beyond",
			TOP "submitted 1\nuid 4294967296\nsender \nmessage-id \neightbit "
			    "0\nrecipient b@x\n" END,
			false },
		{ "eightbit 2",
			TOP
			"submitted 1\nuid 1\nsender \nmessage-id \neightbit 2\nrecipient b@x\n" END,
			false },
		{ "ret", TOP WHO "ret HALF\nrecipient b@x\n" END, false },
		{ "envid of blanks", TOP WHO "envid a b\nrecipient b@x\n" END, false },
		{ "empty notify", TOP WHO "recipient b@x\nnotify \n" END, false },
		{ "notify that the queue refuses", TOP WHO "recipient b@x\nnotify never\n" END,
			false },
		{ "an unknown line", TOP WHO "recipient b@x\nremark x\n" END, false },
		{ "size too small", TOP WHO "recipient b@x\nsize 2\n\nx\r\n", false },
		{ "size too large", TOP WHO "recipient b@x\nsize 4\n\nx\r\n", false },
		{ "no size", TOP WHO "recipient b@x\n\nx\r\n", false },
		{ "ends in the header", TOP WHO "recipient b@x\nsize 3\n", false },
		{ "control in message-id",
			TOP "submitted 1\nuid 1\nsender \nmessage-id a\tb\neightbit 0\nrecipient "
			    "b@x\n" END,
			false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct told got;

		by_hand(f, "delete from message");
		forge(f, t[i].text);
		got = import(f);
		if (got.taken != t[i].good || got.aside != !t[i].good)
			fail_msg("%s: taken %u, aside %u: %s", t[i].what, got.taken, got.aside,
				got.why);
	}
	assert_true(names(f, "damaged", NULL) == sizeof t / sizeof *t - 2);
}

static void foreign_things_are_in_nobodys_way(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t;

	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	x.m.submitted = T0 + 1000; /* after all of them */
	write_one(f, &x.m);
	spill(in(f, "README"), "hello", 5);
	assert_int_equal(
		symlink("/etc/passwd", in(f, "000000000000001-00000000000000000000000000000001")),
		0);
	assert_int_equal(
		mkfifo(in(f, "000000000000001-00000000000000000000000000000002"), 0600), 0);
	assert_int_equal(mkdir(in(f, "000000000000001-00000000000000000000000000000003"), 0700), 0);
	spill(in(f, "000000000000001-00000000000000000000000000000004"), "", 0);
	assert_int_equal(truncate(in(f, "000000000000001-00000000000000000000000000000004"),
				 INT64_C(1) << 40),
		0);
	spill(in(f, "000000000000001-00000000000000000000000000000005"), "x", 1);
	if (geteuid() == 0)
		assert_int_equal(
			chown(in(f, "000000000000001-00000000000000000000000000000005"), 1, 1), 0);
	t = import(f);
	assert_int_equal(t.taken, 1);
	assert_int_equal(t.aside, 6);
	assert_int_equal(names(f, "", NULL), 0);
	assert_int_equal(names(f, "damaged", NULL), 6);
}

static void half_written_is_cleared_after_a_day(void **state)
{
	static const char half[] = "001800000000000-00000000000000000000000000000001.tmp";
	struct fixture *f = *state;
	struct timeval old[2] = { { time(NULL) - 86000, 0 }, { time(NULL) - 86000, 0 } };

	spill(in(f, half), "cenmail inc", 11);
	assert_int_equal(import(f).cleared, 0);
	utimes(in(f, half), old);
	assert_int_equal(import(f).cleared, 0);
	old[0].tv_sec = old[1].tv_sec = time(NULL) - 86500;
	utimes(in(f, half), old);
	assert_int_equal(import(f).cleared, 1);
	assert_int_equal(names(f, "", NULL), 0);
}

/* More than are looked at in one go, all of today: they keep no message from its turn. */
static void many_half_written_are_in_no_ones_way(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t;

	for (unsigned i = 0; i < 8; i++) {
		fixture_mail(&x, "x\r\n", "a@example.com", NULL);
		write_one(f, &x.m);
	}
	int dir = open(in(f, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < 2 * 65536; i++) {
		char name[64];
		snprintf(name, sizeof name, "001800000000000-%032x.tmp", i);
		assert_int_equal(mknodat(dir, name, S_IFREG | 0600, 0), 0);
	}
	close(dir);
	t = import(f);
	assert_int_equal(t.taken, 8);
	assert_int_equal(t.cleared, 0);
}

/* Nothing that was moved aside makes way for another of its name. */
static void damaged_is_kept(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		spill(in(f, "README"), "hello", 5);
		assert_int_equal(import(f).aside, 1);
	}
	assert_int_equal(names(f, "damaged", NULL), 3);
}

/* It is in the queue once, and those behind it are taken in their turn. */
static void one_that_can_not_be_removed(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct told t = { 0 };
	struct err e = { 0 };
	bool more = false;

	fixture_mail(&x, "x\r\n", "a@example.com", NULL);
	x.m.submitted = T0;
	write_one(f, &x.m);
	names(f, "", stays);
	for (int i = 1; i < 5; i++) {
		fixture_mail(&x, "x\r\n", "a@example.com", NULL);
		x.m.submitted = T0 + i;
		write_one(f, &x.m);
	}
	for (unsigned left = 3; left > 0; left--) {
		assert_int_equal(incoming_import(f->s, f->path, 1, tell, &t, &more, &e), -1);
		assert_non_null(strstr(e.text, "can't be removed"));
		assert_int_equal(names(f, "", NULL), 1 + left);
		assert_true(more);
		more = false;
	}
	assert_int_equal(incoming_import(f->s, f->path, 1, tell, &t, &more, &e), -1);
	assert_false(more);
	ask_is(f, "select count(*) from message", "5");
	stays[0] = '\0';
	assert_int_equal(import(f).taken, 1);
	ask_is(f, "select count(*) from message", "5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_flipped_bit_is_seen),
		unit(values_are_believed_in_nothing),
		unit(foreign_things_are_in_nobodys_way),
		unit(half_written_is_cleared_after_a_day),
		unit(many_half_written_are_in_no_ones_way),
		unit(damaged_is_kept),
		unit(one_that_can_not_be_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
