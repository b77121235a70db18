/*
 * store_doubt: what was in flight when a flusher was killed is in doubt, unless something has
 * become of it since; and it is noted once.
 */
#include "store_fixture.h"

#define ENDED  "the flusher ended while it was in flight"
#define RELAY  "lmtps://10.20.8.37:3535"
#define UNTIL  (T0 + 1000000)
#define BEFORE (T0 + 500) /* doubt_until of an earlier doubt */

static struct store_flown flown(struct fixture *f, int64_t recipient)
{
	struct store_flown r = { .recipient = recipient };
	char sql[80];

	snprintf(sql, sizeof sql, "select lower(hex(once)) from recipient where id=%lld",
		(long long)recipient);
	snprintf(r.once, sizeof r.once, "%.32s", ask(f, sql));
	snprintf(
		sql, sizeof sql, "select tries from recipient where id=%lld", (long long)recipient);
	r.tries = (unsigned)strtoul(ask(f, sql), NULL, 10);
	return r;
}

static struct store_doubt doubt_of(int64_t message, const struct store_flown *r, unsigned n)
{
	return (struct store_doubt) { .message = message,
		.rcpt = r,
		.rcpts = n,
		.relay = RELAY,
		.journal = "J2",
		.until = UNTIL,
		.at = T0 + 7 };
}

static uint64_t doubt(struct fixture *f, const struct store_doubt *d, unsigned n)
{
	struct err e = { 0 };
	uint64_t count = 0;

	if (store_doubt(f->s, d, n, &count, &e) < 0)
		fail_msg("doubt: %s", e.text);
	return count;
}

static void put(struct fixture *f, const char *a, const char *b)
{
	struct fixture_mail x;

	fixture_mail(&x, "x\r\n", a, b, NULL);
	fixture_put(f, &x.m);
}

/* As a program: no trigger runs. */
static void set(struct fixture *f, const char *sql)
{
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, sql);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
}

/* What happens to the recipient, of message 1, between its way onto the wire and the next flusher;
 * what is known of it; and what it is then. */
static const struct {
	const char *meanwhile; /* NULL: nothing */
	bool as_program;
	const char *journal;
	int64_t message;
	bool in_doubt;
	const char *state, *doubt_journal;
	int64_t doubt_until;
} rows[] = {
	{ NULL, false, "J2", 1, true, "queued", "J2", UNTIL },
	/* Where the peer has no journal what is known of another one's stays. */
	{ NULL, false, "", 1, true, "queued", "", 0 },
	{ "update recipient set doubt_journal='J1',doubt_until=1800000000500", true, "", 1, true,
		"queued", "J1", BEFORE },
	{ "update recipient set doubt_journal='J1',doubt_until=1800000000500", true, "J2", 1, true,
		"queued", "J2", UNTIL },
	/* By hand, and it may have been sent all the same. */
	{ "update recipient set state='held'", false, "J2", 1, true, "held", "J2", UNTIL },
	{ "update recipient set next_try=0", false, "J2", 1, true, "queued", "J2", UNTIL },
	/* It has had its verdict. */
	{ "update recipient set state='sent',settled=1", true, "J2", 1, false, "sent", "", 0 },
	{ "update recipient set state='failed',settled=1", true, "J2", 1, false, "failed", "", 0 },
	{ "update recipient set state='failed'", false, "J2", 1, false, "failed", "", 0 },
	{ "update recipient set tries=tries+1", true, "J2", 1, false, "queued", "", 0 },
	/* It is another delivery, or none. */
	{ "update recipient set address='c@x'", false, "J2", 1, false, "queued", "", 0 },
	{ "update recipient set once=randomblob(16)", true, "J2", 1, false, "queued", "", 0 },
	{ NULL, false, "J2", 2, false, "queued", "", 0 },
	{ "delete from message", false, "J2", 1, false, "none", "none", 0 },
};

