/*
 * Disk use: many messages flow through the queue, day after day, and the file stays under the bound
 * that cenmail-queue(7) states. CENMAIL_FLOW: so many instead of 3,000, in memory if there is
 * /dev/shm; `make soak` says a million.
 */
#include "tests/unit/store_fixture.h"

#include "store/keep.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

struct flow {
	struct store *s;
	char dir[64], path[96];
	int64_t days, per_day, kept; /* kept: days of history */
	int64_t put, settled, steps, slowest_us;
	int64_t last; /* the highest recipient that is settled */
};

/* A day's mail of 2 KB: in bursts of 50, settled a burst later. */
static void put(struct flow *w, int64_t at)
{
	static char content[2048];
	struct store_rcpt to = { .address = "someone@example.com" };
	struct store_submission m = { .submitted = at,
		.uid = 1000,
		.sender = "app@example.com",
		.message_id = "<20271124041410.0123456789abcdef@host.example.com>",
		.content = span_make(content, sizeof content),
		.rcpt = &to,
		.rcpts = 1 };
	struct err e = { 0 };
	int64_t id;
	random_bytes(m.key, sizeof m.key);
	if (store_put(w->s, &m, &id, &e) < 0)
		fail_msg("put: %s", e.text);
	w->put++;
}

/* Message and recipient have the same number here. */
static void settle(struct flow *w, int64_t at, unsigned n)
{
	static struct reply ok = { 250, "2.0.0", "Ok 0106018f3a2b4c5d-1a2b3c4d-0000-000000" };
	static struct reply no = { 550, "5.1.1", "no such user" };
	struct store_settlement v[50];
	struct err e = { 0 };
	for (unsigned i = 0; i < n; i++) {
		bool failed = ++w->last % 100 == 0;
		v[i] = (struct store_settlement) { .recipient = w->last,
			.message = w->last,
			.version = 1,
			.address = "someone@example.com",
			.state = failed ? STORE_FAILED : STORE_SENT,
			.next_try = at,
			.counts = true,
			.relay = "lmtps://10.20.8.37:3535",
			.reply = failed ? &no : &ok,
			.ses_id = failed ? "" : "0106018f3a2b4c5d-1a2b3c4d-0000-000000",
			.at = at };
	}
	if (store_settle(w->s, v, n, 0, NULL, &e) < 0)
		fail_msg("settle: %s", e.text);
	w->settled += n;
}

static void pass(struct flow *w, int64_t now, bool all)
{
	const struct keep_rules rules = { 0, w->kept * DAY / 3, w->kept * DAY };
	struct keep k;
	struct err e = { 0 };
	int r;
	keep_begin(&k, &rules, now, all);
	do {
		int64_t began = clock_mono_us(), took;
		r = keep_step(w->s, &k, false, &e);
		took = clock_mono_us() - began;
		w->slowest_us = took > w->slowest_us ? took : w->slowest_us;
		w->steps += r == 1;
	} while (r == 1);
	if (r < 0)
		fail_msg("keep: %s", e.text);
}

static void day(struct flow *w, int64_t midnight)
{
	int64_t bursts = w->per_day / 50;
	for (int64_t b = 0; b < bursts; b++) {
		int64_t at = midnight + b * DAY / bursts;
		for (int i = 0; i < 50; i++)
			put(w, at);
		if (w->put > 50)
			settle(w, at, 50);
		for (int64_t h = 0; h < 1 + 24 / bursts; h++) /* a pass an hour, at least */
			pass(w, at + 1, false);
	}
}

static int64_t size(const struct flow *w)
{
	struct stat st;
	store_checkpoint(w->s, true);
	assert_int_equal(stat(w->path, &st), 0);
	return st.st_size;
}

static int64_t ask_number(const struct flow *w, const char *sql)
{
	sqlite3 *h;
	sqlite3_stmt *q;
	assert_int_equal(sqlite3_open_v2(w->path, &h, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_db_config(h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	assert_int_equal(sqlite3_prepare_v2(h, sql, -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(h);
	return n;
}

static void open_flow(struct flow *w)
{
	const char *n = secure_getenv("CENMAIL_FLOW");
	struct err e = { 0 };
	int64_t from, to;
	*w = (struct flow) { .days = 30, .per_day = 100, .kept = 9 };
	if (n) {
		w->days = 40;
		w->per_day = strtoll(n, NULL, 10) / w->days;
	}
	snprintf(w->dir, sizeof w->dir, "%s/cenmail-flow-XXXXXX",
		n && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/queue.db", w->dir);
	if (store_init(w->path, &from, &to, &e) < 0 ||
		store_open(&w->s, w->path, STORE_FLUSH, 5000, &e) < 0)
		fail_msg("open: %s", e.text);
}

static void test_flow(void **state)
{
	struct flow w;
	int64_t steady = 0, largest = 0, d, held, free_pages;
	open_flow(&w);
	for (d = 0; d < w.days; d++) {
		day(&w, T0 + d * DAY);
		int64_t now = size(&w);
		if (d == w.kept + 1)
			steady = now;
		largest = now > largest ? now : largest;
	}
	held = ask_number(&w, "SELECT (page_count-freelist_count)*4096"
			      " FROM pragma_page_count,pragma_freelist_count");
	free_pages = ask_number(&w, "PRAGMA freelist_count");
	printf("%lld messages in %lld days, %lld days kept: %lld KB after %lld days, %lld KB at "
	       "most,"
	       " %lld KB held at the end (%lld octets a delivered one), %lld pages free; "
	       "%lld steps, the slowest %.1f ms\n",
		(long long)w.put, (long long)w.days, (long long)w.kept, (long long)(steady >> 10),
		(long long)w.kept + 1, (long long)(largest >> 10), (long long)(held >> 10),
		(long long)(held / (w.per_day * w.kept)), (long long)free_pages, (long long)w.steps,
		(double)w.slowest_us / 1000);
	assert_true(
		ask_number(&w, "SELECT count(*) FROM message") <= w.per_day * (w.kept + 1) + 50);
	assert_true(largest <= held + held / 2 || largest <= held + (16 << 20));
	assert_true(largest <= steady + steady / 10); /* it does not grow once it is full */
	/* The control: without retention it would be larger than that. */
	assert_true(w.put > 2 * ask_number(&w, "SELECT count(*) FROM message"));
	while (w.settled < w.put)
		settle(&w, T0 + d * DAY, 50);
	pass(&w, T0 + (d + w.kept + 1) * DAY, true);
	assert_int_equal(ask_number(&w, "SELECT count(*) FROM message"), 0);
	assert_true(size(&w) < 256 << 10);
	assert_int_equal(ask_number(&w, "SELECT count(*) FROM pragma_integrity_check WHERE "
					"integrity_check='ok'"),
		1);
	store_close(w.s);
	nftw(w.dir, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_flow) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
