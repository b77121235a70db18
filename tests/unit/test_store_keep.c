/* Retention: what goes when, how much a step does, and clocks that are wrong. */
#include "tests/unit/store_fixture.h"

#include "base/reply.h"
#include "store/keep.h"
#include "store/sql.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

static const struct keep_rules usual = { .sent = 0, .failed = 30 * DAY, .history = 90 * DAY };

/* One recipient's end. */
static void settle(struct fixture *f, int64_t message, int64_t recipient, enum store_state state,
	int64_t at, int64_t keep_sent)
{
	struct reply reply = { .code = state == STORE_SENT ? 250 : 550 };
	struct store_settlement v = { .recipient = recipient,
		.message = message,
		.version = 1,
		.address = "a@example.com",
		.state = state,
		.next_try = at,
		.counts = true,
		.relay = "lmtps://relay:3535",
		.reply = &reply,
		.doubt_journal = "",
		.ses_id = "",
		.at = at };
	struct err e = { 0 };
	if (store_settle(f->s, &v, 1, keep_sent, NULL, &e) < 0)
		fail_msg("settle: %s", e.text);
}

/* A message to one, which ended so at that time. */
static int64_t ended(struct fixture *f, enum store_state state, int64_t at, int64_t keep_sent)
{
	struct fixture_mail x;
	fixture_mail(&x, "Subject: x\r\n\r\nbody\r\n", "a@example.com", NULL);
	x.m.submitted = at;
	int64_t id = fixture_put(f, &x.m);
	char sql[100];
	snprintf(sql, sizeof sql, "SELECT id FROM recipient WHERE message=%lld", (long long)id);
	settle(f, id, strtoll(ask(f, sql), NULL, 10), state, at, keep_sent);
	return id;
}

/* A pass; how many steps it took. */
static unsigned pass(struct fixture *f, const struct keep_rules *rules, int64_t now, bool all)
{
	struct keep k;
	struct err e = { 0 };
	unsigned steps = 0;
	int r;
	keep_begin(&k, rules, now, all);
	while ((r = keep_step(f->s, &k, false, &e)) == 1)
		assert_true(++steps < 100000);
	if (r < 0)
		fail_msg("step: %s", e.text);
	return steps;
}

static void count_is(struct fixture *f, const char *table, const char *want)
{
	char sql[100];
	snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
	ask_is(f, sql, want);
}

static void test_content_of_failed_goes_and_the_view_stays(void **state)
{
	struct fixture *f = *state;
	ended(f, STORE_FAILED, T0, 0);
	pass(f, &usual, T0 + 30 * DAY, false);
	count_is(f, "content", "1");
	pass(f, &usual, T0 + 30 * DAY + HOUR, false);
	count_is(f, "content", "0");
	ask_is(f, "SELECT recipient||' '||code||' '||reply FROM undeliverable",
		"a@example.com 550 550");
	refused(f, "UPDATE recipient SET state='queued'", "its content is no longer kept");
}

static void test_failed_can_be_queued_again_until_then(void **state)
{
	struct fixture *f = *state;
	ended(f, STORE_FAILED, T0, 0);
	by_hand(f, "UPDATE recipient SET state='queued'");
	pass(f, &usual, T0 + 365 * DAY, true);
	count_is(f, "content", "1"); /* it is needed */
	count_is(f, "recipient", "1");
}

static void test_content_of_sent(void **state)
{
	struct fixture *f = *state;
	const struct keep_rules week = { 7 * DAY, 30 * DAY, 90 * DAY };
	ended(f, STORE_SENT, T0, 7 * DAY);
	ended(f, STORE_SENT, T0 + DAY, 7 * DAY);
	count_is(f, "content", "2");
	pass(f, &week, T0 + 7 * DAY, false);
	count_is(f, "content", "2");
	pass(f, &week, T0 + 7 * DAY + HOUR, false);
	ask_is(f, "SELECT group_concat(message) FROM content", "2");
	/* keep_sent is 0 again: what was kept goes. */
	pass(f, &usual, T0 + 7 * DAY + HOUR, false);
	count_is(f, "content", "0");
	count_is(f, "delivered", "2");
}

/* Its content is kept for whoever of its recipients it is kept longest for. */
static void test_content_of_several(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	fixture_mail(&x, "\r\n", "a@example.com", "b@example.com", "c@example.com", NULL);
	int64_t id = fixture_put(f, &x.m);
	settle(f, id, 1, STORE_SENT, T0, 0);
	settle(f, id, 2, STORE_FAILED, T0 + DAY, 0);
	pass(f, &usual, T0 + 60 * DAY, true);
	count_is(f, "content", "1"); /* c is still queued */
	settle(f, id, 3, STORE_FAILED, T0 + 40 * DAY, 0);
	pass(f, &usual, T0 + 60 * DAY, true);
	count_is(f, "content", "1");
	pass(f, &usual, T0 + 71 * DAY, true);
	count_is(f, "content", "0");
	count_is(f, "recipient", "3");
}