static void each_path(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		void *own = NULL;

		fixture_setup(&own);
		struct fixture *f = own;
		put(f, "a@x", NULL);
		struct store_flown r = flown(f, 1);
		struct store_doubt d = doubt_of(rows[i].message, &r, 1);
		d.journal = rows[i].journal;
		d.until = rows[i].journal[0] ? UNTIL : 0;
		if (rows[i].meanwhile && rows[i].as_program)
			set(f, rows[i].meanwhile);
		else if (rows[i].meanwhile)
			by_hand(f, rows[i].meanwhile);
		const int64_t version = strtoll(ask(f, "select version from recipient"), NULL, 10);
		set(f, "delete from attempt");
		if (doubt(f, &d, 1) != rows[i].in_doubt)
			fail_msg("row %zu: in doubt, or not", i);
		ask_is(f, "select state from recipient", rows[i].state);
		ask_is(f, "select doubt_journal from recipient", rows[i].doubt_journal);
		if (strcmp(rows[i].state, "none") != 0) {
			assert_int_equal(
				strtoll(ask(f, "select doubt_until from recipient"), NULL, 10),
				rows[i].doubt_until);
			/* A verdict that is late, or a change by hand, finds it as it was. */
			assert_int_equal(strtoll(ask(f, "select version from recipient"), NULL, 10),
				version);
		}
		ask_is(f, "select count(*) from attempt", rows[i].in_doubt ? "1" : "0");
		if (rows[i].in_doubt) {
			ask_is(f, "select last_code||last_reply from recipient", "0" ENDED);
			ask_is(f,
				"select "
				"message||recipient||address||at||relay||code||reply||maybe_sent"
				" from attempt",
				"11a@x1800000000007" RELAY "0" ENDED "1");
		}
		fixture_teardown(&own);
	}
}

/* Of several messages with several recipients, each by itself; in one step. */
static void several(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", "b@x");
	put(f, "c@x", "d@x");
	const struct store_flown one[] = { flown(f, 1), flown(f, 2) },
				 two[] = { flown(f, 3), flown(f, 4) };
	const struct store_doubt d[] = { doubt_of(1, one, 2), doubt_of(2, two, 2) };

	set(f, "update recipient set state='sent',settled=1 where id in (1,4)");
	assert_int_equal(doubt(f, d, 0), 0);
	ask_is(f, "select count(*) from attempt", "0");
	assert_int_equal(doubt(f, d, 2), 2);
	ask_is(f, "select group_concat(recipient) from attempt", "2,3");
	ask_is(f, "select group_concat(id) from recipient where doubt_journal='J2'", "2,3");
}

/* A flusher that is killed before it has emptied the file leaves the same to the next one. */
static void noted_once(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", "b@x");
	const struct store_flown r[] = { flown(f, 1), flown(f, 2) };
	struct store_doubt d = doubt_of(1, r, 2);

	assert_int_equal(doubt(f, &d, 1), 2);
	assert_int_equal(doubt(f, &d, 1), 0);
	ask_is(f, "select count(*) from attempt where maybe_sent", "2");
	d.at++; /* it was sent again, and that one was killed too */
	assert_int_equal(doubt(f, &d, 1), 2);
	ask_is(f, "select count(*) from attempt where maybe_sent", "4");
}

static void all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	uint64_t count = 0;
	put(f, "a@x", "b@x");
	const struct store_flown r[] = { flown(f, 1), flown(f, 2) };
	const struct store_doubt d = doubt_of(1, r, 2);

	by_hand(f, "create unique index once_only on attempt(message)");
	assert_int_equal(store_doubt(f->s, &d, 1, &count, &e), -1);
	assert_true(e.code != 0);
	ask_is(f, "select count(*) from attempt", "0");
	ask_is(f, "select count(*) from recipient where doubt_journal='' and last_reply=''", "2");
	by_hand(f, "drop index once_only");
	assert_int_equal(doubt(f, &d, 1), 2);
}

/* What it may be set to by hand follows from it (schema.sql). */
static void then_by_hand(void **state)
{
	struct fixture *f = *state;
	put(f, "a@x", "b@x");
	const struct store_flown r[] = { flown(f, 1), flown(f, 2) };
	struct store_doubt with = doubt_of(1, &r[0], 1), without = doubt_of(1, &r[1], 1);

	without.journal = "";
	without.until = 0;
	assert_int_equal(doubt(f, &with, 1) + doubt(f, &without, 1), 2);
	by_hand(f, "update recipient set state='sent' where id=1");
	refused(f, "update recipient set state='sent' where id=2", "in doubt can be set sent");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_path),
		unit(several),
		unit(noted_once),
		unit(all_or_nothing),
		unit(then_by_hand),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
