/*
 * The flusher's choice: order, flows, where a look goes on, the horizon, rows that can't be
 * trusted.
 */
#include "tests/unit/store_fixture.h"

#include "base/flow.h"

#define HOUR INT64_C(3600000)

struct shown {
	char text[4096]; /* "message/address " for each */
	unsigned n, stop_at, skip_below, skipped;
	struct store_due last;
	char journal[65], notify[31], once[33];
};

static bool show(void *arg, const struct store_due *d)
{
	struct shown *s = arg;
	size_t n = strlen(s->text);
	if (s->stop_at > 0 && s->n == s->stop_at)
		return false;
	if (n < sizeof s->text - 64)
		snprintf(s->text + n, sizeof s->text - n, "%d/%s ", (int)d->message, d->address);
	s->last = *d;
	snprintf(s->journal, sizeof s->journal, "%s", d->doubt_journal);
	snprintf(s->notify, sizeof s->notify, "%s", d->notify ? d->notify : "none");
	s->n++;
	return true;
}

static bool in_hand(void *arg, int64_t recipient)
{
	struct shown *s = arg;
	s->skipped += recipient < s->skip_below;
	return recipient < s->skip_below;
}

/* Of one flow, from the cursor on. */
static int look(struct fixture *f, unsigned flow, int64_t now, unsigned most, struct shown *s,
	struct store_cursor *at)
{
	const struct store_walk w = { .flow = flow,
		.now = now,
		.horizon_ms = HOUR,
		.most = most,
		.skip = in_hand,
		.fn = show,
		.arg = s };
	struct err e = { 0 };
	int r = store_due(f->s, &w, at, &e);
	if (r < 0)
		fail_msg("due: %s", e.text);
	return r;
}

/* All flows, one after the other; the last one that is shown is refused. */
static void due_is(struct fixture *f, int64_t now, unsigned limit, const char *want)
{
	struct shown s = { .stop_at = limit };
	for (unsigned flow = 0; flow < FLOW_COUNT && (s.n < limit || !limit); flow++) {
		struct store_cursor at = STORE_FROM_THE_FIRST;
		if (look(f, flow, now, UINT32_MAX, &s, &at))
			break;
	}
	assert_string_equal(s.text, want);
}

static void next_is(struct fixture *f, int64_t now, int64_t want)
{
	struct store_flows flows;
	assert_int_equal(store_flows(f->s, now, HOUR, &flows, NULL), 0);
	assert_true(flows.next == want);
}

static void put_at(struct fixture *f, int64_t at, const char *a, const char *b)
{
	struct fixture_mail x;
	fixture_mail(&x, "x", a, b, NULL);
	x.m.submitted = at;
	fixture_put(f, &x.m);
}

/* With triggers off. */
static void by_program(struct fixture *f, const char *sql)
{
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, sql);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
}

static void longest_due_first(void **state)
{
	struct fixture *f = *state;
	next_is(f, 0, INT64_MAX);
	due_is(f, T0, 100, "");
	put_at(f, T0 + 2000, "c@x", NULL);
	put_at(f, T0, "a@x", "b@x");
	put_at(f, T0 + 1000, "d@x", NULL);
	next_is(f, T0 - 1, T0);
	next_is(f, T0, T0 + 1000);
	next_is(f, T0 + 2000, INT64_MAX);
	due_is(f, T0 - 1, 100, "");
	due_is(f, T0, 100, "2/a@x 2/b@x ");
	due_is(f, T0 + 2000, 100, "2/a@x 2/b@x 3/d@x 1/c@x ");
	due_is(f, T0 + 2000, 3, "2/a@x 2/b@x 3/d@x ");
	due_is(f, T0 + 2000, 1, "2/a@x ");
}