static void test_history_goes(void **state)
{
	struct fixture *f = *state;
	ended(f, STORE_SENT, T0, 0);
	ended(f, STORE_FAILED, T0, 0);
	ended(f, STORE_SENT, T0 + DAY, 0);
	pass(f, &usual, T0 + 90 * DAY, false);
	count_is(f, "message", "3");
	count_is(f, "hour", "2");
	pass(f, &usual, T0 + 90 * DAY + HOUR + 1, false);
	ask_is(f, "SELECT group_concat(id) FROM message", "3");
	ask_is(f, "SELECT group_concat(message) FROM recipient", "3");
	ask_is(f, "SELECT group_concat(message) FROM attempt", "3");
	count_is(f, "hour", "1");
	pass(f, &usual, T0 + 92 * DAY, true);
	for (const char *const *t = (const char *const[]) { "message", "recipient", "attempt",
		     "content", "hour", NULL };
		*t; t++)
		count_is(f, *t, "0");
}

/* Rows of a message that still waits: what is settled of it goes, the message and its content stay.
 */
static void test_history_of_a_message_that_waits(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	fixture_mail(&x, "\r\n", "a@example.com", "b@example.com", NULL);
	int64_t id = fixture_put(f, &x.m);
	settle(f, id, 1, STORE_SENT, T0, 0);
	by_hand(f, "UPDATE recipient SET state='held' WHERE id=2");
	pass(f, &usual, T0 + 365 * DAY, true);
	ask_is(f, "SELECT group_concat(id) FROM recipient", "2");
	count_is(f, "content", "1");
	by_hand(f, "DELETE FROM recipient WHERE id=2");
	count_is(f, "message", "0");
	count_is(f, "content", "0");
}

/* Of a message that was dropped only the attempts are left. */
static void test_attempts_of_what_was_dropped(void **state)
{
	struct fixture *f = *state;
	int64_t id = ended(f, STORE_FAILED, T0, 0);
	char sql[100];
	snprintf(sql, sizeof sql, "DELETE FROM message WHERE id=%lld", (long long)id);
	by_hand(f, sql);
	count_is(f, "attempt", "2");
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "UPDATE attempt SET at=1800000000000");
	pass(f, &usual, T0 + 90 * DAY, false);
	count_is(f, "attempt", "2");
	pass(f, &usual, T0 + 90 * DAY + HOUR, false);
	count_is(f, "attempt", "0");
}

/* C12: ten years on, for one pass, costs an hour of history, and no content but an hour's; a year
 * back costs nothing; and afterwards all goes on as if nothing had been. */
static void test_clocks(void **state)
{
	struct fixture *f = *state;
	const struct keep_rules rules = { HOUR, 30 * DAY, 90 * DAY };
	for (int i = 0; i < 48; i++) {
		ended(f, STORE_SENT, T0 + i * HOUR, HOUR);
		ended(f, STORE_FAILED, T0 + i * HOUR, HOUR);
	}
	pass(f, &rules, T0 + 2 * DAY - 365 * DAY, false);
	count_is(f, "recipient", "96");
	count_is(f, "content", "96");
	pass(f, &rules, T0 + 2 * DAY + 3650 * DAY, false);
	count_is(f, "recipient", "94");
	count_is(f, "attempt", "94");
	count_is(f, "content", "94");
	/* All that is old goes, though the walk was once ahead. */
	pass(f, &rules, T0 + 2 * DAY, true);
	ask_is(f,
		"SELECT group_concat(state) FROM content JOIN recipient USING(message)"
		" WHERE state='sent'",
		"sent");
	ask_is(f, "SELECT count(*) FROM content JOIN recipient USING(message) WHERE state='failed'",
		"47");
	/* What a pass of that clock looked at last lies ten years on: it begins anew. */
	by_hand(f, "UPDATE freed SET settled=1900000000000+315360000000");
	pass(f, &rules, T0 + 3 * DAY, true);
	ask_is(f, "SELECT count(*) FROM content JOIN recipient USING(message) WHERE state='sent'",
		"0");
	pass(f, &rules, T0 + 33 * DAY, true);
	count_is(f, "content", "0");
	count_is(f, "recipient", "94");
	/* Rows of that clock are in nobody's way. */
	ended(f, STORE_SENT, T0 + 3650 * DAY, 0);
	ended(f, STORE_FAILED, T0 + 3650 * DAY, 0);
	pass(f, &rules, T0 + 93 * DAY, true);
	count_is(f, "recipient", "2");
	count_is(f, "attempt", "2");
	count_is(f, "hour", "1");
}