/* A look goes on where it was told that there is enough, or where it had looked at enough. */
static void goes_on_at_the_cursor(void **state)
{
	struct fixture *f = *state;
	struct store_cursor at = STORE_FROM_THE_FIRST;
	struct shown s = { .stop_at = 3 };
	for (unsigned i = 0; i < 200; i++)
		put_at(f, T0 + i / 100, "a@x", NULL);
	by_program(f, "update recipient set flow=5");
	assert_int_equal(look(f, 5, T0 + 9, 1000, &s, &at), 1);
	assert_true(at.next_try == T0 && at.id == 3);
	s = (struct shown) { .stop_at = 1000, .skip_below = 151 };
	assert_int_equal(look(f, 5, T0 + 9, 97, &s, &at), 1);
	assert_true(at.next_try == T0 && at.id == 100 && s.n == 0 && s.skipped == 97);
	assert_int_equal(look(f, 5, T0 + 9, 1000, &s, &at), 0);
	assert_true(s.n == 50 && s.last.message == 200);
	put_at(f, T0 + 5, "b@x", NULL);
	by_program(f, "update recipient set flow=5");
	assert_int_equal(look(f, 5, T0 + 4, 1000, &s, &at), 0);
	assert_int_equal(s.n, 50);
	at = (struct store_cursor) { T0 + 3, 0 };
	assert_int_equal(look(f, 5, T0 + 5, 1000, &s, &at), 0);
	assert_int_equal(s.last.message, 201);
}

/* Which have something due, and when the next one will be. */
static void flows_are_told_apart(void **state)
{
	struct fixture *f = *state;
	struct store_flows flows;
	for (unsigned i = 0; i < 5; i++)
		put_at(f, T0 + i, "a@x", NULL);
	by_program(f, "update recipient set flow=(id-1)*15"); /* 0 15 30 45 60 */
	by_program(f, "update recipient set flow=63 where id=5");
	assert_int_equal(store_flows(f->s, T0 + 2, HOUR, &flows, NULL), 0);
	assert_true(flows.due == (UINT64_C(1) | UINT64_C(1) << 15 | UINT64_C(1) << 30));
	assert_true(flows.next == T0 + 3);
	/* the clock has gone back */
	assert_int_equal(store_flows(f->s, T0 - 2 * HOUR, HOUR, &flows, NULL), 0);
	assert_true(flows.due >> 63 == 1);
	by_program(f, "update recipient set state='held' where flow>0");
	assert_int_equal(store_flows(f->s, T0 + 2, HOUR, &flows, NULL), 0);
	assert_true(flows.due == 1 && flows.next == INT64_MAX);
	/* no flow of ours: not looked at, and not gone round for ever */
	by_program(f, "pragma ignore_check_constraints=on;"
		      "update recipient set state='queued',flow='x' where id=2;"
		      "update recipient set state='queued',flow=99 where id=3");
	assert_int_equal(store_flows(f->s, T0 + 2, HOUR, &flows, NULL), 0);
	assert_true(flows.due == 1);
}

static void beyond_the_horizon_is_due(void **state)
{
	struct fixture *f = *state;
	put_at(f, T0, "a@x", NULL);
	put_at(f, T0 + 2 * HOUR, "b@x", NULL);
	put_at(f, T0 + HOUR, "c@x", NULL);
	due_is(f, T0, 100, "1/a@x 2/b@x ");
	/* A year back: all of it is due, and in order. */
	due_is(f, T0 - 365 * 24 * HOUR, 100, "1/a@x 3/c@x 2/b@x ");
}

static void many_of_one_time(void **state)
{
	struct fixture *f = *state;
	struct shown s = { .stop_at = 0 };
	struct store_rcpt rcpt[120];
	char name[120][32];
	struct store_cursor at = STORE_FROM_THE_FIRST;
	for (unsigned i = 0; i < 120; i++) {
		snprintf(name[i], sizeof name[i], "r%u@x", i);
		rcpt[i] = (struct store_rcpt) { .address = name[i] };
	}
	for (unsigned i = 0; i < 5; i++) {
		struct fixture_mail x;
		fixture_mail(&x, "x", NULL);
		x.m.rcpt = rcpt;
		x.m.rcpts = 120;
		fixture_put(f, &x.m);
	}
	by_program(f, "update recipient set flow=7");
	assert_int_equal(look(f, 7, T0, 10000, &s, &at), 0);
	assert_int_equal(s.n, 600);
	s = (struct shown) { .stop_at = 130 };
	at = STORE_FROM_THE_FIRST;
	assert_int_equal(look(f, 7, T0, 10000, &s, &at), 1);
	assert_int_equal(s.n, 130);
	assert_int_equal(s.last.message, 2);
}

static void values_are_as_stored(void **state)
{
	struct fixture *f = *state;
	struct fixture_mail x;
	struct shown s = { .stop_at = 0 };
	struct store_cursor at = STORE_FROM_THE_FIRST;
	fixture_mail(&x, "12345", "a@x", NULL);
	x.rcpt[0].notify = "NEVER";
	fixture_put(f, &x.m);
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "update recipient set tries=3,doubt_journal='j1',doubt_until=77,version=5");
	by_hand(f, "update recipient set flow=1,last_code=451");
	assert_int_equal(look(f, 1, T0, 10, &s, &at), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.last.last_code, 451);
	assert_int_equal(s.last.tries, 3);
	assert_int_equal(s.last.version, 5);
	assert_int_equal(s.last.size, 5);
	assert_int_equal(s.last.doubt_until, 77);
	assert_true(s.last.submitted == T0 && s.last.since == T0);
	assert_null(s.last.orcpt);
	assert_string_equal(s.journal, "j1");
	assert_string_equal(s.notify, "NEVER");
	ask_is(f, "select lower(hex(once)) from recipient", s.last.once);
}

/* C13: what a damaged file or a hostile schema holds never gets out, and is in nobody's way. */
static void rows_not_to_be_trusted_are_held(void **state)
{
	static const char *const damage[] = {
		"address='a'||char(13,10)||'DATA@x'",
		"address=x'00'",
		"address=7",
		"address='a@x> SIZE=1'",
		"address=zeroblob(10000)",
		"once=x'00'",
		"once='text of 16 bytes'",
		"tries=-1",
		"tries='many'",
		"version=-9223372036854775807",
		"next_try='0'||char(0)",
		"since=-5",
		"doubt_journal=printf('%.*c',70,'x')",
		"doubt_journal='a b'",
		"doubt_until='x'",
		"last_code='x'",
		"notify='NEVER SIZE=1'",
		"orcpt='a'||char(10)",
	};
	struct fixture *f = *state;
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "pragma ignore_check_constraints=on");
	for (unsigned i = 0; i < sizeof damage / sizeof *damage; i++) {
		char sql[256];
		by_hand(f, "delete from recipient; delete from message; delete from content;"
			   "delete from sqlite_sequence");
		put_at(f, T0, "bad@x", NULL);
		put_at(f, T0 + 1, "good@x", NULL);
		snprintf(sql, sizeof sql, "update recipient set %s where id=1", damage[i]);
		by_hand(f, sql);
		due_is(f, T0 + 1, 100, "2/good@x ");
		/* A time that is text is never reached: no number is as late. */
		ask_is(f, "select state from recipient where id=1",
			strstr(damage[i], "next_try") ? "queued" : "held");
		due_is(f, T0 + 1, 100, "2/good@x ");
	}
}

/* The same for what is not whole: a recipient without its message, a time that is no number of the
 * index (both at once were gone round for ever), a message without its content. */
static void rows_that_are_not_whole(void **state)
{
	struct fixture *f = *state;
	struct store_message got;
	struct err e = { 0 };
	sqlite3_db_config(f->hand, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	by_hand(f, "pragma ignore_check_constraints=on");
	for (unsigned i = 0; i < 4; i++)
		put_at(f, T0 + i, "a@x", NULL);
	by_hand(f, "update recipient set next_try=1.5 where id=1");
	by_hand(f, "update recipient set message=99 where id=2");
	by_hand(f, "update recipient set message=98,next_try=2.5 where id=3");
	due_is(f, T0 + 3, 100, "4/a@x ");
	ask_is(f, "select group_concat(state) from recipient", "held,held,held,queued");
	by_hand(f, "delete from content where message=4");
	assert_int_equal(store_load(f->s, 4, &got, &e), -1);
	assert_int_equal(e.code, EX_DATAERR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(longest_due_first),
		unit(goes_on_at_the_cursor),
		unit(flows_are_told_apart),
		unit(beyond_the_horizon_is_due),
		unit(many_of_one_time),
		unit(values_are_as_stored),
		unit(rows_not_to_be_trusted_are_held),
		unit(rows_that_are_not_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