/* One UPDATE by hand settles many in one moment: the walk gets through them, a page at a time. */
static void test_many_of_one_moment(void **state)
{
	struct fixture *f = *state;
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)"
		   " INSERT INTO message SELECT i,randomblob(16),1800000000000,0,'',2,0,'',"
		   "NULL,NULL,0 FROM n");
	by_hand(f, "INSERT INTO content SELECT id,0,x'0d0a' FROM message");
	by_hand(f, "INSERT INTO recipient(message,address,once,state,next_try,since,settled)"
		   " SELECT id,'a@example.com',randomblob(16),'failed',submitted,submitted,"
		   "submitted FROM message");
	pass(f, &usual, T0 + 31 * DAY, false);
	count_is(f, "content", "0");
	count_is(f, "recipient", "1000");
	pass(f, &usual, T0 + 91 * DAY, false);
	count_is(f, "recipient", "0");
	count_is(f, "message", "0");
}

/* Each search begins where it has to, by an index, and sorts nothing: so it costs what it finds, at
 * a million rows too. */
static void test_nothing_is_gone_through(void **state)
{
	static const struct {
		enum sql which;
		const char *plan;
	} cases[] = {
		{ SQL_SETTLED_SAME, "recipient_settled (state=? AND settled=? AND rowid>?)" },
		{ SQL_SETTLED_LATER, "recipient_settled (state=? AND settled>? AND settled<?)" },
		{ SQL_OLDEST_RECIPIENT, "recipient_settled (state=?" },
		{ SQL_OLDEST_ATTEMPT, "COVERING INDEX attempt_at" },
		{ SQL_OLDEST_HOUR, "hour" }, /* by its key */
		{ SQL_DROP_ATTEMPTS, "attempt_at (at<?)" },
		{ SQL_PLACE_TAKEN, "recipient_open (message=?)" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char sql[1000], plan[2000] = "";
		sqlite3_stmt *q;
		snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", sql_text(cases[i].which));
		assert_int_equal(sqlite3_prepare_v2(f->hand, sql, -1, &q, NULL), SQLITE_OK);
		while (sqlite3_step(q) == SQLITE_ROW) {
			size_t n = strlen(plan);
			snprintf(plan + n, sizeof plan - n, "%s\n", sqlite3_column_text(q, 3));
		}
		sqlite3_finalize(q);
		if (!strstr(plan, cases[i].plan) || strstr(plan, "TEMP B-TREE"))
			fail_msg("%s: %s", sql, plan);
	}
}

/* While somebody waits, only what is overdue by more than an hour. */
static void test_pressing(void **state)
{
	struct fixture *f = *state;
	struct keep k;
	ended(f, STORE_FAILED, T0, 0);
	keep_begin(&k, &usual, T0 + 30 * DAY + HOUR / 2, false);
	assert_int_equal(keep_step(f->s, &k, true, NULL), 0);
	count_is(f, "content", "1");
	keep_begin(&k, &usual, T0 + 30 * DAY + 2 * HOUR, false);
	while (keep_step(f->s, &k, true, NULL) == 1)
		;
	count_is(f, "content", "0");
}

/* Nothing to do is done without the lock. */
static void test_idle_takes_no_lock(void **state)
{
	struct fixture *f = *state;
	ended(f, STORE_FAILED, T0, 0);
	by_hand(f, "BEGIN IMMEDIATE");
	assert_int_equal(pass(f, &usual, T0 + DAY, false), 0);
	by_hand(f, "ROLLBACK");
}

/* Room: a steady flow keeps its pages; what a flood left is given back. */
static void test_room(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, 1 << 20);
	struct fixture_mail x;
	struct stat st;
	assert_non_null(big);
	memset(big, 'x', 1 << 20);
	for (int i = 0; i < 40; i++) {
		fixture_mail(&x, "", "a@example.com", NULL);
		x.m.content = span_make(big, (size_t)1 << 20);
		fixture_put(f, &x.m);
	}
	free(big);
	pass(f, &usual, T0, false);
	ask_is(f, "SELECT freelist_count<10 FROM pragma_freelist_count", "1");
	for (int i = 1; i <= 12; i++)
		settle(f, i, i, STORE_SENT, T0, 0);
	pass(f, &usual, T0, false);
	ask_is(f, "SELECT freelist_count>3000 FROM pragma_freelist_count", "1"); /* 12 MB stay */
	for (int i = 13; i <= 40; i++)
		settle(f, i, i, STORE_SENT, T0, 0);
	assert_true(pass(f, &usual, T0, false) > 10);
	ask_is(f, "SELECT freelist_count BETWEEN 2000 AND 2048 FROM pragma_freelist_count", "1");
	pass(f, &usual, T0, true);
	ask_is(f, "SELECT freelist_count FROM pragma_freelist_count", "0");
	ask_is(f, "PRAGMA integrity_check", "ok");
	store_checkpoint(f->s, true);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size < 256 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_content_of_failed_goes_and_the_view_stays),
		unit(test_failed_can_be_queued_again_until_then),
		unit(test_content_of_sent),
		unit(test_content_of_several),
		unit(test_history_goes),
		unit(test_history_of_a_message_that_waits),
		unit(test_attempts_of_what_was_dropped),
		unit(test_clocks),
		unit(test_many_of_one_moment),
		unit(test_nothing_is_gone_through),
		unit(test_pressing),
		unit(test_idle_takes_no_lock),
		unit(test_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
